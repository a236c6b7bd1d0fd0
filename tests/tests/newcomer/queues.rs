//! Queues and batches that there are not.

use insta::assert_snapshot;

use crate::bench::Bench;

const QUEUES: &str = "[queues.default]\nsink = \"off\"\n[queues.logs]\n";

#[test]
fn a_queue_that_there_is_not() {
    let bench = Bench::new(QUEUES);
    let daemon = bench.start();
    bench.file("items", "one\n");
    let told = bench.all_told(&[
        "batchctl --socket ROOT/sock submit --queue lgos ROOT/items",
        "batchctl --socket ROOT/sock submit --queue metrics ROOT/items",
        "batchctl --socket ROOT/sock create --queue lgos ROOT/items",
        "batchctl --socket ROOT/sock flush --queue lgos",
        "batchctl --socket ROOT/sock ls --queue lgos",
        "batchctl --socket ROOT/sock history --queue lgos",
        "batchctl --socket ROOT/sock verify --queue lgos",
        "batchctl --socket ROOT/sock submit --queue Logs ROOT/items",
    ]);
    assert_snapshot!(told, @r#"
    $ batchctl --socket ROOT/sock submit --queue lgos ROOT/items
    66
    batchctl: no queue 'lgos': to have it, add [queues.lgos] to the configuration, or unknown_queues = "create" to [queues.default], and restart batchd
    note: no item is known to be kept
    hint: did you mean 'logs'? 'batchctl status' lists the queues

    $ batchctl --socket ROOT/sock submit --queue metrics ROOT/items
    66
    batchctl: no queue 'metrics': to have it, add [queues.metrics] to the configuration, or unknown_queues = "create" to [queues.default], and restart batchd
    note: no item is known to be kept
    hint: 'batchctl status' lists the queues

    $ batchctl --socket ROOT/sock create --queue lgos ROOT/items
    66
    batchctl: no queue 'lgos': to have it, add [queues.lgos] to the configuration, or unknown_queues = "create" to [queues.default], and restart batchd
    hint: did you mean 'logs'? 'batchctl status' lists the queues

    $ batchctl --socket ROOT/sock flush --queue lgos
    66
    batchctl: no queue 'lgos'
    hint: did you mean 'logs'? 'batchctl status' lists the queues

    $ batchctl --socket ROOT/sock ls --queue lgos
    66
    batchctl: no queue 'lgos'
    hint: did you mean 'logs'? 'batchctl status' lists the queues

    $ batchctl --socket ROOT/sock history --queue lgos
    66
    batchctl: no queue 'lgos'
    hint: did you mean 'logs'? 'batchctl status' lists the queues

    $ batchctl --socket ROOT/sock verify --queue lgos
    66
    batchctl: no queue 'lgos'
    hint: did you mean 'logs'? 'batchctl status' lists the queues

    $ batchctl --socket ROOT/sock submit --queue Logs ROOT/items
    64
    error: invalid value 'Logs' for '--queue <NAME>': 'Logs' is not a queue name: 1 to 64 of a-z, 0-9, '.', '_', '-', the first a letter or digit

    For more information, try '--help'.
    "#);
    drop(daemon);
    assert_snapshot!(bench.told("batchctl ls --spool ROOT/spool --queue lgos"), @"
    66
    batchctl: no queue 'lgos' in the spool
    hint: did you mean 'logs'? 'batchctl ls --spool ROOT/spool' lists what there is
    ");
}

#[test]
fn a_queue_that_delivers_nothing() {
    let bench = Bench::new(QUEUES);
    let _daemon = bench.start();
    bench.file("items", "one\n");
    let told = bench.all_told(&[
        "batchctl --socket ROOT/sock submit --queue logs ROOT/items",
        "batchctl --socket ROOT/sock submit --queue logs --ack delivered ROOT/items",
        "batchctl --socket ROOT/sock flush --queue logs --wait",
    ]);
    assert_snapshot!(told, @r#"
    $ batchctl --socket ROOT/sock submit --queue logs ROOT/items
    0

    $ batchctl --socket ROOT/sock submit --queue logs --ack delivered ROOT/items
    78
    batchctl: refused: the queue has no sink, so that nothing of it is ever delivered: ask for "synced"
    note: no item is known to be kept
    hint: give the queue a sink, or leave '--ack delivered' away

    $ batchctl --socket ROOT/sock flush --queue logs --wait
    78
    batchctl: refused: queue logs has no sink; its batches are kept
    hint: give the queue a sink, or leave --wait away
    "#);
}

#[test]
fn a_batch_that_there_is_not() {
    let bench = Bench::new(QUEUES);
    let daemon = bench.start();
    let told = bench.all_told(&[
        "batchctl --socket ROOT/sock get 0197f3a2-5f3b-7c44-9e1d-2b7c5a0d9e11",
        "batchctl --socket ROOT/sock cat 0197f3a2-5f3b-7c44-9e1d-2b7c5a0d9e11",
        "batchctl --socket ROOT/sock show 0197f3a2-5f3b-7c44-9e1d-2b7c5a0d9e11",
        "batchctl --socket ROOT/sock show 0197f3a2",
    ]);
    assert_snapshot!(told, @"
    $ batchctl --socket ROOT/sock get 0197f3a2-5f3b-7c44-9e1d-2b7c5a0d9e11
    66
    batchctl: no batch ID: nothing is on record of it, or not any more
    hint: 'batchctl ls' lists the batches there are, 'batchctl history' what became of others

    $ batchctl --socket ROOT/sock cat 0197f3a2-5f3b-7c44-9e1d-2b7c5a0d9e11
    66
    batchctl: no batch ID: nothing is on record of it, or not any more
    hint: 'batchctl ls' lists the batches there are, 'batchctl history' what became of others

    $ batchctl --socket ROOT/sock show 0197f3a2-5f3b-7c44-9e1d-2b7c5a0d9e11
    66
    batchctl: no batch ID: nothing is on record of it, or not any more
    hint: 'batchctl ls' lists the batches there are, 'batchctl history' what became of others

    $ batchctl --socket ROOT/sock show 0197f3a2
    64
    error: invalid value '0197f3a2' for '<ID>': '0197f3a2' is not an id: 32 hexadecimal digits, with or without hyphens

    For more information, try '--help'.
    ");
    drop(daemon);
    let told = bench.told("batchctl show --spool ROOT/spool 0197f3a2-5f3b-7c44-9e1d-2b7c5a0d9e11");
    assert_snapshot!(told, @"
    66
    batchctl: no batch ID in the spool
    hint: 'batchctl ls --spool ROOT/spool' lists the batches; one that was delivered is gone
    ");
}
