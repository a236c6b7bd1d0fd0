//! Triggers: what is read, what is inherited, and what is wrong with them.

use std::time::Duration;

use batchd_core::policy::{Interval, IntervalMode, OnShutdown};
use insta::assert_snapshot;

use super::{config, errors, queues};

/// What is in force for a queue, without its sink.
#[track_caller]
fn queue(text: &str, name: &str) -> String {
    let rendered = queues(&format!("[queues.default]\nsink = \"off\"\n{text}"));
    let header = format!("[queues.{name}]\n");
    let (_, behind) = rendered.split_once(&header).expect("the queue");
    let lines = behind.lines().take_while(|line| !line.is_empty());
    let triggers = lines.filter(|line| {
        ["max_since_flush", "interval", "idle", "on_shutdown"]
            .iter()
            .any(|key| line.starts_with(key))
    });
    triggers.map(|line| format!("{line}\n")).collect()
}

#[test]
fn all_of_them() {
    let text = r#"
        max_since_flush = "1min"
        interval = "10s"
        interval_mode = "fixed-delay"
        interval_jitter = "20%"
        idle = "250ms"
        on_shutdown = "flush"
        "#;
    assert_snapshot!(queue(text, "default"), @r#"
    max_since_flush = "1m"
    interval = "10s"
    interval_mode = "fixed-delay"
    interval_jitter = "20%"
    idle = "250ms"
    on_shutdown = "flush"
    "#);
    let config = config(&format!("[queues.default]\n{text}"));
    let policy = &config.template.policy;
    assert_eq!(policy.max_since_flush, Some(Duration::from_secs(60)));
    let interval = Interval {
        every: Duration::from_secs(10),
        mode: IntervalMode::FixedDelay,
        jitter_percent: 20,
    };
    assert_eq!(policy.interval, Some(interval));
    assert_eq!(policy.idle, Some(Duration::from_millis(250)));
    assert_eq!(policy.on_shutdown, OnShutdown::Flush);
}

#[test]
fn all_of_them_can_be_inherited_and_switched_off() {
    let template = r#"
        max_since_flush = "1min"
        interval = "10s"
        interval_mode = "fixed-delay"
        interval_jitter = "5%"
        idle = "2s"
        on_shutdown = "flush"
        "#;
    let with = |queue: &str| format!("{template}\n[queues.q]\n{queue}");
    assert_snapshot!(queue(&with(""), "q"), @r#"
    max_since_flush = "1m"
    interval = "10s"
    interval_mode = "fixed-delay"
    interval_jitter = "5%"
    idle = "2s"
    on_shutdown = "flush"
    "#);
    let off =
        "max_since_flush = \"off\"\ninterval = \"off\"\nidle = \"off\"\non_shutdown = \"keep\"";
    assert_snapshot!(queue(&with(off), "q"), @r#"
    max_since_flush = "off"
    interval = "off"
    idle = "off"
    on_shutdown = "keep"
    "#);
    // Of another length, an interval is otherwise as the inherited one.
    assert_snapshot!(queue(&with("interval = \"1s\""), "q"), @r#"
    max_since_flush = "1m"
    interval = "1s"
    interval_mode = "fixed-delay"
    interval_jitter = "5%"
    idle = "2s"
    on_shutdown = "flush"
    "#);
    assert_snapshot!(queue(&with("interval_mode = \"fixed-rate\"\ninterval_jitter = \"0%\""), "q"), @r#"
    max_since_flush = "1m"
    interval = "10s"
    interval_mode = "fixed-rate"
    interval_jitter = "0%"
    idle = "2s"
    on_shutdown = "flush"
    "#);
    // One that is set where none is inherited has no jitter, and a fixed rate.
    assert_snapshot!(queue("[queues.q]\ninterval = \"1s\"", "q"), @r#"
    max_since_flush = "off"
    interval = "1s"
    interval_mode = "fixed-rate"
    interval_jitter = "0%"
    idle = "off"
    on_shutdown = "keep"
    "#);
}

#[test]
fn what_is_in_force_reads_back() {
    let text = r#"
        [queues.default]
        interval = "10s"
        interval_jitter = "7%"
        [queues.a]
        interval = "off"
        on_shutdown = "flush"
        [queues.b]
        interval_mode = "fixed-delay"
        [engine]
        shutdown_timeout = "1min 30s"
        "#;
    let config = config(text);
    assert_eq!(config.shutdown_timeout, Duration::from_secs(90));
    assert_eq!(super::config(&config.render()), config);
}

#[test]
fn mistakes() {
    assert_snapshot!(errors(r#"
        [engine]
        shutdown_timeout = "off"
        [queues.default]
        max_since_flush = 5
        interval = "0s"
        interval_mode = "fixed-rate"
        idle = "-1s"
        on_shutdown = "flsuh"
        [queues.a]
        interval = "1s"
        interval_mode = "rate"
        interval_jitter = "21%"
        [queues.b]
        interval = "1s"
        interval_jitter = 10
        [queues.c]
        interval = "1s"
        interval_jitter = "0.1"
        interval_mod = "fixed-rate"
        [queues.d]
        interval = { every = "1s" }
        interval_mode = "fixed-rate"
        interval_jitter = "99999999999999%"
        "#), @r#"
    b.toml:3:28: engine.shutdown_timeout: "off" is not a time: write numbers and units, such as "5s" or "1day 2h"
    b.toml:5:27: queues.default.max_since_flush: 5 has no unit: write a time such as "5s"; or "off"
    b.toml:6:20: queues.default.interval: 0s is out of range: 1ms to 100years; or "off"
    b.toml:8:16: queues.default.idle: "-1s" is negative: write numbers and units, such as "5s" or "1day 2h"; or "off"
    b.toml:9:23: queues.default.on_shutdown: unknown value "flsuh": did you mean `flush`?
    b.toml:12:25: queues.a.interval_mode: unknown value "rate": expected one of `fixed-rate`, `fixed-delay`
    b.toml:13:27: queues.a.interval_jitter: 21% is out of range: 0% to 20%
    b.toml:16:27: queues.b.interval_jitter: 10 has no unit: write a share such as "10%"
    b.toml:19:27: queues.c.interval_jitter: "0.1" is not a share: write whole percents, such as "10%"
    b.toml:20:9: unknown key `interval_mod` in [queues.c]: did you mean `interval_mode`?
    b.toml:22:20: queues.d.interval: found a table, expected a time such as "5s"; or "off"
    b.toml:24:27: queues.d.interval_jitter: 99999999999999% is out of range: 0% to 20%
    "#);
}

#[test]
fn a_mode_or_jitter_without_an_interval() {
    assert_snapshot!(errors(r#"
        [queues.default]
        interval_mode = "fixed-delay"
        [queues.a]
        interval_jitter = "10%"
        [queues."b.c"]
        interval = "off"
        interval_mode = "fixed-rate"
        interval_jitter = "10%"
        [queues.d]
        interval = "1s"
        interval_mode = "fixed-rate"
        "#), @r#"
    b.toml:3:25: queues.default.interval_mode: there is no `interval` for it here: set one, or leave this out
    b.toml:5:27: queues.a.interval_jitter: there is no `interval` for it here: set one, or leave this out
    b.toml:8:25: queues."b.c".interval_mode: there is no `interval` for it here: set one, or leave this out
    b.toml:9:27: queues."b.c".interval_jitter: there is no `interval` for it here: set one, or leave this out
    "#);
    // What the template has is off for this queue alone.
    assert_snapshot!(errors(r#"
        [queues.default]
        interval = "1s"
        [queues.a]
        interval_jitter = "10%"
        [queues.b]
        interval = "off"
        interval_jitter = "10%"
        "#), @"b.toml:8:27: queues.b.interval_jitter: there is no `interval` for it here: set one, or leave this out");
}
