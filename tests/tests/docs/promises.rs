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
    let cells = text.lines().filter(|line| line.starts_with('|'));
    let cells = cells.filter_map(|line| line.trim_end_matches('|').rsplit('|').next());
    let folder = page.parent().expect("a folder");
    cells
        .flat_map(|cell| cell.split("[`").skip(1))
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
    for (page, least) in [("README.md", 12), ("docs/promises.md", 50)] {
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
