//! Pages made up to show that these tests can fail, and at what.

use std::fs;
use std::time::Duration;

use batchd_tests::LONG;

use crate::lines;
use crate::pages::Page;
use crate::plan::plan;
use crate::session;
use crate::verdict::check_within;

/// What is said of a page.
fn said_within(limit: Duration, name: &str, text: &str) -> String {
    let page = Page {
        name: name.to_owned(),
        text: text.to_owned(),
    };
    match plan(&page) {
        Ok(steps) => lines("page", check_within(limit, &page, &steps)),
        Err(problems) => lines("page", problems),
    }
}

#[track_caller]
fn check_as(name: &str, text: &str, expected: &str) {
    if session::is_possible() {
        assert_eq!(said_within(LONG, name, text), expected);
    }
}

#[track_caller]
fn check(text: &str, expected: &str) {
    check_as("docs/made-up.md", text, expected);
}

#[test]
fn the_blocks_of_a_page_are_one_session() {
    check(
        "\
<!-- file: names.txt -->
```text
one $HOME
  two
```

<!-- sh
count=$(wc -l <names.txt)
-->
```sh
echo $count lines
cat names.txt
mktemp
```

It prints:

```text
2 lines
one $HOME
…
/tmp/tmp.…
```
",
        "",
    );
}

#[test]
fn a_command_that_fails_is_named_with_its_line() {
    check(
        "# Title\n\n```sh\necho one\n```\n\n```sh\nseq 2\nfalse | cat\ntrue\n```\n",
        "page:7: the shell ended with 1 here:\n1\n2\nline 9: exit code 1\n\n",
    );
    check(
        "```sh\nbatchctl frobnicate 2>&1 | head -n1\n```\n",
        "page:1: the shell ended with 64 here:\n\
         error: unrecognized subcommand 'frobnicate'\nline 2: exit code 64\n\n",
    );
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    check(
        "```sh\ntrue\n```\n<!-- file: none/try.toml -->\n```toml\n```\n",
        "page:5: the shell ended with 1 here:\n\
         /mnt/page: line 5: none/try.toml: No such file or directory\nline 5: exit code 1\n\n",
    );
}

#[test]
fn other_output_than_shown_is_a_problem() {
    check(
        "```sh\necho one\n```\n```text\ntwo\n```\n```sh\necho three >&2\n```\n```text\nthree\n```\n",
        "page:4: this was printed instead:\none\n\n",
    );
}

#[test]
fn what_a_block_swallows_or_leaves_out_is_missed() {
    check(
        "```sh\ncat <<END >/dev/null\n```\n```sh\necho one\n```\n",
        "page:1: the shell ended with success here:\n\
         /mnt/page: line 6: warning: here-document at line 2 delimited by end-of-file (wanted `END')\n\n",
    );
    check(
        "```sh\necho one\n```\n```sh\nexit 0\nfalse\n```\n```sh\necho two\n```\n",
        "page:4: the shell ended with success here:\n\n",
    );
}

#[test]
fn nothing_runs_longer_than_a_page_may() {
    if session::is_possible() {
        let said = said_within(
            Duration::from_secs(1),
            "docs/made-up.md",
            "```sh\nsleep 1000 &\nwait\n```\n",
        );
        assert_eq!(said, "page:1: the shell took too long here:\n\n");
    }
}

#[test]
fn a_session_leaves_the_machine_as_it_is() {
    let mark = format!("batchd-made-up-{}", std::process::id());
    let text = format!(
        "```sh\nfor place in tmp run srv var/lib var/spool; do\n  touch /$place/{mark}\ndone\n\
         (exec -a {mark} sleep 1000) &\nls /home /root\n! touch /etc/{mark} 2>&1\n```\n\
         ```text\n/home:\nreader\n\n/root:\ntouch: … Read-only file system\n```\n"
    );
    check(&text, "");
    for place in ["tmp", "run", "srv", "var/lib", "var/spool", "etc"] {
        assert!(
            !fs::exists(format!("/{place}/{mark}")).expect("a place"),
            "{place}"
        );
    }
    let processes = fs::read_dir("/proc").expect("processes").flatten();
    let runs = |process: fs::DirEntry| fs::read(process.path().join("cmdline")).ok();
    let left = processes
        .filter_map(runs)
        .filter(|words| words.starts_with(mark.as_bytes()));
    assert_eq!(left.count(), 0);
}

#[test]
fn cargo_is_asked_for_what_there_is() {
    check_as(
        "README.md",
        "\
```sh
command -v batchd || echo nothing is built
cargo build --release -p batchctl
ls target/release
cargo run --release -- --version
cargo install --locked --path cli
command -v batchctl
```
```text
nothing is built
batchctl
batchd …
/home/reader/.cargo/bin/batchctl
```
",
        "",
    );
    for (command, why) in [
        ("build -p batched", "no package with programs: batched"),
        ("run -p batchd --bin batched", "no such program: batched"),
        (
            "install batchd",
            "nothing has been released: install a --path",
        ),
        (
            "test",
            "test is not known to the tests of the documentation",
        ),
        (
            "build --fast",
            "--fast is not known to the tests of the documentation",
        ),
    ] {
        check(
            &format!("```sh\ncargo {command}\n```\n"),
            &format!(
                "page:1: the shell ended with 101 here:\ncargo: {why}\nline 2: exit code 101\n\n"
            ),
        );
    }
}

#[test]
fn programs_in_rust_are_run_where_they_stand() {
    check(
        "\
<!-- sh
mkdir /var/lib/batchd
batchd &
echo one | batchctl submit --wait-for-daemon
-->
```rust
use batchd_client::{ItemBuffer, Options, QueueName, Target, blocking};

let mut client = blocking::Client::new(Options::new(\"/run/batchd/batchd.sock\"))?;
let items = ItemBuffer::from_iter([\"two\", \"three\"]);
let submission = client.prepare(&Target::new(QueueName::new(\"default\")?), &items);
println!(\"{}\", client.submit(submission)?.items);
```
```text
2
```
```sh
batchctl flush --wait >/dev/null
cat /var/lib/batchd/delivered/*
```
```text
one
two
three
```
",
        "",
    );
    check(
        "\
```rust
use batchd_core::batcher::{Closed, MemoryBatcher};

let server = MemoryBatcher::of(|batch: &Closed<Vec<u32>>| {
    println!(\"{:?}\", batch.batch());
    Ok(())
});
let server = server.start()?;
server.add_item(1)?;
server.stop()?;
```
```text
[1]
```
",
        "",
    );
    check(
        "```rust\nfn main() {\n    std::process::exit(3);\n}\n```\n",
        "page:1: the shell ended with 3 here:\nline 1: exit code 3\n\n",
    );
    let said = said_within(LONG, "docs/made-up.md", "```rust\nlet one = two;\n```\n");
    let begin = "page:1: the program cannot be compiled:\nerror[E0425]: cannot find value `two`";
    assert!(said.starts_with(begin) && said.contains(":2:11"), "{said}");
}

#[test]
fn what_has_no_rule_is_a_problem() {
    let check = |text: &str, expected: &str| {
        assert_eq!(said_within(LONG, "docs/made-up.md", text), expected);
    };
    for language in ["shell", "bash", "console", "sh ignore"] {
        check(
            &format!("\n```{language}\nfalse\n```\n"),
            &format!(
                "page:2: nobody looks at blocks of `{language}`: commands are `sh`, output is `text`\n"
            ),
        );
    }
    check(
        "```\nfalse\n```\n",
        "page:1: the block has no language: commands are `sh`, output is `text`\n",
    );
    for comment in ["skip", "test", "booted: stop", "wire: hello"] {
        check(
            &format!("<!-- {comment} -->\n```sh\nfalse\n```\n"),
            &format!("page:2: `{comment}` means nothing before this block\n"),
        );
    }
    check(
        "<!-- file: ../batchd.toml -->\n```toml\n```\n",
        "page:2: `../batchd.toml` is no plain name of a file\n",
    );
    check(
        "<!-- skip -->\n\n```sh\nfalse\n```\n",
        "page:1: no block begins in the line behind the comment `skip`\n",
    );
    assert_eq!(
        said_within(
            LONG,
            "docs/systemd.md",
            "<!-- booted: stop -->\n```sh\n```\n```text\n```\n"
        ),
        "page:4: nobody compares what the block before this prints\n"
    );
}
