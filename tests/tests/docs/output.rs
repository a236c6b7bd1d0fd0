//! Whether output is what a page shows.

/// Stands for any characters of a line, and alone in a line for any lines.
const ANY: &str = "…";

/// Whether output is as expected. Blanks at the ends of lines, and empty lines at the end, do not count.
pub(crate) fn is_as_shown(shown: &[String], output: &str) -> bool {
    let shown: Vec<_> = shown.iter().map(|line| line.trim_end()).collect();
    let output: Vec<_> = output.trim_end().lines().map(str::trim_end).collect();
    are_lines(&shown, &output)
}

fn are_lines(shown: &[&str], output: &[&str]) -> bool {
    match (shown, output) {
        ([], []) => true,
        ([ANY, rest @ ..], _) => (0..=output.len()).any(|skipped| {
            let behind = output.get(skipped..).unwrap_or_default();
            are_lines(rest, behind)
        }),
        ([pattern, rest @ ..], [line, behind @ ..]) => {
            is_line(pattern, line) && are_lines(rest, behind)
        }
        _ => false,
    }
}

fn is_line(pattern: &str, line: &str) -> bool {
    let Some((begin, rest)) = pattern.split_once(ANY) else {
        return pattern == line;
    };
    let Some(mut line) = line.strip_prefix(begin) else {
        return false;
    };
    let (middle, end) = rest.rsplit_once(ANY).unwrap_or(("", rest));
    // Each as early as possible, which leaves the most for those behind it.
    for part in middle.split(ANY) {
        let Some((_, behind)) = line.split_once(part) else {
            return false;
        };
        line = behind;
    }
    line.ends_with(end)
}

#[test]
fn an_ellipsis_is_anything() {
    let is = |shown: &str, output: &str| {
        let shown: Vec<_> = shown.lines().map(str::to_owned).collect();
        is_as_shown(&shown, output)
    };
    for (shown, output) in [
        ("", ""),
        ("a\nb", "a  \nb\n\n"),
        ("batch … of … items", "batch 017f of 20 items"),
        ("…b…b", "abab"),
        ("id=…", "id="),
        ("a\n…\nd", "a\nb\nc\nd"),
        ("a\n…\nd", "a\nd"),
        ("…\nb\n…\nb", "b\na\nb\nb"),
    ] {
        assert!(is(shown, output), "{shown:?} {output:?}");
    }
    for (shown, output) in [
        ("", "a"),
        ("a", ""),
        ("a\nb", "a"),
        ("a", " a"),
        ("a…", "ba"),
        ("…a", "ab"),
        ("a…a", "a"),
        ("a…b…c…d", "abd"),
        ("a\n…", "b"),
        ("a\n…\nc", "a\nc\nb"),
    ] {
        assert!(!is(shown, output), "{shown:?} {output:?}");
    }
}
