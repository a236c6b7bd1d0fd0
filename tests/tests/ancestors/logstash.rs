//! Logstash: 125 events make a batch, and one that is not full waits 50 ms.

use batchd_tests::{Exit, lines};

use crate::{Bench, batches};

#[test]
fn a_full_batch_goes_out_at_once() {
    let bench = Bench::of_sample("logstash.toml");
    bench.submit(0..126);
    let found = bench.wait_for_batches(126);
    assert_eq!(found, batches([(125, "max_items"), (1, "max_age")]));
    assert_eq!(bench.delivered(), lines(0..126));
    assert_eq!(bench.daemon.term(), Exit::Code(0));
}

#[test]
fn a_single_event_goes_out_by_the_delay_alone() {
    let bench = Bench::of_sample("logstash.toml");
    for number in 0..3 {
        bench.submit(number..number + 1);
        bench.wait_for_batches(number + 1);
    }
    assert_eq!(bench.batches(), vec![(1, "max_age".to_owned()); 3]);
    assert_eq!(bench.delivered(), lines(0..3));
    assert_eq!(bench.daemon.term(), Exit::Code(0));
}
