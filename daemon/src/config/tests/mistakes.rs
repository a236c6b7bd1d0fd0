//! Everything that can be wrong with a file.

use insta::assert_snapshot;

use super::{SAMPLE, errors, parse_as, root};

#[test]
fn syntax_errors() {
    let text = "[spool\npath = \n[queues.logs]\nmax_items = 1\nmax_items = 2\n";
    assert_snapshot!(errors(text), @"
    b.toml:1:7: unclosed table, expected `]`
    b.toml:5:1: duplicate key
    ");
    let not_utf8 = parse_as(b"[spool]\n# \xc3\xa4\xff", &root());
    assert_snapshot!(not_utf8.unwrap_err(), @"b.toml:2:4: the file is not UTF-8: save it as UTF-8");
}

#[test]
fn unknown_keys_name_the_nearest() {
    let text = r#"
        [queues.logs]
        max_itmes = 1
        maxage = "5s"
        compression = "gzip"
        [queues.logs.snik]
        type = "file"
        [queues.eu.west]
        [queues.eu.snik]
        [queues.logs.sink]
        type = "file"
        path = "/out"
        encodign = "lines"
        [spol]
        path = "/"
        [spool]
        pth = "/"
        [[listen]]
        path = "/a"
        user = "me"
        [[listne]]
        [engine]
        threads = 1
        "#;
    assert_snapshot!(errors(text), @r#"
    b.toml:3:9: unknown key `max_itmes` in [queues.logs]: did you mean `max_items`?
    b.toml:4:9: unknown key `maxage` in [queues.logs]: did you mean `max_age`?
    b.toml:5:9: unknown key `compression` in [queues.logs]: expected one of `max_items`, `max_bytes`, `max_age`, `max_since_flush`, `interval`, `interval_mode`, `interval_jitter`, `idle`, `on_shutdown`, `lifespan`, `on_expire`, `ack`, `max_open_batches`, `producer_window`, `quota_bytes`, `quota_items`, `overflow`, `sink`
    b.toml:6:22: unknown table `snik` in [queues.logs]: did you mean `sink`?
    b.toml:8:20: unknown table `west` in [queues.eu]: a name with a dot is quoted, as in [queues."eu.west"]
    b.toml:9:20: unknown table `snik` in [queues.eu]: did you mean `sink`?
    b.toml:13:9: unknown key `encodign` in [queues.logs.sink]: did you mean `encoding`?
    b.toml:14:10: unknown table `spol` at the top of the file: did you mean `spool`?
    b.toml:17:9: unknown key `pth` in [spool]: did you mean `path`?
    b.toml:20:9: unknown key `user` in [[listen]]: expected one of `path`, `mode`
    b.toml:21:11: unknown table `listne` at the top of the file: did you mean `listen`?
    b.toml:23:9: unknown key `threads` in [engine]: expected one of `ingest_threads`, `shutdown_timeout`, `cleanup_interval`
    "#);
}

#[test]
fn keys_in_the_wrong_place() {
    let text = r#"
        unknown_queues = "create"
        [queues.logs]
        unknown_queues = "create"
        "#;
    assert_snapshot!(errors(text), @"
    b.toml:2:9: unknown key `unknown_queues` at the top of the file: expected one of `spool`, `listen`, `limits`, `engine`, `queues`
    b.toml:4:9: queues.logs.unknown_queues: `unknown_queues` may only be set in [queues.default]
    ");
}

#[test]
fn wrong_types() {
    let text = r#"
        engine = 1
        [spool]
        path = 1
        max_bytes = true
        [listen]
        path = "/a"
        [limits]
        connections = "many"
        [queues]
        plain = "lines"
        [queues.logs]
        max_items = "1000"
        max_bytes = 1.5
        max_age = ["5s"]
        ack = 1
        sink = "file"
        [queues.more]
        sink = { type = ["file"], path = "/out" }
        [queues.most]
        sink = { type = "file", path = 1979-05-27, encoding = 1, append = "yes", name = {} }
        "#;
    assert_snapshot!(errors(text), @r#"
    b.toml:2:18: engine: found an integer, expected a table
    b.toml:4:16: spool.path: found an integer, expected a path
    b.toml:5:21: spool.max_bytes: found a boolean, expected a size such as "4MiB"
    b.toml:6:10: listen: found a table, expected an array of tables, each under [[listen]]
    b.toml:9:23: limits.connections: found a string, expected an integer
    b.toml:11:17: queues.plain: found a string, expected a table
    b.toml:13:21: queues.logs.max_items: found a string, expected an integer; or "off"
    b.toml:14:21: queues.logs.max_bytes: found a floating-point number, expected a size such as "4MiB"; or "off"
    b.toml:15:19: queues.logs.max_age: found an array, expected a time such as "5s"; or "off"
    b.toml:16:15: queues.logs.ack: found an integer, expected a string
    b.toml:17:16: queues.logs.sink: found a string, expected a table; or "off"
    b.toml:19:25: queues.more.sink.type: found an array, expected a string
    b.toml:21:40: queues.most.sink.path: found a date, expected a path
    b.toml:21:63: queues.most.sink.encoding: found an integer, expected a string
    b.toml:21:75: queues.most.sink.append: found a string, expected true or false
    b.toml:21:89: queues.most.sink.name: found a table, expected a string
    "#);
}

#[test]
fn numbers_without_units() {
    let text = r#"
        spool.max_bytes = 1000
        limits.item_bytes_max = "1000"
        [queues.logs]
        max_bytes = 0x10
        max_age = 5
        lifespan = "24"
        "#;
    assert_snapshot!(errors(text), @r#"
    b.toml:2:27: spool.max_bytes: 1000 has no unit: write a size such as "1000B"
    b.toml:3:33: limits.item_bytes_max: "1000" has no unit: add one, such as "1000B" or "1000MiB"
    b.toml:5:21: queues.logs.max_bytes: 0x10 has no unit: write a size such as "5B"; or "off"
    b.toml:6:19: queues.logs.max_age: 5 has no unit: write a time such as "5s"; or "off"
    b.toml:7:20: queues.logs.lifespan: "24" has no unit: add one, such as "24s" or "24ms"; or "off"
    "#);
}

#[test]
fn sizes_and_times_that_are_none() {
    let text = r#"
        [spool]
        max_bytes = "lots"
        [queues.a]
        max_bytes = "4M"
        max_age = "5 parsecs"
        lifespan = "soon"
        [queues.b]
        max_bytes = "-1MiB"
        max_age = "-5s"
        lifespan = "1000years"
        [queues.c]
        max_bytes = "99999999999TiB"
        max_age = ""
        "#;
    assert_snapshot!(errors(text), @r#"
    b.toml:3:21: spool.max_bytes: "lots" is not a size: write a number and a unit, such as "4MiB"
    b.toml:5:21: queues.a.max_bytes: "4M" has the unit "M", which is not known: B, kB, MB, GB, TB, KiB, MiB, GiB or TiB; or "off"
    b.toml:6:19: queues.a.max_age: "5 parsecs" has the unit "parsecs", which is not known: ms, s, min, h, days or weeks; or "off"
    b.toml:7:20: queues.a.lifespan: "soon" is not a time: write numbers and units, such as "5s" or "1day 2h"; or "off"
    b.toml:9:21: queues.b.max_bytes: "-1MiB" is negative: write a number and a unit, such as "4MiB"; or "off"
    b.toml:10:19: queues.b.max_age: "-5s" is negative: write numbers and units, such as "5s" or "1day 2h"; or "off"
    b.toml:11:20: queues.b.lifespan: "1000years" is too long: at most 100 years; or "off"
    b.toml:13:21: queues.c.max_bytes: "99999999999TiB" is too large: less than "16777216TiB"; or "off"
    b.toml:14:19: queues.c.max_age: "" is not a time: write numbers and units, such as "5s" or "1day 2h"; or "off"
    "#);
}

#[test]
fn values_out_of_range() {
    let text = r#"
        [spool]
        max_bytes = "0B"
        [limits]
        item_bytes_max = "2MiB"
        submission_bytes_max = "1MiB"
        connections = 0
        [engine]
        ingest_threads = 65
        cleanup_interval = "9ms"
        [queues.a]
        max_items = 0
        max_bytes = "0B"
        max_age = "0s"
        lifespan = "1us"
        [queues.b]
        max_items = 4294967296
        max_bytes = "1025MiB"
        [queues.c]
        max_items = -1
        [queues.d]
        max_items = 0xffff_ffff_ffff_ffff_ffff_ffff_ffff_ffff
        "#;
    assert_snapshot!(errors(text), @r#"
    b.toml:3:21: spool.max_bytes: 0B is out of range: 1B to 1024TiB
    b.toml:5:26: limits.item_bytes_max: 2MiB is out of range: 1B to 1MiB (submission_bytes_max)
    b.toml:7:23: limits.connections: 0 is out of range: 1 to 65536
    b.toml:9:26: engine.ingest_threads: 65 is out of range: 1 to 64
    b.toml:10:28: engine.cleanup_interval: 9ms is out of range: 10ms to 100years; or "off"
    b.toml:12:21: queues.a.max_items: 0 is out of range: 1 to 4294967295; or "off"
    b.toml:13:21: queues.a.max_bytes: 0B is out of range: 1B to 1GiB; or "off"
    b.toml:14:19: queues.a.max_age: 0s is out of range: 1ms to 100years; or "off"
    b.toml:15:20: queues.a.lifespan: 1us is out of range: 1ms to 100years; or "off"
    b.toml:17:21: queues.b.max_items: 4294967296 is out of range: 1 to 4294967295; or "off"
    b.toml:18:21: queues.b.max_bytes: 1025MiB is out of range: 1B to 1GiB; or "off"
    b.toml:20:21: queues.c.max_items: -1 is out of range: 1 to 4294967295; or "off"
    b.toml:22:21: queues.d.max_items: 0xffffffffffffffffffffffffffffffff is out of range: 1 to 4294967295; or "off"
    "#);
    assert_snapshot!(errors("limits.submission_bytes_max = '17MiB'"), @"b.toml:1:31: limits.submission_bytes_max: 17MiB is out of range: 1B to 16MiB");
}

#[test]
fn words_that_are_not_known() {
    let text = r#"
        [queues.default]
        unknown_queues = "accept"
        on_expire = "dropped"
        ack = "sync"
        [queues.logs]
        ack = "always"
        sink = { type = "http", path = "/out" }
        [queues.more]
        sink = { type = "file", path = "/out", encoding = "line", unencodable = "dead" }
        "#;
    assert_snapshot!(errors(text), @r#"
    b.toml:3:26: queues.default.unknown_queues: unknown value "accept": expected one of `reject`, `create`
    b.toml:4:21: queues.default.on_expire: unknown value "dropped": expected one of `dead`, `drop`
    b.toml:5:15: queues.default.ack: unknown value "sync": did you mean `synced`?
    b.toml:7:15: queues.logs.ack: unknown value "always": expected one of `none`, `written`, `synced`, `delivered`
    b.toml:8:25: queues.logs.sink.type: unknown value "http": expected `file`
    b.toml:10:59: queues.more.sink.encoding: unknown value "line": did you mean `lines`?
    b.toml:10:81: queues.more.sink.unencodable: unknown value "dead": expected one of `escape`, `base64`
    "#);
}

#[test]
fn sockets() {
    let text = format!(
        r#"
        [[listen]]
        mode = "0660"
        [[listen]]
        path = "batchd.sock"
        mode = 0o660
        [[listen]]
        path = "/run/{}"
        mode = "1777"
        [[listen]]
        path = "/run/../a"
        mode = "+660"
        [[listen]]
        path = "/run/b.sock"
        mode = "rw-rw----"
        [[listen]]
        path = "/run//b.sock"
        mode = "0680"
        "#,
        "x".repeat(99)
    );
    assert_snapshot!(errors(&text), @r#"
    b.toml:2:9: missing key `path` in [[listen]]: set it to the path of a socket
    b.toml:5:16: listen[1].path: "batchd.sock" is not a path from the root: write it from / on, without `..`
    b.toml:6:16: listen[1].mode: found an integer, expected an octal mode such as "0660"
    b.toml:8:16: listen[2].path: path of 104 bytes is too long for a socket: at most 103; choose a shorter one
    b.toml:9:16: listen[2].mode: "1777" is no mode: an octal number from "0000" to "0777"
    b.toml:11:16: listen[3].path: "/run/../a" is not a path from the root: write it from / on, without `..`
    b.toml:12:16: listen[3].mode: "+660" is no mode: an octal number from "0000" to "0777"
    b.toml:15:16: listen[4].mode: "rw-rw----" is no mode: an octal number from "0000" to "0777"
    b.toml:17:16: listen[5].path: /run//b.sock is listened on twice: each socket needs a path of its own
    b.toml:18:16: listen[5].mode: "0680" is no mode: an octal number from "0000" to "0777"
    "#);
    assert_snapshot!(errors("listen = []"), @"b.toml:1:10: listen: no socket: give at least one [[listen]], or leave `listen` out for the usual one");
    assert_snapshot!(errors("[listen]\npath = '/a'"), @"b.toml:1:2: listen: found a table, expected an array of tables, each under [[listen]]");
    assert_snapshot!(errors("listen = ['/a']"), @"b.toml:1:11: listen[0]: found a string, expected an array of tables, each under [[listen]]");
}

#[test]
fn queue_names() {
    let text = "[queues.Logs]\nmax_items = 0\n[queues.\"\"]\n[queues.'a/b']\n[queues.-a]";
    assert_snapshot!(errors(text), @r#"
    b.toml:1:9: 'Logs' is not a queue name: 1 to 64 of a-z, 0-9, '.', '_', '-', the first a letter or digit
    b.toml:2:13: queues.Logs.max_items: 0 is out of range: 1 to 4294967295; or "off"
    b.toml:3:9: '' is not a queue name: 1 to 64 of a-z, 0-9, '.', '_', '-', the first a letter or digit
    b.toml:4:9: 'a/b' is not a queue name: 1 to 64 of a-z, 0-9, '.', '_', '-', the first a letter or digit
    b.toml:5:9: '-a' is not a queue name: 1 to 64 of a-z, 0-9, '.', '_', '-', the first a letter or digit
    "#);
}

#[test]
fn sinks() {
    let text = r#"
        [queues.a.sink]
        [queues.b.sink]
        type = "file"
        [queues.c.sink]
        type = "file"
        path = "out"
        [queues.d.sink]
        type = "file"
        path = "/out"
        name = "{queue}"
        [queues.e.sink]
        type = "file"
        path = "/out/"
        append = true
        "#;
    assert_snapshot!(errors(text), @r#"
    b.toml:2:19: missing key `type` in [queues.a.sink]: set it to "file"
    b.toml:3:19: missing key `path` in [queues.b.sink]: set it to where the batches go
    b.toml:7:16: queues.c.sink.path: "out" is not a path from the root: write it from / on, without `..`
    b.toml:11:16: queues.d.sink: `name` '{queue}': needs {seq}, so that names tell the order
    b.toml:14:16: queues.e.sink: `path` '/out/' names no file to append to
    "#);
}

#[test]
fn nothing_else_lies_in_the_spool() {
    let text = r#"
        [spool]
        path = "/data/spool"
        [[listen]]
        path = "/data/spool/batchd.sock"
        [queues.default]
        sink = { type = "file", path = "/data/spool//out" }
        [queues.logs]
        sink = { type = "file", path = "/data/spool" }
        [queues.inherits]
        [queues.beside]
        sink = { type = "file", path = "/data/spool2" }
        "#;
    assert_snapshot!(errors(text), @"
    b.toml:5:16: listen[0].path: /data/spool/batchd.sock is inside the spool /data/spool: nothing else may be kept there
    b.toml:7:40: queues.default.sink: /data/spool//out is inside the spool /data/spool: nothing else may be kept there
    b.toml:9:40: queues.logs.sink: /data/spool is inside the spool /data/spool: nothing else may be kept there
    ");
    assert_snapshot!(errors("[spool]\npath = '/var/lib/batchd'"), @"b.toml:2:8: queues.default.sink: /var/lib/batchd/delivered is inside the spool /var/lib/batchd: nothing else may be kept there");
}

#[test]
fn a_file_that_is_appended_to_belongs_to_one_queue() {
    let text = r#"
        [queues.a]
        sink = { type = "file", path = "/log/all", append = true }
        [queues.b]
        sink = { type = "file", path = "/log/./all", append = true }
        [queues.c]
        sink = { type = "file", path = "/log/other", append = true }
        "#;
    assert_snapshot!(errors(text), @"b.toml:5:40: queues.b.sink: appends to /log/./all, as does queues.a: each queue needs a file of its own");
    let text = r#"
        [queues.default]
        unknown_queues = "create"
        sink = { type = "file", path = "/log/all", append = true }
        [queues.a]
        [queues.b]
        sink = "off"
        "#;
    assert_snapshot!(errors(text), @"
    b.toml:4:40: queues.default.sink: appends to /log/all, as does every queue that is created on demand: each queue needs a file of its own
    b.toml:5:17: queues.a.sink: appends to /log/all, as does queues.default: each queue needs a file of its own (the sink is inherited from [queues.default])
    ");
}

#[test]
fn a_broken_sink_is_not_replaced_by_the_inherited_one() {
    let text = r#"
        [queues.default]
        sink = { type = "file", path = "/log/all", append = true }
        [queues.a]
        sink = { type = "fiel" }
        "#;
    assert_snapshot!(errors(text), @r#"b.toml:5:25: queues.a.sink.type: unknown value "fiel": did you mean `file`?"#);
}

#[test]
fn any_bytes_get_an_answer() {
    // Changes the sample a byte at a time, each to the bytes that mean most to TOML.
    for index in 0..SAMPLE.len() {
        for byte in b"[]{}\"'=.#\n\\0-\0\xff" {
            let mut bytes = SAMPLE.as_bytes().to_vec();
            bytes[index] = *byte;
            match parse_as(&bytes, &root()) {
                Ok(config) => assert_eq!(super::config(&config.render()), config),
                Err(errors) => assert!(errors.to_string().starts_with("b.toml:")),
            }
        }
    }
}
