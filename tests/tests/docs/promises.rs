//! What is said to show a promise is there: the file, and each test that is named with it.

use std::fs;
use std::path::{Path, PathBuf};

use batchd_tests::workspace;

/// A place in the tree, as a page links it, with what stands in backquotes behind it.
struct Shown {
    place: PathBuf,
    tests: Vec<String>,
}

/// What the last cells of a page's tables name.
fn shown(page: &Path) -> Vec<Shown> {
    let text = fs::read_to_string(page).expect("a page");
    let folder = page.parent().expect("a folder");
    let rows = text.lines().filter(|line| line.starts_with('|'));
    rows.flat_map(|row| shown_by(row, folder)).collect()
}

/// What the last cell of a row names.
fn shown_by(row: &str, folder: &Path) -> Vec<Shown> {
    let cell = row.trim_end_matches('|').rsplit('|').next();
    let links = cell.unwrap_or_default().split("[`").skip(1);
    links
        .filter_map(|link| {
            let (_, rest) = link.split_once("](")?;
            let (place, behind) = rest.split_once(')')?;
            if place.contains("://") {
                return None;
            }
            let names = behind.split('`').skip(1).step_by(2);
            let names = names
                .filter(|name| name.contains('_') && !name.contains(char::is_uppercase))
                .map(str::to_owned);
            Some(Shown {
                place: folder.join(place),
                tests: names.collect(),
            })
        })
        .collect()
}

fn source(place: &Path) -> String {
    if place.is_file() {
        return fs::read_to_string(place).expect("a source");
    }
    let entries =
        fs::read_dir(place).unwrap_or_else(|error| panic!("{}: {error}", place.display()));
    let paths = entries.flatten().map(|entry| entry.path());
    paths.map(|path| source(&path)).collect()
}

#[test]
fn what_is_said_to_show_a_promise_is_there() {
    let pages = [
        ("README.md", 12),
        ("docs/promises.md", 50),
        ("docs/ancestors.md", 150),
    ];
    for (page, least) in pages {
        let mut tests = 0;
        for Shown {
            place,
            tests: names,
        } in shown(&workspace().join(page))
        {
            let source = source(&place);
            for name in names {
                let found = source.split_once(&format!("fn {name}("));
                let before = found.map_or("", |(before, _)| before);
                let attributes = before.trim_end().lines().rev();
                let mut attributes =
                    attributes.take_while(|line| line.trim_start().starts_with('#'));
                let is_test = attributes.any(|line| line.trim() == "#[test]");
                assert!(is_test, "{page}: {name} is no test in {}", place.display());
                tests += 1;
            }
        }
        assert!(tests >= least, "{page}: {tests}");
    }
}

/// The rows of a page's tables, without their heads, each with its line.
fn rows(page: &str) -> Vec<(usize, &str)> {
    let is_rule = |line: &str| line.starts_with("|---");
    let lines: Vec<_> = page.lines().collect();
    let below = lines.iter().skip(1).chain([&""]);
    let rows = lines.iter().zip(below).enumerate();
    rows.filter(|(_, (line, below))| line.starts_with('|') && !is_rule(line) && !is_rule(below))
        .map(|(index, (line, _))| (index + 1, *line))
        .collect()
}

/// Whether it is a page whose commands are run.
fn is_run(place: &Path) -> bool {
    place.extension().is_some_and(|kind| kind == "md") && source(place).contains("\n```sh\n")
}

#[test]
fn every_row_of_the_ancestors_is_shown_by_a_test() {
    let page = workspace().join("docs/ancestors.md");
    let text = fs::read_to_string(&page).expect("a page");
    let folder = page.parent().expect("a folder");
    let rows = rows(&text);
    assert!(rows.len() > 150, "{}", rows.len());
    let is_shown = |row: &str| {
        let mut shown = shown_by(row, folder).into_iter();
        shown.any(|shown| !shown.tests.is_empty() || is_run(&shown.place))
    };
    let bare = rows.into_iter().filter(|(_, row)| !is_shown(row));
    let bare: String = bare.map(|(line, row)| format!("{line}: {row}\n")).collect();
    assert!(bare.is_empty(), "nothing shows these:\n{bare}");
}
