//! What the input is, and how its submissions are numbered.
//!
//! A regular file is known by its inode, when it was made, and how it is cut: together they are the producer. The
//! number of a submission is the offset at which it ends, with a checksum of the bytes before that offset. A file
//! that was only appended to still has those bytes there, so that its highest number that fits is how far it was
//! taken. In one that was written anew, in place, none fits: it is taken from its start. No number is kept anywhere
//! but in the spool, with the items it stands for.

use std::fs::{File, Metadata};
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::time::UNIX_EPOCH;

use batchd_core::spool::kept::KeptOf;
use batchd_frame::checksum::crc32c;
use batchd_frame::split::Cut;
use batchd_frame::{ProducerId, SubmissionId};

/// Bits of the number for the checksum; the others are the offset's: 16 TiB, the longest file of ext4.
const CHECK_BITS: u32 = 20;
/// So many bytes before the offset it is of.
const CHECKED_BYTES: u64 = 4096;

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
    cut: Cut,
    /// Where it stood when it was given to this process.
    start: u64,
}

/// Where a file is gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Resume {
    /// The spool has what is before this offset, as far as it was ever given.
    pub(super) from: u64,
    /// A submission behind that, of which it has a part.
    pub(super) partly: Option<Partly>,
    /// It has something of it that is not taken again.
    pub(super) is_known: bool,
    /// It has had something that is not there any more: the file was written anew, or cut.
    pub(super) is_rewritten: bool,
}

/// A submission of which only the first items were kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Partly {
    /// Where it ends.
    pub(super) end: u64,
    /// How many of its items are kept.
    pub(super) items: u32,
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
        Ok(Self::File(FileSource {
            file,
            identity: identity(&found, cut),
            cut,
            start,
        }))
    }

    /// The id of the next submission: of items up to the offset `end`, of which the last is `last`.
    ///
    /// # Errors
    /// Where the file cannot be read, or is longer than numbers can tell.
    pub(super) fn id(&mut self, end: u64, last: &[u8]) -> io::Result<SubmissionId> {
        match self {
            Self::File(file) if file.cut == Cut::Whole => Ok(SubmissionId {
                producer: file.producer(last),
                sequence: 0,
            }),
            Self::File(file) => Ok(SubmissionId {
                producer: file.producer(b""),
                sequence: file.sequence(end)?,
            }),
            Self::Stream { producer, sequence } => {
                *sequence += 1;
                Ok(SubmissionId {
                    producer: *producer,
                    sequence: *sequence,
                })
            }
        }
    }
}

impl FileSource {
    /// Under which its submissions are numbered. A file that is one item is another one with every content.
    pub(super) fn producer(&self, content: &[u8]) -> ProducerId {
        let key = [b"batchd pipe\0".as_slice(), &self.identity, content];
        ProducerId::of_external_key(&key.concat())
    }

    /// Finds where to go on, and moves there.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub(super) fn resume(&mut self, kept: &KeptOf) -> io::Result<Resume> {
        let mut resume = match self.cut {
            Cut::Whole => Resume::default(),
            Cut::Lines | Cut::Null => self.find(kept)?,
        };
        if resume.from < self.start {
            resume.from = self.start;
            resume.partly = None;
            resume.is_known = false;
        }
        self.file.seek(SeekFrom::Start(resume.from))?;
        Ok(resume)
    }

    fn find(&self, kept: &KeptOf) -> io::Result<Resume> {
        let length = self.length()?;
        let fits = |sequence: u64| -> io::Result<bool> {
            let end = sequence >> CHECK_BITS;
            Ok(end <= length && self.sequence(end)? == sequence)
        };
        let mut resume = Resume::default();
        let runs = kept.whole.iter().rev();
        for sequence in runs.flat_map(|(first, last)| (*first..=*last).rev()) {
            if fits(sequence)? {
                resume.from = sequence >> CHECK_BITS;
                break;
            }
        }
        for (sequence, items) in kept.partly.iter().rev() {
            let end = sequence >> CHECK_BITS;
            if end > resume.from && fits(*sequence)? {
                let items = *items;
                resume.partly = Some(Partly { end, items });
                break;
            }
        }
        resume.is_known = resume.from > 0 || resume.partly.is_some();
        let was_had = !kept.whole.is_empty() || !kept.partly.is_empty();
        resume.is_rewritten = was_had && !resume.is_known;
        Ok(resume)
    }

    /// Its length now, in bytes.
    pub(super) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Whether an item ended right before the offset, with its delimiter.
    pub(super) fn is_delimited(&self, offset: u64) -> io::Result<bool> {
        let Some(before) = offset.checked_sub(1) else {
            return Ok(true);
        };
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, before)?;
        Ok(self.cut.delimiter() == Some(byte[0]))
    }

    /// The number of a submission that ends there.
    fn sequence(&self, end: u64) -> io::Result<u64> {
        if end >> (u64::BITS - CHECK_BITS) != 0 {
            return Err(io::Error::other(
                "the file is longer than 16 TiB: give it through a pipe",
            ));
        }
        let begin = end.saturating_sub(CHECKED_BYTES);
        let mut bytes = vec![0; usize::try_from(end - begin).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, begin)?;
        let check = u64::from(crc32c(&bytes)) & ((1 << CHECK_BITS) - 1);
        Ok(end << CHECK_BITS | check)
    }
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

    /// The submissions of a file, by where they end.
    fn kept(source: &FileSource, whole: &[u64], partly: &[(u64, u32)]) -> KeptOf {
        let sequence = |end: &u64| source.sequence(*end).expect("a number");
        let whole = whole.iter().map(sequence).map(|s| (s, s)).collect();
        let partly = partly.iter().map(|(end, n)| (sequence(end), *n)).collect();
        KeptOf { whole, partly }
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
        let none = source.resume(&KeptOf::default()).expect("read");
        assert_eq!(none, Resume::default());

        let had = kept(&source, &[500, 9000], &[(9500, 7)]);
        let resume = source.resume(&had).expect("read");
        let partly = Some(Partly {
            end: 9500,
            items: 7,
        });
        let expected = Resume {
            from: 9000,
            partly,
            is_known: true,
            is_rewritten: false,
        };
        assert_eq!(resume, expected);
        assert_eq!((&file).stream_position().expect("a file"), 9000);

        // Appended to, it is the same file.
        fs::write(dir.path().join("f"), lines(3000)).expect("written");
        assert_eq!(source.resume(&had).expect("read"), expected);
        // What is skipped on purpose is skipped.
        source.start = 9100;
        let skipped = source.resume(&had).expect("read");
        assert_eq!((skipped.from, skipped.partly), (9100, None));
    }

    #[test]
    fn what_is_not_there_any_more_was_not_taken() {
        let (dir, file) = temporary(&lines(2000));
        let mut source = source(&file);
        let had = kept(&source, &[500, 9000], &[(9500, 7)]);
        // Cut, and written on from there.
        fs::write(dir.path().join("f"), lines(60) + "another line\n").expect("written");
        let resume = source.resume(&had).expect("read");
        assert_eq!((resume.from, resume.partly), (500, None));
        // Written anew, and longer, with the same first line.
        let anew = lines(1) + &"something else\n".repeat(2000);
        fs::write(dir.path().join("f"), anew).expect("written");
        let resume = source.resume(&had).expect("read");
        assert_eq!((resume.from, resume.is_rewritten), (0, true));
    }

    #[test]
    fn numbers_ascend_with_offsets() {
        let (_dir, file) = temporary(&lines(2000));
        let source = source(&file);
        let numbers = (0..=2000).map(|n| source.sequence(n * 10).expect("a number"));
        let numbers: Vec<_> = numbers.collect();
        assert!(numbers.is_sorted());
        source.sequence(1 << 44).expect_err("too long");
    }

    #[test]
    fn other_files_and_other_cuts_are_other_producers() {
        let (_dir, file) = temporary("a\n");
        let (_other_dir, other) = temporary("a\n");
        let producer = |file, cut| match Source::of(file, cut, [0; 16]) {
            Ok(Source::File(source)) => source.producer(b""),
            other => panic!("{other:?}"),
        };
        assert_eq!(producer(&file, Cut::Lines), producer(&file, Cut::Lines));
        assert_ne!(producer(&file, Cut::Lines), producer(&file, Cut::Null));
        assert_ne!(producer(&file, Cut::Lines), producer(&other, Cut::Lines));
    }
}
