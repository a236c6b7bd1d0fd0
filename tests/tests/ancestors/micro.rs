//! The micro-batchers of Python, Java and TypeScript: an interval, and batches of five.

use batchd_tests::{Exit, lines};

use crate::{Bench, batches};

fn every(interval: &str) -> String {
    format!(
        "[queues.default]\nmax_items = 5\nmax_bytes = \"off\"\nmax_age = \"off\"\ninterval = \"{interval}\"\n"
    )
}

#[test]
fn twelve_items_come_out_as_five_five_and_two() {
    for interval in ["500ms", "1000ms"] {
        let bench = Bench::new(&every(interval));
        bench.submit(0..12);
        let found = bench.wait_for_batches(12);
        let expected = [(5, "max_items"), (5, "max_items"), (2, "interval")];
        assert_eq!(found, batches(expected));
        assert_eq!(bench.delivered(), lines(0..12));
        assert_eq!(bench.daemon.term(), Exit::Code(0));
    }
}

#[test]
fn a_full_batch_waits_for_no_beat() {
    // The first beat is not seen, and each could only take one batch where a beat is all that does.
    let bench = Bench::new(&every("1h"));
    bench.submit(0..100);
    assert_eq!(
        bench.wait_for_batches(100),
        vec![(5, "max_items".to_owned()); 20]
    );
    assert_eq!(bench.delivered(), lines(0..100));
    assert_eq!(bench.daemon.term(), Exit::Code(0));
}
