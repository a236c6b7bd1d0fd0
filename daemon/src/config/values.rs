//! From a TOML value to what it stands for: one function a kind, none of which knows where the value is.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use batchd_core::spool::space::MinFree;
use toml::de::{DeInteger, DeValue};

use super::model::SOCKET_PATH_BYTES_MAX;
use super::problem::{Problem, nearest};
use super::units;

/// The largest `min_free`, in both its ways.
const MIN_FREE_MAX: u64 = 1 << 50;
const PERCENT_MAX: u32 = 90;
/// What switches a setting off.
pub(super) const OFF: &str = "off";

/// What leaves a setting to the size of the file system.
pub(super) const AUTO: &str = "auto";

type Value<'t> = DeValue<'t>;

/// A setting of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Setting<T> {
    /// Not mentioned: as in the template.
    #[default]
    Inherit,
    /// `"off"`, whatever the template says.
    Off,
    /// This, whatever the template says.
    Set(T),
}

impl<T> Setting<T> {
    /// What is in force.
    pub(super) fn resolve(self, template: Option<T>) -> Option<T> {
        match self {
            Self::Inherit => template,
            Self::Off => None,
            Self::Set(value) => Some(value),
        }
    }
}

/// Reads what `inner` reads, or `"off"`.
pub(super) fn or_off<T>(
    inner: impl Fn(&Value<'_>) -> Result<T, Problem>,
) -> impl Fn(&Value<'_>) -> Result<Setting<T>, Problem> {
    move |value| match value.as_str() {
        Some(OFF) => Ok(Setting::Off),
        _ => inner(value)
            .map(Setting::Set)
            .map_err(|problem| Problem::OrOff(Box::new(problem))),
    }
}

/// Reads what `inner` reads; nothing where the file system's size is to decide.
pub(super) fn or_auto<T>(
    inner: impl Fn(&Value<'_>) -> Result<T, Problem>,
) -> impl Fn(&Value<'_>) -> Result<Option<T>, Problem> {
    move |value| match value.as_str() {
        Some(AUTO) => Ok(None),
        _ => inner(value).map(Some),
    }
}

/// Reads a size from `range`.
pub(super) fn size(range: RangeInclusive<u64>) -> impl Fn(&Value<'_>) -> Result<u64, Problem> {
    move |value| {
        if let DeValue::Integer(number) = value {
            return Err(bare_number(number, "a size", "B"));
        }
        let text = string("a size such as \"4MiB\"")(value)?;
        let bytes = units::parse_size(&text).map_err(|e| Problem::Size(excerpt(&text), e))?;
        in_range(bytes, &range, units::render_size)
    }
}

/// Reads a time that is longer than nothing.
pub(super) fn time(value: &Value<'_>) -> Result<Duration, Problem> {
    time_of_at_least(Duration::from_millis(1))(value)
}

/// Reads a time from `min`.
pub(super) fn time_of_at_least(min: Duration) -> impl Fn(&Value<'_>) -> Result<Duration, Problem> {
    move |value| read_time(value, min)
}

fn read_time(value: &Value<'_>, min: Duration) -> Result<Duration, Problem> {
    if let DeValue::Integer(number) = value {
        return Err(bare_number(number, "a time", "s"));
    }
    let text = string("a time such as \"5s\"")(value)?;
    let time = units::parse_time(&text).map_err(|e| Problem::Time(excerpt(&text), e))?;
    if time < min {
        return Err(Problem::OutOfRange {
            found: units::render_time(time),
            min: units::render_time(min),
            max: "100years".to_owned(),
        });
    }
    Ok(time)
}

/// Reads a number from `range`.
pub(super) fn integer<T: TryFrom<i128> + PartialOrd + Copy + Display>(
    range: RangeInclusive<T>,
) -> impl Fn(&Value<'_>) -> Result<T, Problem> {
    move |value| {
        let DeValue::Integer(number) = value else {
            return Err(wrong_type(value, "an integer"));
        };
        let read = i128::from_str_radix(number.as_str(), number.radix());
        match read.ok().and_then(|number| T::try_from(number).ok()) {
            Some(number) => in_range(number, &range, |number| number.to_string()),
            None => Err(out_of_range(
                excerpt(&number.to_string()),
                &range,
                T::to_string,
            )),
        }
    }
}

/// Reads a share in whole percents from `range`.
pub(super) fn percent(range: RangeInclusive<u32>) -> impl Fn(&Value<'_>) -> Result<u32, Problem> {
    move |value| {
        if let DeValue::Integer(number) = value {
            return Err(bare_number(number, "a share", "%"));
        }
        let text = string("a share such as \"10%\"")(value)?;
        let digits = text.trim().strip_suffix('%').map(str::trim_end);
        let is_whole = |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let Some(digits) = digits.filter(is_whole) else {
            return Err(Problem::Percent(excerpt(&text)));
        };
        // More digits than a number can have are more than any bound, too.
        let percent = digits.parse().unwrap_or(u32::MAX);
        if range.contains(&percent) {
            return Ok(percent);
        }
        Err(out_of_range(excerpt(&text), &range, |bound| {
            format!("{bound}%")
        }))
    }
}

/// Reads how much of a file system must stay free: a size, or so many hundredths of it.
pub(super) fn min_free(value: &Value<'_>) -> Result<MinFree, Problem> {
    if value
        .as_str()
        .is_some_and(|text| text.trim().ends_with('%'))
    {
        let percent = percent(1..=PERCENT_MAX)(value)?;
        return Ok(MinFree::Percent(u8::try_from(percent).unwrap_or(u8::MAX)));
    }
    if value.as_str() == Some(AUTO) {
        return Ok(MinFree::Default);
    }
    size(1..=MIN_FREE_MAX)(value).map(MinFree::Bytes)
}

/// Reads one of a few words.
pub(super) fn choice<T: Copy, const N: usize>(
    choices: [(&'static str, T); N],
) -> impl Fn(&Value<'_>) -> Result<T, Problem> {
    move |value| {
        let text = string("a string")(value)?;
        if let Some((_, chosen)) = choices.iter().find(|(word, _)| *word == text) {
            return Ok(*chosen);
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        Err(Problem::UnknownValue {
            nearest: nearest(&text, &words),
            found: excerpt(&text),
            allowed: words.into_iter().map(str::to_owned).collect(),
        })
    }
}

/// Reads permission bits.
pub(super) fn mode(value: &Value<'_>) -> Result<u32, Problem> {
    let text = string("an octal mode such as \"0660\"")(value)?;
    let is_octal = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    u32::from_str_radix(&text, 8)
        .ok()
        .filter(|mode| is_octal && *mode <= 0o777)
        .ok_or_else(|| Problem::Mode(excerpt(&text)))
}

/// Reads an absolute path without `..`, which could lead anywhere.
pub(super) fn path(value: &Value<'_>) -> Result<PathBuf, Problem> {
    let text = string("a path")(value)?;
    let path = Path::new(&text);
    let is_plain = path
        .components()
        .all(|component| component != Component::ParentDir);
    if path.is_absolute() && is_plain && !text.contains('\0') {
        Ok(path.to_path_buf())
    } else {
        Err(Problem::Path(excerpt(&text)))
    }
}

/// Reads the path of a socket.
pub(super) fn socket_path(value: &Value<'_>) -> Result<PathBuf, Problem> {
    let path = path(value)?;
    check_socket_path(&path)?;
    Ok(path)
}

/// Checks that a socket may have this path.
pub(super) fn check_socket_path(path: &Path) -> Result<(), Problem> {
    match path.as_os_str().len() {
        0..=SOCKET_PATH_BYTES_MAX => Ok(()),
        bytes => Err(Problem::SocketPath {
            bytes,
            max: SOCKET_PATH_BYTES_MAX,
        }),
    }
}

/// Reads true or false.
pub(super) fn boolean(value: &Value<'_>) -> Result<bool, Problem> {
    value
        .as_bool()
        .ok_or_else(|| wrong_type(value, "true or false"))
}

/// Reads a string, called `expected` where it is none.
pub(super) fn string(expected: &'static str) -> impl Fn(&Value<'_>) -> Result<String, Problem> {
    move |value| {
        value
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| wrong_type(value, expected))
    }
}

/// The problem of a value of another type.
pub(super) fn wrong_type(value: &Value<'_>, expected: &'static str) -> Problem {
    let found = match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a floating-point number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    };
    Problem::WrongType { found, expected }
}

fn bare_number(number: &DeInteger<'_>, kind: &'static str, unit: &str) -> Problem {
    let is_decimal = number.as_str().bytes().all(|b| b.is_ascii_digit()) && number.radix() == 10;
    let example = if is_decimal { number.as_str() } else { "5" };
    Problem::BareNumber {
        number: number.to_string(),
        kind,
        example: format!("{example}{unit}"),
    }
}

fn in_range<T: PartialOrd + Copy>(
    number: T,
    range: &RangeInclusive<T>,
    render: impl Fn(T) -> String,
) -> Result<T, Problem> {
    if range.contains(&number) {
        Ok(number)
    } else {
        Err(out_of_range(render(number), range, |bound| render(*bound)))
    }
}

fn out_of_range<T>(
    found: String,
    range: &RangeInclusive<T>,
    render: impl Fn(&T) -> String,
) -> Problem {
    Problem::OutOfRange {
        found,
        min: render(range.start()),
        max: render(range.end()),
    }
}

/// As much of a text as a message can carry.
fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut excerpt: String = text.chars().take(CHARS_MAX).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        excerpt.push('…');
    }
    excerpt
}
