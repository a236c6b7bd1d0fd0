//! Triggers: what is read, what is inherited, and what is wrong with them.

use std::time::Duration;

use batchd_core::policy::{Interval, IntervalMode, OnShutdown};
use insta::assert_snapshot;

use super::{changes, config, errors};

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
    let text = r#"
        [queues.default]
        max_since_flush = "1min"
        interval = "10s"
        interval_mode = "fixed-delay"
        interval_jitter = "5%"
        idle = "2s"
        on_shutdown = "flush"
        [queues.inherits]
        [queues.off]
        max_since_flush = "off"
        interval = "off"
        idle = "off"
        on_shutdown = "keep"
        # Of another length, an interval is otherwise as the inherited one.
        [queues.longer]
        interval = "20s"
        [queues.other]
        interval_mode = "fixed-rate"
        interval_jitter = "0%"
        "#;
    assert_snapshot!(changes(text), @r#"
    [queues.default]
    max_since_flush = "1m"
    interval = "10s"
    interval_mode = "fixed-delay"
    interval_jitter = "5%"
    idle = "2s"
    on_shutdown = "flush"
    [queues.longer]
    interval = "20s"
    [queues.off]
    max_since_flush = "off"
    interval = "off"
    idle = "off"
    on_shutdown = "keep"
    [queues.other]
    interval_mode = "fixed-rate"
    interval_jitter = "0%"
    "#);
}

#[test]
fn an_interval_where_none_is_inherited_has_a_fixed_rate_and_no_jitter() {
    assert_snapshot!(changes("[queues.q]\ninterval = \"1s\""), @r#"
    [queues.q]
    interval = "1s"
    interval_mode = "fixed-rate"
    interval_jitter = "0%"
    "#);
}

#[test]
fn a_stop_may_take_longer() {
    let config = config("engine.shutdown_timeout = '1min 30s'");
    assert_eq!(config.shutdown_timeout, Duration::from_secs(90));
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
