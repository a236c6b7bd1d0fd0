//! Configurations that cannot be used: a start says the same as `check-config`.

use insta::assert_snapshot;

use crate::bench::{Bench, NO_SINK, allow};

/// What is said of a configuration by `check-config`, and by a start, which says the same with the name of the program.
#[track_caller]
fn told_of(text: &str) -> String {
    let bench = Bench::new(NO_SINK);
    bench.config("bad.toml", text);
    let checked = bench.told("HOME=ROOT/home batchd check-config --config ROOT/bad.toml");
    let started = bench.told("HOME=ROOT/home batchd --config ROOT/bad.toml");
    assert_eq!(started.replace("\nbatchd: ", "\n"), checked);
    assert_eq!(
        started.lines().count(),
        started.matches("\nbatchd: ").count() + 1
    );
    started
}

#[test]
fn one_mistake() {
    assert_snapshot!(told_of("[queues.logs\nmax_items = 1\n"), @"
    78
    batchd: ROOT/bad.toml:1:13: unclosed table, expected `]`
    batchd: hint: mend this mistake, and look again with 'batchd check-config --config ROOT/bad.toml'
    ");
    assert_snapshot!(told_of("[queues.logs]\nmax_itmes = 1\n"), @"
    78
    batchd: ROOT/bad.toml:2:1: unknown key `max_itmes` in [queues.logs]: did you mean `max_items`?
    batchd: hint: mend this mistake, and look again with 'batchd check-config --config ROOT/bad.toml'
    ");
    assert_snapshot!(told_of("[queues.logs]\nmax_items = \"many\"\n"), @r#"
    78
    batchd: ROOT/bad.toml:2:13: queues.logs.max_items: found a string, expected an integer; or "off"
    batchd: hint: mend this mistake, and look again with 'batchd check-config --config ROOT/bad.toml'
    "#);
    assert_snapshot!(told_of("[queues.logs]\nmax_age = 5\n"), @r#"
    78
    batchd: ROOT/bad.toml:2:11: queues.logs.max_age: 5 has no unit: write a time such as "5s"; or "off"
    batchd: hint: mend this mistake, and look again with 'batchd check-config --config ROOT/bad.toml'
    "#);
    let long = format!("[[listen]]\npath = \"/{}\"\n", "x".repeat(107));
    assert_snapshot!(told_of(&long), @"
    78
    batchd: ROOT/bad.toml:2:8: listen[0].path: path of 108 bytes is too long for a socket: at most 103; choose a shorter one
    batchd: hint: mend this mistake, and look again with 'batchd check-config --config ROOT/bad.toml'
    ");
}

#[test]
fn two_queues_with_one_output() {
    let sink = "sink = { type = \"file\", path = \"ROOT/all.log\", append = true }\n";
    let text = format!("[queues.a]\n{sink}[queues.b]\n{sink}");
    assert_snapshot!(told_of(&text), @"
    78
    batchd: ROOT/bad.toml:4:32: queues.b.sink: appends to ROOT/all.log, as does queues.a: each queue needs a file of its own
    batchd: hint: mend this mistake, and look again with 'batchd check-config --config ROOT/bad.toml'
    ");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = r#"
        [spool]
        pth = "ROOT/spool"
        [qeues.logs]
        max_items = 1
        [queues.logs]
        max_age = 5
        [queues.logs.sink]
        type = "fiel"
        path = "batches"
        "#;
    assert_snapshot!(told_of(text), @r#"
    78
    batchd: ROOT/bad.toml:3:9: unknown key `pth` in [spool]: did you mean `path`?
    batchd: ROOT/bad.toml:4:10: unknown table `qeues` at the top of the file: did you mean `queues`?
    batchd: ROOT/bad.toml:7:19: queues.logs.max_age: 5 has no unit: write a time such as "5s"; or "off"
    batchd: ROOT/bad.toml:9:16: queues.logs.sink.type: unknown value "fiel": did you mean `file`?
    batchd: hint: mend these 4 mistakes, and look again with 'batchd check-config --config ROOT/bad.toml'
    "#);
}

#[test]
fn a_file_that_cannot_be_read() {
    let Some(bench) = Bench::of_stranger(NO_SINK) else {
        return;
    };
    allow(&bench.file("private.toml", ""), 0o000);
    let told = bench.all_told(&[
        "batchd --config ROOT/nofile.toml",
        "batchd check-config --config ROOT/nofile.toml",
        "batchd --config ROOT",
        "batchd check-config --config ROOT",
        "batchd --config ROOT/private.toml",
        "batchd check-config --config ROOT/private.toml",
    ]);
    assert_snapshot!(told, @"
    $ batchd --config ROOT/nofile.toml
    78
    batchd: cannot read the configuration ROOT/nofile.toml: No such file or directory (os error 2)
    batchd: hint: give a file that is there to --config; 'batchd check-config --config /dev/null' prints the one that is built in, to begin with

    $ batchd check-config --config ROOT/nofile.toml
    78
    cannot read the configuration ROOT/nofile.toml: No such file or directory (os error 2)
    hint: give a file that is there to --config; 'batchd check-config --config /dev/null' prints the one that is built in, to begin with

    $ batchd --config ROOT
    78
    batchd: cannot read the configuration ROOT: Is a directory (os error 21)
    batchd: hint: give the file in it to --config

    $ batchd check-config --config ROOT
    78
    cannot read the configuration ROOT: Is a directory (os error 21)
    hint: give the file in it to --config

    $ batchd --config ROOT/private.toml
    78
    batchd: cannot read the configuration ROOT/private.toml: Permission denied (os error 13)
    batchd: hint: user N must be able to read it: 'ls -l ROOT/private.toml' shows who may

    $ batchd check-config --config ROOT/private.toml
    78
    cannot read the configuration ROOT/private.toml: Permission denied (os error 13)
    hint: user N must be able to read it: 'ls -l ROOT/private.toml' shows who may
    ");
}

/// As the hint says.
#[test]
fn a_configuration_to_begin_with() {
    let bench = Bench::new(NO_SINK);
    let mut command = bench.command("HOME=ROOT/home batchd check-config --config /dev/null");
    let printed = batchd_tests::run(&mut command, b"").success();
    bench.file("batchd.toml", &printed.text());
    let checked = bench.told("batchd check-config --config ROOT/batchd.toml");
    assert!(checked.starts_with("0\n"), "{checked}");
}
