//! Real input through real binaries: what comes out is what went in, byte for byte.

mod batches;
mod content;
mod operating;
mod order;

use batchd_tests::{Output, Sample, Site, samples};
use serde_json::Value;

const MAX_ITEMS: usize = 7;
/// Keeps everything in the spool, where it can be looked at.
const NO_SINK: &str = "[queues.default]\nmax_items = 7\nmax_age = \"off\"\nsink = \"off\"\n";

/// The lines of `bytes`, as `batchctl submit` sees them.
fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let whole = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    whole.split(|byte| *byte == b'\n').collect()
}

fn submit(site: &Site, args: &[&str], stdin: &[u8]) -> Output {
    site.batchctl(["submit"].iter().chain(args), stdin)
}

#[track_caller]
fn flush(site: &Site) -> Value {
    let flushed = site
        .batchctl(["flush", "--wait", "--output", "json"], b"")
        .success()
        .json();
    flushed.first().cloned().expect("a report")
}

#[track_caller]
fn ls(site: &Site) -> Vec<Value> {
    site.batchctl(["ls", "--output", "json"], b"")
        .success()
        .json()
}

#[track_caller]
fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("{field} in {value}"))
}

#[track_caller]
fn number(value: &Value, field: &str) -> u64 {
    value
        .get(field)
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("{field} in {value}"))
}

/// A file of `samples/`.
fn sample(name: &str) -> Sample {
    samples()
        .into_iter()
        .find(|sample| sample.name == name)
        .expect("a sample")
}
