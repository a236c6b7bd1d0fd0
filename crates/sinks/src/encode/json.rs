//! Items as JSON texts of one line.

use std::fmt;
use std::io::{self, Write};

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::Unencodable;

/// How deep an item's arrays and objects may nest to pass as JSON: less than the limit of common readers
/// (`serde_json` 128, jq 256), with room for the array around it.
const LEVELS_MAX: u8 = 100;

/// Writes an item as one JSON text without a line break in it.
pub(super) fn write_item(
    out: &mut impl Write,
    item: &[u8],
    unencodable: Unencodable,
) -> io::Result<()> {
    let text = std::str::from_utf8(item);
    if text.is_ok_and(is_json) {
        return write_on_one_line(out, item);
    }
    match (unencodable, text) {
        (Unencodable::Escape, Ok(text)) => Ok(serde_json::to_writer(out, text)?),
        (Unencodable::Escape | Unencodable::Base64, _) => {
            write!(
                out,
                "{{\"base64\":\"{}\"}}",
                Base64Display::new(item, &STANDARD)
            )
        }
    }
}

/// Whether a text is one JSON text that every common reader takes.
fn is_json(text: &str) -> bool {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Checked {
        levels_left: LEVELS_MAX,
    }
    .deserialize(&mut deserializer)
    .and_then(|()| deserializer.end())
    .is_ok()
}

/// Writes a JSON text. Its raw line breaks can only stand between tokens, where a space means the same.
fn write_on_one_line(out: &mut impl Write, json: &[u8]) -> io::Result<()> {
    let mut stretches = json.split(|byte| matches!(byte, b'\n' | b'\r'));
    out.write_all(stretches.next().unwrap_or_default())?;
    stretches.try_for_each(|stretch| {
        out.write_all(b" ")?;
        out.write_all(stretch)
    })
}

/// Any JSON value, looked at and forgotten. (`IgnoredAny` would let pass what readers then refuse: it
/// neither counts levels nor decodes what it skips.)
#[derive(Clone, Copy)]
struct Checked {
    levels_left: u8,
}

impl Checked {
    fn one_level_down<E: Error>(self) -> Result<Self, E> {
        match self.levels_left.checked_sub(1) {
            Some(levels_left) => Ok(Self { levels_left }),
            None => Err(E::custom("too deep")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Checked {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let element = self.one_level_down()?;
        while elements.next_element_seed(element)?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let member = self.one_level_down()?;
        while members.next_key_seed(member)?.is_some() {
            members.next_value_seed(member)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(item: &[u8], unencodable: Unencodable, expected: &str) {
        let mut out = Vec::new();
        write_item(&mut out, item, unencodable).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn json_passes_as_it_is_on_one_line() {
        for json in [
            "{}",
            " 1 ",
            "null",
            "\"a\\nb\"",
            "[1,2.50,-3e4]",
            "{\"a\":{\"a\":[]}}",
            "\"ä\"",
        ] {
            check(json.as_bytes(), Unencodable::Escape, json);
            check(json.as_bytes(), Unencodable::Base64, json);
        }
        check(
            b"{\r\n\t\"a\": 1\n}\n",
            Unencodable::Escape,
            "{  \t\"a\": 1 } ",
        );
    }

    #[test]
    fn what_is_not_json_becomes_a_string_or_base64() {
        let escape = Unencodable::Escape;
        check(b"", escape, "\"\"");
        check(b"plain", escape, "\"plain\"");
        check(b"two\nlines\0\"\\", escape, r#""two\nlines\u0000\"\\""#);
        check(b"1 2", escape, "\"1 2\"");
        check(b"{\"a\":1}{\"a\":2}", escape, r#""{\"a\":1}{\"a\":2}""#);
        check(b"[1,]", escape, "\"[1,]\"");
        check("\u{feff}1".as_bytes(), escape, "\"\u{feff}1\"");
        check(b"\"raw\nbreak\"", escape, r#""\"raw\nbreak\"""#);
        check(b"\xff\xfe", escape, "{\"base64\":\"//4=\"}");
        check(b"\"\xff\"", escape, "{\"base64\":\"Iv8i\"}");
        check(b"", Unencodable::Base64, "{\"base64\":\"\"}");
        check(b"plain", Unencodable::Base64, "{\"base64\":\"cGxhaW4=\"}");
    }

    #[test]
    fn what_readers_refuse_is_not_json() {
        let nested = |levels: usize| [vec![b'['; levels], vec![b']'; levels]].concat();
        let (deep, deeper) = (
            nested(LEVELS_MAX.into()),
            nested(usize::from(LEVELS_MAX) + 1),
        );
        check(
            &deep,
            Unencodable::Escape,
            std::str::from_utf8(&deep).unwrap(),
        );
        check(
            &deeper,
            Unencodable::Escape,
            &format!("\"{}\"", std::str::from_utf8(&deeper).unwrap()),
        );
        assert!(!is_json(&"[".repeat(1_000_000)));
        assert!(!is_json(r#""\ud800""#));
        assert!(!is_json("1e999"));
        assert!(is_json("123456789012345678901234567890"));
    }
}
