//! What the documentation says of the configuration is so.

use std::collections::BTreeSet;

use super::{config, errors, parse};

const README: &str = include_str!("../../../../README.md");
const REFERENCE: &str = include_str!("../../../../docs/configuration.md");

/// The TOML in a text.
fn blocks(text: &str) -> impl Iterator<Item = &str> {
    let behind = text.split("```toml\n").skip(1);
    behind.map(|text| text.split("```").next().unwrap_or_default())
}

#[test]
fn every_example_can_be_used() {
    for (name, text) in [("README.md", README), ("configuration.md", REFERENCE)] {
        let mut count = 0;
        for block in blocks(text) {
            count += 1;
            if parse(block).is_err() {
                panic!("{name}: {}\n{block}", errors(block));
            }
        }
        assert!(count > 0, "{name}");
    }
}

/// A row of the reference: in which table a key is, and its default, where that is one value.
struct Row<'t> {
    table: &'t str,
    key: &'t str,
    default: Option<&'t str>,
}

/// What stands in the first pair of backticks, where that is how the text begins.
fn code(text: &str) -> Option<&str> {
    text.trim().strip_prefix('`')?.split('`').next()
}

/// The rows of all tables of keys.
fn rows() -> Vec<Row<'static>> {
    let (mut rows, mut table, mut is_within) = (Vec::new(), "", false);
    for line in REFERENCE.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            table = code(heading).unwrap_or_default();
        }
        is_within = line.starts_with("| key |") || (is_within && line.starts_with('|'));
        let cells: Vec<&str> = line.split('|').collect();
        if let [_, key, _, default, ..] = *cells
            && is_within
            && let Some(key) = code(key)
        {
            let default = code(default);
            rows.push(Row {
                table,
                key,
                default,
            });
        }
    }
    rows
}

/// A file in which a key is set, with what must stand beside it.
fn setting(row: &Row<'_>, value: &str) -> String {
    let beside = match (row.table, row.key) {
        ("[[listen]]", "mode") => "path = '/run/batchd/batchd.sock'\n",
        ("[queues.NAME]", "interval_mode" | "interval_jitter") => "interval = '1h'\n",
        ("[queues.NAME.sink]", _) => "type = 'file'\npath = '/var/lib/batchd/delivered'\n",
        _ => "",
    };
    let table = row.table.replace("NAME", "default");
    format!("{table}\n{beside}{} = {value}\n", row.key)
}

#[test]
fn the_defaults_are_those_of_the_reference() {
    let mut compared = 0;
    for row in rows() {
        let Some(default) = row.default else { continue };
        let said = config(&setting(&row, default)).render();
        let without = match row.key {
            "interval_mode" | "interval_jitter" => config("[queues.default]\ninterval = '1h'"),
            // What it is when it is not set depends on the encoding, and is not shown.
            "name" => continue,
            _ => config(""),
        };
        assert_eq!(said, without.render(), "{} {}", row.table, row.key);
        compared += 1;
    }
    assert!(compared > 25, "{compared}");
}

#[test]
fn the_keys_are_those_of_the_reference() {
    let all = "[queues.default]\ninterval = '1h'\n\
               [queues.default.sink]\ntype = 'file'\npath = '/a'\nname = '{seq}-{id}'\n";
    let rendered = config(all).render();
    let mut shown = BTreeSet::from([("[queues.NAME]".to_owned(), "sink".to_owned())]);
    let mut table = String::new();
    for line in rendered.lines() {
        match line.split_once(" = ") {
            Some((key, _)) => drop(shown.insert((table.clone(), key.to_owned()))),
            None if line.is_empty() => {}
            None => table = line.replace("queues.default", "queues.NAME"),
        }
    }
    let told: BTreeSet<_> = rows()
        .iter()
        .map(|row| (row.table.to_owned(), row.key.to_owned()))
        .collect();
    assert_eq!(told, shown);
}
