//! What the input is, and how its submissions are numbered.
//!
//! A regular file is known by its inode, when it was made, and how it is cut; that is the family of its producers, and
//! each time the file is found to be another one than was taken there is a new producer in it. The number of a
//! submission is the offset at which it ends, with a checksum of the bytes before that offset, as they were read: in a
//! file that was only appended to they are still there. No number is kept anywhere but in the spool, with the items it
//! stands for.
//!
//! The file's own offset, which other processes may share, is never ahead of what is durable.

use std::fs::{File, Metadata};
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::time::UNIX_EPOCH;

use batchd_client::ItemBuffer;
use batchd_core::spool::kept::Newest;
use batchd_frame::checksum::crc32c;
use batchd_frame::split::Cut;
use batchd_frame::{Digester, ProducerId, SubmissionId};

/// Bits of the number for the checksum; the others are the offset's: 16 TiB, the longest file of ext4.
const CHECK_BITS: u32 = 20;
/// So many bytes before the offset it is of.
const CHECKED_BYTES: usize = 4096;

/// Where the input comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// A regular file: what was taken of it is known.
    File(FileSource),
    /// Anything else: submissions are numbered from 1, by a producer that is made up for it.
    Stream { producer: ProducerId, sequence: u64 },
}

/// A regular file.
#[derive(Debug)]
pub(super) struct FileSource {
    file: File,
    identity: Vec<u8>,
    /// The first half of the ids of its producers.
    family: [u8; 8],
    cut: Cut,
    /// Where it stood when it was given to this process.
    start: u64,
    /// Which producer of the family numbers it.
    generation: u64,
    /// What was read last, up to [`CHECKED_BYTES`].
    tail: Vec<u8>,
}

/// Where a file is gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Resume {
    /// The spool has what is before this offset, as far as it was ever given.
    pub(super) from: u64,
    /// It has something of it that is not taken again.
    pub(super) is_known: bool,
    /// It has had something that is not there any more: the file was written anew, or cut.
    pub(super) is_rewritten: bool,
    /// The last item had no delimiter, and goes on.
    pub(super) is_torn: bool,
}

impl Source {
    /// Looks at the input. `random` makes up a producer.
    ///
    /// # Errors
    /// Where it cannot be looked at.
    pub(super) fn of(input: &File, cut: Cut, random: [u8; 16]) -> io::Result<Self> {
        let found = input.metadata()?;
        if !found.is_file() {
            return Ok(Self::Stream {
                producer: ProducerId::from_bytes(random),
                sequence: 0,
            });
        }
        let mut file = input.try_clone()?;
        let start = file.stream_position()?;
        let identity = identity(&found, cut);
        Ok(Self::File(FileSource {
            file,
            family: family(&identity),
            identity,
            cut,
            start,
            generation: 0,
            tail: Vec::new(),
        }))
    }

    /// The id of the next submission: of these items, which end at the offset `end`, with a delimiter or without.
    ///
    /// # Errors
    /// Where a file is longer than numbers can tell.
    pub(super) fn id(
        &mut self,
        items: &ItemBuffer,
        end: u64,
        is_delimited: bool,
    ) -> io::Result<SubmissionId> {
        match self {
            Self::File(file) if file.cut == Cut::Whole => Ok(SubmissionId {
                producer: file.producer_of(items.iter().next().unwrap_or_default()),
                sequence: 0,
            }),
            Self::File(file) => {
                file.note(items, is_delimited);
                Ok(SubmissionId {
                    producer: file.producer(),
                    sequence: sequence(end, &file.tail)?,
                })
            }
            Self::Stream { producer, sequence } => {
                *sequence += 1;
                Ok(SubmissionId {
                    producer: *producer,
                    sequence: *sequence,
                })
            }
        }
    }

    /// What is before this offset is durable: whoever else has the file open may go on behind it.
    ///
    /// # Errors
    /// Where the file's offset cannot be set.
    pub(super) fn durable(&mut self, end: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.file.seek(SeekFrom::Start(end)).map(drop),
            Self::Stream { .. } => Ok(()),
        }
    }
}

impl FileSource {
    /// The first half of the ids of its producers.
    pub(super) const fn family(&self) -> [u8; 8] {
        self.family
    }

    fn producer(&self) -> ProducerId {
        let mut id = [0; 16];
        let bytes = self.family.into_iter().chain(self.generation.to_be_bytes());
        id.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        ProducerId::from_bytes(id)
    }

    /// A file that is one item is another one with every content.
    fn producer_of(&self, content: &[u8]) -> ProducerId {
        let key = [b"batchd pipe\0".as_slice(), &self.identity, content];
        ProducerId::of_external_key(&key.concat())
    }

    /// Finds where to go on. `newest` is what is kept of its family.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub(super) fn resume(&mut self, newest: Option<Newest>) -> io::Result<Resume> {
        let mut resume = Resume {
            from: self.start,
            ..Resume::default()
        };
        let length = self.length()?;
        if let Some(newest) = newest.filter(|_| self.cut != Cut::Whole) {
            let end = newest.sequence >> CHECK_BITS;
            resume.is_rewritten =
                end > length || sequence(end, &self.before(end)?)? != newest.sequence;
            self.generation = newest.number.saturating_add(resume.is_rewritten.into());
            if resume.is_rewritten && end == self.start {
                // It was put there by the run before, which shares it, and not to skip anything.
                resume.from = 0;
            }
            if !resume.is_rewritten && end >= self.start {
                resume.is_known = true;
                resume.from = end;
                self.go_on_behind(&mut resume, length)?;
            }
        }
        self.tail = self.before(resume.from)?;
        Ok(resume)
    }

    /// An item that had no delimiter may have got it since, or more.
    fn go_on_behind(&self, resume: &mut Resume, length: u64) -> io::Result<()> {
        let ends = |offset: u64| -> io::Result<bool> {
            let mut byte = [0];
            self.file.read_exact_at(&mut byte, offset)?;
            Ok(self.cut.delimiter() == Some(byte[0]))
        };
        if resume.from == 0 || resume.from >= length || ends(resume.from - 1)? {
            return Ok(());
        }
        if ends(resume.from)? {
            resume.from += 1;
        } else {
            resume.is_torn = true;
        }
        Ok(())
    }

    /// Its length now, in bytes.
    pub(super) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// What stands before an offset; at most what is checked.
    fn before(&self, end: u64) -> io::Result<Vec<u8>> {
        let count = end.min(CHECKED_BYTES as u64);
        let mut bytes = vec![0; usize::try_from(count).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, end - count)?;
        Ok(bytes)
    }

    /// Items were read.
    fn note(&mut self, items: &ItemBuffer, is_delimited: bool) {
        let delimiter = self.cut.delimiter();
        let ends = usize::from(delimiter.is_some());
        let mut left = items.bytes() + items.len() * ends;
        for item in items.iter() {
            left -= item.len() + ends;
            if left < CHECKED_BYTES {
                self.tail.extend_from_slice(item);
                self.tail.extend(delimiter);
            }
        }
        if !is_delimited {
            self.tail.pop();
        }
        let surplus = self.tail.len().saturating_sub(CHECKED_BYTES);
        self.tail.drain(..surplus);
    }
}

fn family(identity: &[u8]) -> [u8; 8] {
    let mut digester = Digester::new();
    digester.update(b"batchd pipe\0");
    digester.update(identity);
    let mut family = [0; 8];
    let digest = digester.finish().0;
    family
        .iter_mut()
        .zip(digest)
        .for_each(|(to, from)| *to = from);
    family
}

/// The number of a submission that ends there, behind these bytes.
fn sequence(end: u64, before: &[u8]) -> io::Result<u64> {
    if end >> (u64::BITS - CHECK_BITS) != 0 {
        return Err(io::Error::other(
            "the file is longer than 16 TiB: give it through a pipe",
        ));
    }
    let check = u64::from(crc32c(before)) & ((1 << CHECK_BITS) - 1);
    Ok(end << CHECK_BITS | check)
}

/// What tells a file from others, also after a restart of the machine: device numbers may change with that.
fn identity(found: &Metadata, cut: Cut) -> Vec<u8> {
    let made = found.created().ok();
    let made = made.and_then(|made| made.duration_since(UNIX_EPOCH).ok());
    let made = made.map_or(0, |made| made.as_nanos());
    let cut = match cut {
        Cut::Lines => 0,
        Cut::Null => 1,
        Cut::Whole => 2,
    };
    let mut identity = found.ino().to_le_bytes().to_vec();
    identity.extend(made.to_le_bytes());
    identity.push(cut);
    identity
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn source(file: &File) -> FileSource {
        match Source::of(file, Cut::Lines, [0; 16]) {
            Ok(Source::File(source)) => source,
            other => panic!("{other:?}"),
        }
    }

    /// The submission of a file that ends there is the last that is kept.
    fn kept(source: &FileSource, end: u64) -> Option<Newest> {
        let before = source.before(end).expect("read");
        Some(Newest {
            number: source.generation,
            sequence: sequence(end, &before).expect("a number"),
        })
    }

    /// A file of numbered lines of 10 bytes.
    fn lines(count: u32) -> String {
        (0..count).map(|n| format!("line {n:04}\n")).collect()
    }

    fn temporary(content: &str) -> (tempfile::TempDir, File) {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("f"), content).expect("written");
        let file = File::open(dir.path().join("f")).expect("there");
        (dir, file)
    }

    #[test]
    fn it_goes_on_behind_what_was_kept() {
        let (dir, file) = temporary(&lines(2000));
        let mut source = source(&file);
        assert_eq!(source.resume(None).expect("read"), Resume::default());
        let had = kept(&source, 9000);
        let expected = Resume {
            from: 9000,
            is_known: true,
            ..Resume::default()
        };
        assert_eq!(source.resume(had).expect("read"), expected);
        // Appended to, it is the same file.
        fs::write(dir.path().join("f"), lines(3000)).expect("written");
        assert_eq!(source.resume(had).expect("read"), expected);
        // What is skipped on purpose is skipped.
        source.start = 9100;
        let skipped = source.resume(had).expect("read");
        assert_eq!((skipped.from, skipped.is_known), (9100, false));
    }

    #[test]
    fn what_is_not_there_any_more_was_not_taken() {
        let (dir, file) = temporary(&lines(2000));
        let mut source = source(&file);
        let had = kept(&source, 9000);
        let mut rewritten = |content: String| {
            fs::write(dir.path().join("f"), content).expect("written");
            let resume = source.resume(had).expect("read");
            (resume.from, resume.is_rewritten, source.generation)
        };
        // Cut; written anew, and longer, with the same first line; other bytes not right before the end.
        assert_eq!(rewritten(lines(60)), (0, true, 1));
        let anew = lines(1) + &"something else\n".repeat(2000);
        assert_eq!(rewritten(anew), (0, true, 1));
        let mut other = lines(2000);
        other.replace_range(5000..5001, "L");
        assert_eq!(rewritten(other), (0, true, 1));
        assert_eq!(rewritten(lines(2000)), (9000, false, 0));
        // Where the run before left it is no place to begin another file at.
        for (start, from) in [(9000, 0), (20, 20)] {
            source.start = start;
            fs::write(dir.path().join("f"), lines(60)).expect("written");
            let resume = source.resume(had).expect("read");
            assert_eq!((resume.from, resume.is_rewritten), (from, true));
        }
    }

    #[test]
    fn numbers_are_of_what_was_read() {
        let text = lines(2000) + "\n\nand no end";
        let (_dir, file) = temporary(&text);
        for size in [1, 3, 700] {
            let Ok(mut read) = Source::of(&file, Cut::Lines, [0; 16]) else {
                panic!("no source");
            };
            let (mut end, mut before) = (0, 0);
            let lines: Vec<_> = text.split('\n').collect();
            for items in lines.chunks(size) {
                let is_last = end + items.join("\n").len() as u64 == text.len() as u64;
                end += items.join("\n").len() as u64 + u64::from(!is_last);
                let items = ItemBuffer::from_iter(items);
                let number = read.id(&items, end, !is_last).expect("a number").sequence;
                let there = source(&file).before(end).expect("read");
                assert_eq!(
                    number,
                    sequence(end, &there).expect("a number"),
                    "{size} {end}"
                );
                assert!(number > before);
                before = number;
            }
        }
        sequence(1 << 44, b"").expect_err("too long");
    }

    #[test]
    fn an_item_without_an_end_may_have_got_one() {
        let (dir, file) = temporary("a\nb");
        let mut source = source(&file);
        let had = kept(&source, 3);
        let mut grown = |more: &str| {
            fs::write(dir.path().join("f"), format!("a\nb{more}")).expect("written");
            let resume = source.resume(had).expect("read");
            (resume.from, resume.is_torn)
        };
        assert_eq!(grown(""), (3, false));
        assert_eq!(grown("\nc"), (4, false));
        assert_eq!(grown("b\nc"), (3, true));
    }

    #[test]
    fn other_files_and_other_cuts_are_other_families() {
        let (_dir, file) = temporary("a\n");
        let (_other_dir, other) = temporary("a\n");
        let (found, found_other) = (file.metadata().unwrap(), other.metadata().unwrap());
        assert_eq!(identity(&found, Cut::Lines), identity(&found, Cut::Lines));
        assert_ne!(identity(&found, Cut::Lines), identity(&found, Cut::Null));
        assert_ne!(
            identity(&found, Cut::Lines),
            identity(&found_other, Cut::Lines)
        );
    }
}
