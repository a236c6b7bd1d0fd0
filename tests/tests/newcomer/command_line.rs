//! Commands and options that there are not.

use insta::assert_snapshot;

use crate::bench::{Bench, NO_SINK};

#[test]
fn of_the_daemon() {
    let told = Bench::new(NO_SINK).all_told(&[
        "batchd start",
        "batchd submit",
        "batchd chek-config",
        "batchd --confg b.toml",
        "batchd --config",
        "HOME=ROOT/home batchd --log batchd=debgu",
    ]);
    assert_snapshot!(told, @r#"
    $ batchd start
    64
    error: unrecognized subcommand 'start'

    Usage: batchd [OPTIONS] [COMMAND]

    For more information, try '--help'.
    hint: 'batchd' alone runs the daemon; 'submit', 'status' and the like are commands of batchctl

    $ batchd submit
    64
    error: unrecognized subcommand 'submit'

    Usage: batchd [OPTIONS] [COMMAND]

    For more information, try '--help'.
    hint: 'batchd' alone runs the daemon; 'submit', 'status' and the like are commands of batchctl

    $ batchd chek-config
    64
    error: unrecognized subcommand 'chek-config'

      tip: a similar subcommand exists: 'check-config'

    Usage: batchd [OPTIONS] [COMMAND]

    For more information, try '--help'.

    $ batchd --confg b.toml
    64
    error: unexpected argument '--confg' found

      tip: a similar argument exists: '--config'

    Usage: batchd --config <FILE>

    For more information, try '--help'.

    $ batchd --config
    64
    error: a value is required for '--config <FILE>' but none was supplied

    For more information, try '--help'.

    $ HOME=ROOT/home batchd --log batchd=debgu
    64
    batchd: --log (or BATCHD_LOG) "batchd=debgu": error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5: write a level such as "info", or "batchd=debug"
    "#);
}

#[test]
fn of_the_client() {
    let told = Bench::new(NO_SINK).all_told(&[
        "batchctl sumbit",
        "batchctl start",
        "batchctl submit --quue logs",
        "batchctl --spool /var/spool/batchd ls",
        "batchctl submit --timeout 5",
        "batchctl submit --ack sycned",
        "batchctl cat",
    ]);
    assert_snapshot!(told, @"
    $ batchctl sumbit
    64
    error: unrecognized subcommand 'sumbit'

      tip: a similar subcommand exists: 'submit'

    Usage: batchctl [OPTIONS] <COMMAND>

    For more information, try '--help'.
    hint: 'batchctl --help' lists the commands; the daemon itself is started with 'batchd'

    $ batchctl start
    64
    error: unrecognized subcommand 'start'

      tip: a similar subcommand exists: 'status'

    Usage: batchctl [OPTIONS] <COMMAND>

    For more information, try '--help'.
    hint: 'batchctl --help' lists the commands; the daemon itself is started with 'batchd'

    $ batchctl submit --quue logs
    64
    error: unexpected argument '--quue' found

      tip: a similar argument exists: '--queue'

    Usage: batchctl submit --queue <NAME> [FILE]...

    For more information, try '--help'.

    $ batchctl --spool /var/spool/batchd ls
    64
    error: unexpected argument '--spool' found

      tip: 'ls --spool' exists

    Usage: batchctl [OPTIONS] <COMMAND>

    For more information, try '--help'.

    $ batchctl submit --timeout 5
    64
    error: invalid value '5' for '--timeout <DURATION>': not a time: numbers with units, as in 500ms, 30s or 1h 30min

    For more information, try '--help'.

    $ batchctl submit --ack sycned
    64
    error: invalid value 'sycned' for '--ack <WHAT>'
      [possible values: none, written, synced, delivered]

      tip: a similar value exists: 'synced'

    For more information, try '--help'.

    $ batchctl cat
    64
    error: the following required arguments were not provided:
      <ID>...

    Usage: batchctl cat <ID>...

    For more information, try '--help'.
    ");
}

#[test]
fn help_is_told_where_nothing_is_asked_for() {
    let bench = Bench::new(NO_SINK);
    let alone = bench.told("batchctl");
    assert!(alone.starts_with("64\nSubmits items to batchd"), "{alone}");
    for line in [
        "batchctl help",
        "batchctl --help",
        "batchd help",
        "batchd --help",
    ] {
        let said = batchd_tests::run(&mut bench.command(line), b"").success();
        assert!(said.text().contains("Usage: "), "{line}: {said}");
        assert_eq!(said.stderr, "", "{line}");
    }
}
