//! Sizes and times as people write them: a number and a unit, always both.

use std::time::Duration;

use bytesize::{ByteSize, Unit};

/// A year as it is read: 365.25 days.
const YEAR_SECS: u64 = 31_557_600;
/// The longest time that may be written. Far from where adding it to a clock could overflow.
const TIME_MAX: Duration = Duration::from_secs(100 * YEAR_SECS);
/// The units of sizes, largest first; where two serve equally, the first is written.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", bytesize::TIB),
    ("TB", bytesize::TB),
    ("GiB", bytesize::GIB),
    ("GB", bytesize::GB),
    ("MiB", bytesize::MIB),
    ("MB", bytesize::MB),
    ("KiB", bytesize::KIB),
    ("kB", bytesize::KB),
    ("B", 1),
];

/// Why a text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SizeError {
    /// No number at the start.
    #[error("is not a size: write a number and a unit, such as \"4MiB\"")]
    Garbage,
    /// A number and nothing more.
    #[error("has no unit: add one, such as \"{0}B\" or \"{0}MiB\"")]
    NoUnit(String),
    /// A unit that does not exist, or that means different things to different people.
    #[error("has the unit {0:?}, which is not known: B, kB, MB, GB, TB, KiB, MiB, GiB or TiB")]
    UnknownUnit(String),
    /// Less than nothing.
    #[error("is negative: write a number and a unit, such as \"4MiB\"")]
    Negative,
    /// More than 64 bits.
    #[error("is too large: less than \"16777216TiB\"")]
    Overflow,
}

/// Why a text is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TimeError {
    /// No number at the start, or something between numbers and units.
    #[error("is not a time: write numbers and units, such as \"5s\" or \"1day 2h\"")]
    Garbage,
    /// A number and nothing more.
    #[error("has no unit: add one, such as \"{0}s\" or \"{0}ms\"")]
    NoUnit(String),
    /// A unit that does not exist.
    #[error("has the unit {0:?}, which is not known: ms, s, min, h, days or weeks")]
    UnknownUnit(String),
    /// One that others take for minutes.
    #[error("has the unit \"M\", which could be minutes or months: write \"min\" or \"months\"")]
    Month,
    /// Less than nothing.
    #[error("is negative: write numbers and units, such as \"5s\" or \"1day 2h\"")]
    Negative,
    /// Too long.
    #[error("is too long: at most 100 years")]
    Overflow,
}

/// Reads a size such as `4MiB`: its bytes. A fraction is rounded down to whole bytes.
///
/// # Errors
/// [`SizeError`]. A unit without the `B`, as in `4M`, is refused: some programs take that for 10^6, some for
/// 2^20.
pub(crate) fn parse_size(text: &str) -> Result<u64, SizeError> {
    let text = text.trim();
    if text.starts_with('-') {
        return Err(SizeError::Negative);
    }
    let number_ends = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(number_ends);
    let unit = unit.trim_start();
    if number.parse::<f64>().is_err() {
        return Err(SizeError::Garbage);
    }
    if unit.is_empty() {
        return Err(SizeError::NoUnit(number.to_owned()));
    }
    let is_known = unit.ends_with(['b', 'B']) && unit.parse::<Unit>().is_ok();
    if !is_known {
        return Err(SizeError::UnknownUnit(unit.to_owned()));
    }
    match text.parse::<ByteSize>() {
        // The crate answers with the largest number where it cannot count so far.
        Ok(ByteSize(u64::MAX)) => Err(SizeError::Overflow),
        Ok(size) => Ok(size.as_u64()),
        Err(_) => Err(SizeError::Garbage),
    }
}

/// Writes a size exactly, in the unit that gives the smallest number.
pub(crate) fn render_size(bytes: u64) -> String {
    let exact = SIZE_UNITS
        .iter()
        .filter(|(_, factor)| bytes.is_multiple_of(*factor));
    match exact.max_by_key(|(_, factor)| *factor) {
        Some((unit, factor)) if bytes > 0 => format!("{}{unit}", bytes / factor),
        _ => "0B".to_owned(),
    }
}

/// Reads a time such as `5s` or `1day 2h`.
///
/// # Errors
/// [`TimeError`].
pub(crate) fn parse_time(text: &str) -> Result<Duration, TimeError> {
    let text = text.trim();
    if text.starts_with('-') {
        return Err(TimeError::Negative);
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(TimeError::NoUnit(text.to_owned()));
    }
    let mut words = text.split(|c: char| !c.is_alphabetic());
    if words.any(|unit| unit == "M") {
        return Err(TimeError::Month);
    }
    match humantime::parse_duration(text) {
        Ok(time) if time <= TIME_MAX => Ok(time),
        Ok(_) | Err(humantime::DurationError::NumberOverflow) => Err(TimeError::Overflow),
        Err(humantime::DurationError::UnknownUnit { unit, value, .. }) if unit.is_empty() => {
            Err(TimeError::NoUnit(value.to_string()))
        }
        Err(humantime::DurationError::UnknownUnit { unit, .. }) => {
            Err(TimeError::UnknownUnit(unit))
        }
        Err(_) => Err(TimeError::Garbage),
    }
}

/// Writes a time exactly.
pub(crate) fn render_time(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn sizes(texts: &[&str]) -> String {
        let line = |text: &&str| match parse_size(text) {
            Ok(bytes) => format!("{text:?} = {bytes}\n"),
            Err(error) => format!("{text:?} {error}\n"),
        };
        texts.iter().map(line).collect()
    }

    fn times(texts: &[&str]) -> String {
        let line = |text: &&str| match parse_time(text) {
            Ok(time) => format!("{text:?} = {time:?}\n"),
            Err(error) => format!("{text:?} {error}\n"),
        };
        texts.iter().map(line).collect()
    }

    #[test]
    fn sizes_that_are_read() {
        let texts = [
            "4MiB", "10GB", "512KiB", "100B", "1.5 gib", "0B", " 8 kB ", "0.1B",
        ];
        assert_snapshot!(sizes(&texts), @r#"
        "4MiB" = 4194304
        "10GB" = 10000000000
        "512KiB" = 524288
        "100B" = 100
        "1.5 gib" = 1610612736
        "0B" = 0
        " 8 kB " = 8000
        "0.1B" = 0
        "#);
    }

    #[test]
    fn sizes_that_are_refused() {
        let texts = [
            "",
            "MiB",
            "ten MiB",
            "1.2.3MiB",
            "100",
            "4M",
            "4Ki",
            "4 MiBs",
            "4Mb/s",
            "-1MiB",
            "1e3B",
            "16777216TiB",
            "99999999999999999999B",
            "99999999999999EiB",
            "1000000000PB",
            "∞B",
        ];
        assert_snapshot!(sizes(&texts), @r#"
        "" is not a size: write a number and a unit, such as "4MiB"
        "MiB" is not a size: write a number and a unit, such as "4MiB"
        "ten MiB" is not a size: write a number and a unit, such as "4MiB"
        "1.2.3MiB" is not a size: write a number and a unit, such as "4MiB"
        "100" has no unit: add one, such as "100B" or "100MiB"
        "4M" has the unit "M", which is not known: B, kB, MB, GB, TB, KiB, MiB, GiB or TiB
        "4Ki" has the unit "Ki", which is not known: B, kB, MB, GB, TB, KiB, MiB, GiB or TiB
        "4 MiBs" has the unit "MiBs", which is not known: B, kB, MB, GB, TB, KiB, MiB, GiB or TiB
        "4Mb/s" has the unit "Mb/s", which is not known: B, kB, MB, GB, TB, KiB, MiB, GiB or TiB
        "-1MiB" is negative: write a number and a unit, such as "4MiB"
        "1e3B" has the unit "e3B", which is not known: B, kB, MB, GB, TB, KiB, MiB, GiB or TiB
        "16777216TiB" is too large: less than "16777216TiB"
        "99999999999999999999B" is too large: less than "16777216TiB"
        "99999999999999EiB" is too large: less than "16777216TiB"
        "1000000000PB" is too large: less than "16777216TiB"
        "∞B" is not a size: write a number and a unit, such as "4MiB"
        "#);
    }

    #[test]
    fn times_that_are_read() {
        let texts = [
            "5s",
            "24h",
            "1day 2h",
            "1.5s",
            "250ms",
            "0s",
            " 2 weeks ",
            "1month",
            "100years",
        ];
        assert_snapshot!(times(&texts), @r#"
        "5s" = 5s
        "24h" = 86400s
        "1day 2h" = 93600s
        "1.5s" = 1.5s
        "250ms" = 250ms
        "0s" = 0ns
        " 2 weeks " = 1209600s
        "1month" = 2630016s
        "100years" = 3155760000s
        "#);
    }

    #[test]
    fn times_that_are_refused() {
        let texts = [
            "",
            "s",
            "soon",
            "5",
            "0",
            "1h 5",
            "5 parsecs",
            "-5s",
            "5s!",
            "1M",
            "1h 5M",
            "100years 1s",
            "101years",
            "99999999999999999999s",
            "0.1ns",
        ];
        assert_snapshot!(times(&texts), @r#"
        "" is not a time: write numbers and units, such as "5s" or "1day 2h"
        "s" is not a time: write numbers and units, such as "5s" or "1day 2h"
        "soon" is not a time: write numbers and units, such as "5s" or "1day 2h"
        "5" has no unit: add one, such as "5s" or "5ms"
        "0" has no unit: add one, such as "0s" or "0ms"
        "1h 5" has no unit: add one, such as "5s" or "5ms"
        "5 parsecs" has the unit "parsecs", which is not known: ms, s, min, h, days or weeks
        "-5s" is negative: write numbers and units, such as "5s" or "1day 2h"
        "5s!" is not a time: write numbers and units, such as "5s" or "1day 2h"
        "1M" has the unit "M", which could be minutes or months: write "min" or "months"
        "1h 5M" has the unit "M", which could be minutes or months: write "min" or "months"
        "100years 1s" is too long: at most 100 years
        "101years" is too long: at most 100 years
        "99999999999999999999s" is too long: at most 100 years
        "0.1ns" is too long: at most 100 years
        "#);
    }

    #[test]
    fn what_is_written_reads_back() {
        for bytes in [
            0,
            1,
            999,
            1000,
            1024,
            1 << 20,
            10_000_000_000,
            10 << 30,
            u64::MAX - 1,
        ] {
            assert_eq!(
                parse_size(&render_size(bytes)),
                Ok(bytes),
                "{}",
                render_size(bytes)
            );
        }
        assert_eq!(render_size(10 << 30), "10GiB");
        assert_eq!(render_size(10_000_000_000), "10GB");
        assert_eq!(render_size(1_048_577), "1048577B");
        let millis = [1, 1500, 5000, 93_600_000, 86_400_000 * 400];
        let times = millis.map(Duration::from_millis).into_iter();
        for time in times.chain([TIME_MAX]) {
            assert_eq!(parse_time(&render_time(time)), Ok(time));
        }
    }
}
