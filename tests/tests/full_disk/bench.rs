//! A daemon with numbered items: what was acknowledged is compared with what was delivered.

use batchd_protocol::{Ack, ErrorCode, Request, Response};
use batchd_tests::{Body, Daemon, Exit, LONG, Site, Wire, wait_until};

/// A daemon may use so much memory, whatever it is that is full.
const MEMORY_KIB_MAX: u64 = 96 << 10;

/// Who submits items, each of which says its number.
pub(crate) struct Producer {
    wire: Wire,
    queue: &'static str,
    item_bytes: usize,
    pub(crate) acknowledged: Vec<u64>,
    next: u64,
}

impl Producer {
    pub(crate) fn new(site: &Site, queue: &'static str, item_bytes: usize) -> Self {
        Self {
            wire: Wire::greeted(&site.socket()).expect("welcome"),
            queue,
            item_bytes,
            acknowledged: Vec::new(),
            next: 0,
        }
    }

    /// Submits the next item; says why it was refused, if it was. What is not answered is unknown.
    #[track_caller]
    pub(crate) fn submit(&mut self) -> Option<(ErrorCode, String)> {
        let number = self.next;
        self.next += 1;
        let body = Body::new(None, &[item(number, self.item_bytes)]);
        let request = body.submit(number, self.queue, b"", Ack::Synced);
        let answer = match self.wire.send(&Request::Submit(request)) {
            Ok(()) => self.wire.receive().expect("an answer, or the end"),
            Err(_) => None,
        };
        match answer {
            None => Some((ErrorCode::Unknown, "the connection ended".to_owned())),
            Some(Response::Accepted { .. }) => {
                self.acknowledged.push(number);
                None
            }
            Some(Response::Failed { code, message, .. }) => Some((code, message)),
            other => panic!("{other:?}"),
        }
    }

    /// Submits so many items, of which none may be refused.
    #[track_caller]
    pub(crate) fn submit_all(&mut self, count: u64) {
        for _ in 0..count {
            assert_eq!(self.submit(), None);
        }
    }

    /// Submits until one is refused; says why.
    #[track_caller]
    pub(crate) fn submit_until_refused(&mut self, at_most: u64) -> (ErrorCode, String) {
        (0..at_most)
            .find_map(|_| self.submit())
            .unwrap_or_else(|| panic!("never refused, of {at_most}"))
    }

    /// Submits until one is taken.
    #[track_caller]
    pub(crate) fn submit_until_taken(&mut self) {
        wait_until("a submission to be taken", LONG, || {
            self.submit().is_none().then_some(())
        });
    }
}

/// An item that says its number.
pub(crate) fn item(number: u64, bytes: usize) -> Vec<u8> {
    let mut item = format!("{number:08}:").into_bytes();
    let at = |place| b'a' + u8::try_from((number + place) % 26).expect("a letter");
    item.extend((item.len() as u64..bytes as u64).map(at));
    item
}

/// The numbers of the delivered items, in the order of delivery.
#[track_caller]
pub(crate) fn delivered(site: &Site, item_bytes: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    for file in site.delivered_files() {
        for line in file.lines() {
            let number = std::str::from_utf8(line)
                .ok()
                .and_then(|line| line.split_once(':')?.0.parse().ok())
                .unwrap_or_else(|| panic!("{}", line.escape_ascii()));
            assert_eq!(line, item(number, item_bytes), "item {number}");
            numbers.push(number);
        }
    }
    numbers
}

/// Flushes until everything is delivered.
#[track_caller]
pub(crate) fn flush(site: &Site, queue: &str) {
    wait_until("all to be delivered", LONG, || {
        let flush = ["flush", "--queue", queue, "--wait", "--timeout", "20s"];
        (site.batchctl(flush, b"").code == Some(0)).then_some(())
    });
}

/// Nothing panicked, nothing was used up, and the daemon stops as it should.
#[track_caller]
pub(crate) fn expect_well(site: &Site, daemon: Daemon) {
    let kib = daemon.memory_kib("VmHWM");
    assert!(kib < MEMORY_KIB_MAX, "{kib} KiB");
    assert_eq!(daemon.term(), Exit::Code(0), "{}", site.log_text());
    assert!(!site.log_text().contains("panicked"), "{}", site.log_text());
}
