//! OpenTelemetry's `BatchSpanProcessor`: 512 spans a batch, 2048 in all, five seconds.

use std::fs;

use batchd_tests::{Exit, lines};

use crate::{Bench, batches};

/// Something is where the directory of the delivered batches is to be: none can be made.
fn block(bench: &Bench) {
    fs::write(bench.out(), "in the way").expect("written");
}

fn unblock(bench: &Bench) {
    fs::remove_file(bench.out()).expect("there");
}

#[test]
fn five_hundred_and_twelve_make_a_batch() {
    let bench = Bench::of_sample("opentelemetry.toml");
    bench.submit(0..1024);
    let found = bench.wait_for_batches(1024);
    assert_eq!(found, batches([(512, "max_items"), (512, "max_items")]));
    assert_eq!(bench.delivered(), lines(0..1024));
    assert_eq!(bench.daemon.term(), Exit::Code(0));
}

#[test]
fn past_two_thousand_and_forty_eight_it_is_refused_and_nothing_is_lost() {
    let bench = Bench::of_sample("opentelemetry.toml");
    block(&bench);
    bench.submit(0..2048);
    let args = ["submit", "--timeout", "300ms"];
    let one_more = lines(2048..2049);
    let refused = bench.site.batchctl(args, one_more.as_bytes());
    let refused = refused.expect_code(75);
    assert!(
        refused.stderr.contains("holds 2048 items") && refused.stderr.contains("`quota_items`"),
        "{refused}"
    );
    unblock(&bench);
    bench.site.batchctl(["flush", "--wait"], b"").success();
    assert_eq!(bench.delivered(), lines(0..2048));
    assert_eq!(bench.batches(), vec![(512, "max_items".to_owned()); 4]);
    // The producer has what was refused, and there is room for it now.
    bench.submit(2048..2049);
    bench.site.batchctl(["flush", "--wait"], b"").success();
    assert_eq!(bench.delivered(), lines(0..2049));
    assert_eq!(bench.daemon.term(), Exit::Code(0));
}

#[test]
fn a_single_span_goes_out_after_the_delay() {
    let bench = Bench::of_sample("opentelemetry.toml");
    bench.submit(0..1);
    assert_eq!(bench.wait_for_batches(1), batches([(1, "max_age")]));
    assert_eq!(bench.delivered(), lines(0..1));
    assert_eq!(bench.daemon.term(), Exit::Code(0));
}

#[test]
fn a_flush_that_waits_is_a_force_flush() {
    let bench = Bench::of_sample("opentelemetry.toml");
    bench.submit(0..3);
    bench.site.batchctl(["flush", "--wait"], b"").success();
    // It is there when the command ends.
    assert_eq!(bench.delivered(), lines(0..3));
    assert_eq!(bench.daemon.term(), Exit::Code(0));
}

#[test]
fn a_stop_delivers_what_is_open() {
    let bench = Bench::of_sample("opentelemetry.toml");
    block(&bench);
    // Two batches that wait, and one that is open: more than one to be taken out.
    bench.submit(0..1200);
    unblock(&bench);
    let out = bench.out();
    assert_eq!(bench.daemon.term(), Exit::Code(0));
    let files = batchd_tests::delivered_files(&out);
    let counts: Vec<_> = files.iter().map(|file| file.lines().len()).collect();
    assert_eq!(counts, [512, 512, 176]);
    assert_eq!(batchd_tests::delivered(&out), lines(0..1200).as_bytes());
}
