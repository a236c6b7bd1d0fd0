//! What bounds the spool and its queues: how it is read, inherited and written.

use batchd_core::policy::{Overflow, Quota};
use batchd_core::spool::space::MinFree;
use insta::assert_snapshot;

use super::{config, errors};

#[test]
fn min_free_is_a_size_or_a_percentage_or_nothing() {
    let min_free = |text: &str| config(&format!("[spool]\n{text}\n")).spool.min_free;
    assert_eq!(min_free(""), MinFree::Default);
    assert_eq!(min_free("min_free = \"auto\""), MinFree::Default);
    assert_eq!(min_free("min_free = \"off\""), MinFree::Off);
    assert_eq!(min_free("min_free = \"2GiB\""), MinFree::Bytes(2 << 30));
    assert_eq!(min_free("min_free = \"7%\""), MinFree::Percent(7));
    assert_eq!(min_free("min_free = \" 90 %\""), MinFree::Percent(90));
}

#[test]
fn what_is_no_min_free_is_said_to_be_none() {
    let texts = ["0%", "91%", "1.5%", "-5%", "%", "lots", "0B", "5"];
    let error = |text| errors(&format!("spool.min_free = \"{text}\"")) + "\n";
    let errors: String = texts.into_iter().map(error).collect();
    assert_snapshot!(errors, @r#"
    b.toml:1:18: spool.min_free: 0% is out of range: 1% to 90%; or "off"
    b.toml:1:18: spool.min_free: 91% is out of range: 1% to 90%; or "off"
    b.toml:1:18: spool.min_free: "1.5%" is not a share: write whole percents, such as "10%"; or "off"
    b.toml:1:18: spool.min_free: "-5%" is not a share: write whole percents, such as "10%"; or "off"
    b.toml:1:18: spool.min_free: "%" is not a share: write whole percents, such as "10%"; or "off"
    b.toml:1:18: spool.min_free: "lots" is not a size: write a number and a unit, such as "4MiB"; or "off"
    b.toml:1:18: spool.min_free: 0B is out of range: 1B to 1024TiB; or "off"
    b.toml:1:18: spool.min_free: "5" has no unit: add one, such as "5B" or "5MiB"; or "off"
    "#);
}

#[test]
fn the_ballast_and_the_bound_of_the_spool() {
    let spool = |text: &str| config(&format!("[spool]\n{text}\n")).spool;
    assert_eq!(spool("").max_bytes, None);
    assert_eq!(spool("max_bytes = \"auto\"").max_bytes, None);
    assert_eq!(spool("max_bytes = \"1GiB\"").max_bytes, Some(1 << 30));
    assert_eq!(spool("").ballast_bytes, 16 << 20);
    assert_eq!(spool("ballast = \"off\"").ballast_bytes, 0);
    assert_eq!(spool("ballast = \"1MiB\"").ballast_bytes, 1 << 20);
}

#[test]
fn quotas_are_inherited_and_switched_off() {
    let config = config(
        r#"
        [queues.default]
        quota_bytes = "1GiB"
        quota_items = 5000000000
        overflow = "block"
        [queues.a]
        quota_bytes = "off"
        overflow = "drop-oldest"
        [queues.b]
        quota_items = 7
        overflow = "reject"
        [queues.c]
        "#,
    );
    let of = |name: &str| {
        let name = batchd_frame::QueueName::new(name).expect("a name");
        let policy = &config.queues[&name].policy;
        (policy.quota, policy.overflow)
    };
    let quota = |bytes, items| Quota { bytes, items };
    let (gib, many) = (Some(1 << 30), Some(5_000_000_000));
    assert_eq!(of("default"), (quota(gib, many), Overflow::Block));
    assert_eq!(of("a"), (quota(None, many), Overflow::DropOldest));
    assert_eq!(of("b"), (quota(gib, Some(7)), Overflow::Reject));
    assert_eq!(of("c"), (quota(gib, many), Overflow::Block));
}

#[test]
fn what_is_no_quota_is_said_to_be_none() {
    let text = r#"
        [spool]
        ballast = "0B"
        [queues.default]
        quota_bytes = 10
        quota_items = 0
        overflow = "drop"
        [queues.a]
        quota_bytes = "10"
        quota_items = "many"
        overflow = "drop-newest"
    "#;
    assert_snapshot!(errors(text), @r#"
    b.toml:3:19: spool.ballast: 0B is out of range: 1B to 1GiB; or "off"
    b.toml:5:23: queues.default.quota_bytes: 10 has no unit: write a size such as "10B"; or "off"
    b.toml:6:23: queues.default.quota_items: 0 is out of range: 1 to 1125899906842624; or "off"
    b.toml:7:20: queues.default.overflow: unknown value "drop": expected one of `reject`, `block`, `drop-oldest`
    b.toml:9:23: queues.a.quota_bytes: "10" has no unit: add one, such as "10B" or "10MiB"; or "off"
    b.toml:10:23: queues.a.quota_items: found a string, expected an integer; or "off"
    b.toml:11:20: queues.a.overflow: unknown value "drop-newest": did you mean `drop-oldest`?
    "#);
}
