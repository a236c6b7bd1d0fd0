//! Recordings made from a script, one call a line, so that a test can be read.
//!
//! ```text
//! accept                  a connection
//! read 1 a 3              it submits as request 1 submission a, of three items
//! answer 1 synced         it is told that request 1 is synced
//! make open/1             a file is made: of batch 1; also open/tmp, its copy by recovery, ready/1, out/1, out/tmp, ledger
//! zeros open/1 4096       zeros are written to it
//! write open/1 a 0..3     a frame of items, behind a header if it is the first
//! seal open/1
//! line ledger 1           a line that says that batch 1 was delivered
//! text out/tmp hello
//! sync open/1             also of a directory: open/, ready/, q/, queues/, spool/, out/
//! rename open/1 ready/1
//! unlink ready/1
//! open ready/1            of a former daemon
//! claim open/1 600        frames say from here on that the file is synced so far
//! cut open/1 512
//! ```
//! A call that begins with a number and a colon is that of another thread; one that ends in `...` returns where
//! its thread says `returns`, or `fails`.

use std::collections::HashMap;
use std::fmt::Write as _;

use batchd_frame::checksum::crc32c;
use batchd_frame::{
    BatchId, FileHeader, FrameFlags, FrameHeader, FrameKind, Key, OnExpire, Place, ProducerId,
    QueueName, SubmissionId, encode_body,
};
use batchd_protocol::{Ack, Request, Response, Submit, encode_message};

/// The spool of a script.
pub(super) const SPOOL: &str = "/s/spool";
/// Where its sink puts files.
pub(super) const OUT: &str = "/s/out";

/// Makes a recording.
pub(super) fn record(script: &str) -> String {
    let mut recorder = Recorder::default();
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        recorder.statement(line);
    }
    recorder.log
}

#[derive(Default)]
struct Recorder {
    log: String,
    descriptors: HashMap<String, i64>,
    tails: HashMap<String, Tail>,
    ledger_bytes: u64,
    /// By thread: what ends the call under way.
    under_way: HashMap<String, String>,
}

#[derive(Clone, Default)]
struct Tail {
    offset: u64,
    synced_to: u32,
    previous: u32,
}

/// A call: what is printed when it is entered, and its value.
struct Printed {
    name: &'static str,
    args: String,
    value: i64,
}

impl Recorder {
    fn statement(&mut self, line: &str) {
        let (thread, line) = line.split_once(": ").unwrap_or(("1", line));
        if let "returns" | "fails" = line {
            let name = self.under_way.remove(thread).expect("a call under way");
            let value = if line == "fails" {
                "-1 EIO (Input/output error)"
            } else {
                "0"
            };
            writeln!(self.log, "{thread} <... {name} resumed>) = {value}").unwrap();
            return;
        }
        let begun = line.strip_suffix(" ...");
        let words: Vec<&str> = begun.unwrap_or(line).split(' ').collect();
        let calls = self.calls(&words);
        for Printed { name, args, value } in calls {
            if begun.is_some() && name != "openat" && name != "close" {
                writeln!(self.log, "{thread} {name}({args} <unfinished ...>").unwrap();
                self.under_way.insert(thread.to_owned(), name.to_owned());
            } else {
                writeln!(self.log, "{thread} {name}({args}) = {value}").unwrap();
            }
        }
    }

    fn calls(&mut self, words: &[&str]) -> Vec<Printed> {
        match *words {
            ["accept"] => {
                self.descriptors.insert("socket".to_owned(), 50);
                vec![call(
                    "accept4",
                    "9, NULL, NULL, SOCK_CLOEXEC".to_owned(),
                    50,
                )]
            }
            ["read", request, name, count] => {
                let message = submission(request, name, count);
                let length = message.len();
                let args = format!(
                    "{}, {}, 9999, 0, NULL, NULL",
                    self.fd("socket"),
                    quoted(&message)
                );
                vec![call("recvfrom", args, length)]
            }
            ["answer", request, ack] => {
                let request = request.parse().unwrap();
                let ack = if ack == "synced" {
                    Ack::Synced
                } else {
                    Ack::Written
                };
                let repeat = false;
                let message = encode_message(&Response::Accepted {
                    request,
                    ack,
                    repeat,
                });
                let args = format!("{}, {}, 8, 0, NULL, 0", self.fd("socket"), quoted(&message));
                vec![call("sendto", args, message.len())]
            }
            ["open", name] => vec![self.open(name, "O_RDONLY")],
            ["make", name] => vec![self.open(name, "O_RDWR|O_CREAT|O_EXCL")],
            ["zeros", name, length] => vec![self.put(name, &vec![0; length.parse().unwrap()], 0)],
            ["write", name, submission, items] => {
                let (first, end) = items.split_once("..").unwrap();
                let (first, end): (u32, u32) = (first.parse().unwrap(), end.parse().unwrap());
                let bodies: Vec<_> = (first..end)
                    .map(|item| self::item(submission, item))
                    .collect();
                let mut body = Vec::new();
                encode_body(
                    Some(id(submission)),
                    bodies.iter().map(Vec::as_slice),
                    &mut body,
                );
                vec![self.frame(name, FrameKind::Items, first..end, &body)]
            }
            ["claim", name, synced_to] => {
                self.tails.entry(name.to_owned()).or_default().synced_to =
                    synced_to.parse().unwrap();
                Vec::new()
            }
            ["seal", name] => vec![self.frame(name, FrameKind::Seal, 0..0, b"seal")],
            ["line", name, number] => {
                let id = batch(number);
                let line = format!("{{\"id\":\"{id}\",\"outcome\":\"delivered\"}}\n");
                let offset = self.ledger_bytes;
                self.ledger_bytes += line.len() as u64;
                vec![self.put(name, line.as_bytes(), offset)]
            }
            ["text", name, text] => {
                let args = format!("{}, {}, 9", self.fd(name), quoted(text.as_bytes()));
                vec![call("write", args, text.len())]
            }
            ["sync", name] if name.ends_with('/') => vec![
                self.open(name, "O_RDONLY|O_DIRECTORY"),
                call("fsync", self.fd(name), 0),
                call("close", self.fd(name), 0),
            ],
            ["sync", name] => vec![call("fdatasync", self.fd(name), 0)],
            ["mkdir", name] => vec![call("mkdir", format!("{}, 0700", quoted_path(name)), 0)],
            ["rename", from, to] => {
                let tail = self.tails.get(from).cloned();
                tail.map(|tail| self.tails.insert(to.to_owned(), tail));
                let args = format!("{}, {}", quoted_path(from), quoted_path(to));
                vec![call("rename", args, 0)]
            }
            ["unlink", name] => vec![call("unlink", quoted_path(name), 0)],
            ["cut", name, length] => {
                vec![call("ftruncate", format!("{}, {length}", self.fd(name)), 0)]
            }
            ["raw", name, descriptor] => {
                let descriptor = format!("{descriptor}<{}>", hex(path(name).as_bytes()));
                vec![call(
                    "pwrite64",
                    format!("{descriptor}, \"\\x61\", 1, 0"),
                    1,
                )]
            }
            ["link", from, to] => {
                let args = format!("{}, {}", quoted_path(from), quoted_path(to));
                vec![call("link", args, 0)]
            }
            _ => panic!("{words:?}"),
        }
    }

    fn open(&mut self, name: &str, flags: &str) -> Printed {
        let next = 60 + i64::try_from(self.descriptors.len()).unwrap();
        let descriptor = *self.descriptors.entry(name.to_owned()).or_insert(next);
        let args = format!("AT_FDCWD<\\x2f>, {}, {flags}, 0600", quoted_path(name));
        Printed {
            name: "openat",
            args,
            value: descriptor,
        }
    }

    fn fd(&self, name: &str) -> String {
        format!("{}<{}>", self.descriptors[name], hex(path(name).as_bytes()))
    }

    fn put(&self, name: &str, bytes: &[u8], offset: u64) -> Printed {
        let length = bytes.len();
        let args = format!("{}, {}, {length}, {offset}", self.fd(name), quoted(bytes));
        call("pwrite64", args, length)
    }

    fn frame(
        &mut self,
        name: &str,
        kind: FrameKind,
        items: std::ops::Range<u32>,
        body: &[u8],
    ) -> Printed {
        let number = name.rsplit('/').next().unwrap();
        let batch = batch(if number == "tmp" { "1" } else { number });
        let mut tail = self.tails.get(name).cloned().unwrap_or_default();
        let mut bytes = Vec::new();
        let offset = tail.offset;
        if offset == 0 {
            let header = file_header(batch).encode();
            tail.previous = FileHeader::crc_of(&header);
            bytes.extend_from_slice(&header);
        }
        let header = FrameHeader {
            kind,
            flags: FrameFlags::NONE,
            part: 0,
            body_bytes: u32::try_from(body.len()).unwrap(),
            items: items.end - items.start,
            body_crc: crc32c(body),
            prev_crc: tail.previous,
            items_before: 0,
            synced_to: tail.synced_to,
            received_at: 0,
            first_item: items.start,
        };
        let place = Place {
            batch,
            offset: offset + bytes.len() as u64,
        };
        let encoded = header.encode(place);
        tail.previous = FrameHeader::crc_of(&encoded);
        tail.offset = place.offset + header.frame_bytes();
        bytes.extend_from_slice(&encoded);
        bytes.extend_from_slice(body);
        bytes.resize(usize::try_from(tail.offset - offset).unwrap(), 0);
        self.tails.insert(name.to_owned(), tail);
        self.put(name, &bytes, offset)
    }
}

fn call(name: &'static str, args: String, value: impl TryInto<i64>) -> Printed {
    Printed {
        name,
        args,
        value: value.try_into().ok().unwrap(),
    }
}

fn submission(request: &str, name: &str, count: &str) -> Vec<u8> {
    let count: u32 = count.parse().unwrap();
    let items: Vec<_> = (0..count).map(|index| item(name, index)).collect();
    let mut body = Vec::new();
    encode_body(Some(id(name)), items.iter().map(Vec::as_slice), &mut body);
    encode_message(&Request::Submit(Submit {
        request: request.parse().unwrap(),
        queue: "q",
        key: b"",
        ack: Some(Ack::Synced),
        repeat: false,
        end_of_batch: false,
        items: count,
        body_crc: crc32c(&body),
        body: &body,
    }))
}

fn item(submission: &str, index: u32) -> Vec<u8> {
    format!("{submission}{index}").into_bytes()
}

fn id(submission: &str) -> SubmissionId {
    let sequence = submission.bytes().map(u64::from).sum();
    SubmissionId {
        producer: ProducerId::from_bytes([1; 16]),
        sequence,
    }
}

fn batch(number: &str) -> BatchId {
    BatchId::from_bytes([number.parse().unwrap(); 16])
}

fn file_header(id: BatchId) -> FileHeader {
    FileHeader {
        id,
        seq: 1,
        created_at: 1,
        lifespan: None,
        on_expire: OnExpire::Dead,
        queue: QueueName::new("q").unwrap(),
        key: Key::default(),
    }
}

fn path(name: &str) -> String {
    let queue = format!("{SPOOL}/queues/q");
    match name.split_once('/') {
        Some(("spool", "")) => SPOOL.to_owned(),
        Some(("queues", "")) => format!("{SPOOL}/queues"),
        Some(("q", "")) => queue,
        Some(("out", "")) => OUT.to_owned(),
        Some(("open", "tmp")) => format!("{queue}/open/1-{}.batch.tmp", batch("1")),
        Some(("out", "tmp")) => format!("{OUT}/.batchd-q-1.tmp"),
        Some(("out", number)) => format!("{OUT}/q-1-{}.txt", batch(number)),
        Some((directory, "")) => format!("{queue}/{directory}"),
        Some((directory, number)) => format!("{queue}/{directory}/1-{}.batch", batch(number)),
        None => format!("{queue}/{name}"),
    }
}

fn quoted_path(name: &str) -> String {
    quoted(path(name).as_bytes())
}

fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", hex(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("\\x{byte:02x}"))
}
