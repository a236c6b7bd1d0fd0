//! What went in against what came out.

use std::collections::BTreeMap;
use std::fmt;

use super::guide::count;

/// Of a line, so many bytes are shown.
const SHOWN: usize = 80;

/// How what came out differs from what went in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// Lines that went in.
    sent: usize,
    /// Lines that came out.
    got: usize,
    /// The first line that differs, from 1.
    first: usize,
    /// The line that went in there.
    sent_there: Option<Vec<u8>>,
    /// The line that came out there.
    got_there: Option<Vec<u8>>,
    /// Lines that went in and did not come out.
    missing: usize,
    /// Lines that came out and did not go in, or more often than they went in.
    surplus: usize,
}

/// Compares lines, their order and their number.
///
/// # Errors
/// [`Difference`], where there is one.
pub(super) fn compare(sent: &[&[u8]], got: &[&[u8]]) -> Result<(), Difference> {
    if sent == got {
        return Ok(());
    }
    let same = sent.iter().zip(got).take_while(|(a, b)| a == b).count();
    let there = |lines: &[&[u8]]| lines.get(same).map(|line| line.to_vec());
    let mut balance: BTreeMap<&[u8], isize> = BTreeMap::new();
    for line in sent {
        *balance.entry(line).or_default() += 1;
    }
    for line in got {
        *balance.entry(line).or_default() -= 1;
    }
    let sum = |sign: isize| -> usize {
        let off = balance.values().filter(|off| off.signum() == sign);
        off.map(|off| off.unsigned_abs()).sum()
    };
    Err(Difference {
        sent: sent.len(),
        got: got.len(),
        first: same + 1,
        sent_there: there(sent),
        got_there: there(got),
        missing: sum(1),
        surplus: sum(-1),
    })
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sent,
            got,
            first,
            missing,
            surplus,
            ..
        } = self;
        let sent = count(*sent, "line");
        write!(f, "{sent} went in, {got} came out: ")?;
        match (missing, surplus) {
            (0, 0) => write!(f, "all of them, in another order")?,
            (missing, 0) => write!(f, "{missing} missing")?,
            (0, surplus) => write!(f, "{surplus} too many")?,
            (missing, surplus) => write!(f, "{missing} missing, {surplus} too many")?,
        }
        write!(f, ".\nLine {first} is the first that differs:")?;
        write!(f, "\n  in:  {}", shown(self.sent_there.as_deref()))?;
        write!(f, "\n  out: {}", shown(self.got_there.as_deref()))
    }
}

/// A line as a terminal can bear it.
fn shown(line: Option<&[u8]>) -> String {
    let Some(line) = line else {
        return "(nothing)".to_owned();
    };
    let mut shown = String::new();
    for &byte in line {
        match byte {
            b' '..=b'~' => shown.push(byte.into()),
            _ => shown.extend(byte.escape_ascii().map(char::from)),
        }
    }
    if shown.len() > SHOWN {
        shown.truncate(SHOWN);
        shown += "...";
    }
    shown
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    const SENT: [&str; 4] = ["one", "two", "three", "four"];

    fn compared(got: &[&str]) -> String {
        let bytes = |lines: &[&'static str]| -> Vec<&[u8]> {
            lines.iter().map(|line| line.as_bytes()).collect()
        };
        let got: Vec<&[u8]> = got.iter().map(|line| line.as_bytes()).collect();
        match compare(&bytes(&SENT), &got) {
            Ok(()) => "the same".to_owned(),
            Err(difference) => difference.to_string(),
        }
    }

    #[test]
    fn the_same_is_the_same() {
        assert_eq!(compared(&SENT), "the same");
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_snapshot!(compared(&["one", "three", "four"]), @r"
        4 lines went in, 3 came out: 1 missing.
        Line 2 is the first that differs:
          in:  two
          out: three
        ");
        assert_snapshot!(compared(&["one", "two", "three"]), @r"
        4 lines went in, 3 came out: 1 missing.
        Line 4 is the first that differs:
          in:  four
          out: (nothing)
        ");
        assert_snapshot!(compared(&[]), @r"
        4 lines went in, 0 came out: 4 missing.
        Line 1 is the first that differs:
          in:  one
          out: (nothing)
        ");
    }

    #[test]
    fn what_is_doubled_is_named() {
        assert_snapshot!(compared(&["one", "two", "two", "three", "four"]), @r"
        4 lines went in, 5 came out: 1 too many.
        Line 3 is the first that differs:
          in:  three
          out: two
        ");
        assert_snapshot!(compared(&["one", "two", "three", "four", "one"]), @r"
        4 lines went in, 5 came out: 1 too many.
        Line 5 is the first that differs:
          in:  (nothing)
          out: one
        ");
    }

    #[test]
    fn what_was_changed_is_named() {
        assert_snapshot!(compared(&["one", "two", "th\x1bree", "four"]), @r"
        4 lines went in, 4 came out: 1 missing, 1 too many.
        Line 3 is the first that differs:
          in:  three
          out: th\x1bree
        ");
        let long = "x".repeat(100);
        assert_snapshot!(compared(&[&long, "two", "three", "four"]), @r"
        4 lines went in, 4 came out: 1 missing, 1 too many.
        Line 1 is the first that differs:
          in:  one
          out: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...
        ");
    }

    #[test]
    fn another_order_is_named() {
        assert_snapshot!(compared(&["one", "three", "two", "four"]), @r"
        4 lines went in, 4 came out: all of them, in another order.
        Line 2 is the first that differs:
          in:  two
          out: three
        ");
    }
}
