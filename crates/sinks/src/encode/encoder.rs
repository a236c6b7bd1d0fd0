//! Items to bytes.

use std::io::{self, Write};

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;

use super::{Encoding, Unencodable, json};

/// What a line begins with that holds its item in base64.
const BASE64_LINE_PREFIX: &[u8] = b"base64:";

/// Writes the items of one delivery, in order, to anything that takes bytes. It makes many small writes:
/// give it something buffered.
#[derive(Debug)]
pub struct Encoder<W> {
    out: W,
    encoding: Encoding,
    unencodable: Unencodable,
    items_written: u64,
}

impl<W: Write> Encoder<W> {
    /// Writes what comes before the first item.
    ///
    /// # Errors
    /// That of the write.
    pub fn begin(mut out: W, encoding: Encoding, unencodable: Unencodable) -> io::Result<Self> {
        if encoding == Encoding::JsonArray {
            out.write_all(b"[")?;
        }
        Ok(Self {
            out,
            encoding,
            unencodable,
            items_written: 0,
        })
    }

    /// Writes one item.
    ///
    /// # Errors
    /// That of the write; [`io::ErrorKind::InvalidInput`] for an item longer than a length prefix can say.
    pub fn item(&mut self, item: &[u8]) -> io::Result<()> {
        match self.encoding {
            Encoding::Lines => self.line(item)?,
            Encoding::Ndjson => {
                json::write_item(&mut self.out, item, self.unencodable)?;
                self.out.write_all(b"\n")?;
            }
            Encoding::JsonArray => {
                if self.items_written > 0 {
                    self.out.write_all(b",\n")?;
                }
                json::write_item(&mut self.out, item, self.unencodable)?;
            }
            Encoding::Raw => self.out.write_all(item)?,
            Encoding::LengthPrefixed => {
                let bytes = u32::try_from(item.len())
                    .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
                self.out.write_all(&bytes.to_le_bytes())?;
                self.out.write_all(item)?;
            }
        }
        self.items_written += 1;
        Ok(())
    }

    /// How many items were written.
    #[must_use]
    pub const fn items_written(&self) -> u64 {
        self.items_written
    }

    /// Writes what comes after the last item and gives the target back, not flushed.
    ///
    /// # Errors
    /// That of the write.
    pub fn finish(mut self) -> io::Result<W> {
        if self.encoding == Encoding::JsonArray {
            self.out.write_all(b"]\n")?;
        }
        Ok(self.out)
    }

    fn line(&mut self, item: &[u8]) -> io::Result<()> {
        match self.unencodable {
            Unencodable::Escape => {
                let mut stretches = item.split(|byte| *byte == b'\n');
                self.out.write_all(stretches.next().unwrap_or_default())?;
                for stretch in stretches {
                    self.out.write_all(b"\\n")?;
                    self.out.write_all(stretch)?;
                }
            }
            Unencodable::Base64
                if item.contains(&b'\n') || item.starts_with(BASE64_LINE_PREFIX) =>
            {
                self.out.write_all(BASE64_LINE_PREFIX)?;
                write!(self.out, "{}", Base64Display::new(item, &STANDARD))?;
            }
            Unencodable::Base64 => self.out.write_all(item)?,
        }
        self.out.write_all(b"\n")
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn encode<I: AsRef<[u8]>>(
        encoding: Encoding,
        unencodable: Unencodable,
        items: &[I],
    ) -> Vec<u8> {
        let mut encoder = Encoder::begin(Vec::new(), encoding, unencodable).unwrap();
        for item in items {
            encoder.item(item.as_ref()).unwrap();
        }
        assert_eq!(encoder.items_written(), items.len() as u64);
        encoder.finish().unwrap()
    }

    #[track_caller]
    fn check(encoding: Encoding, unencodable: Unencodable, items: &[&[u8]], expected: &[u8]) {
        let encoded = encode(encoding, unencodable, items);
        assert_eq!(
            encoded.escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
    }

    #[test]
    fn lines() {
        let items: [&[u8]; 5] = [b"a", b"", b"\xff\0\r", b"two\nlines\n", b"base64:eA=="];
        check(
            Encoding::Lines,
            Unencodable::Escape,
            &items,
            b"a\n\n\xff\0\r\ntwo\\nlines\\n\nbase64:eA==\n",
        );
        check(
            Encoding::Lines,
            Unencodable::Base64,
            &items,
            b"a\n\n\xff\0\r\nbase64:dHdvCmxpbmVzCg==\nbase64:YmFzZTY0OmVBPT0=\n",
        );
        check(Encoding::Lines, Unencodable::Escape, &[], b"");
    }

    #[test]
    fn json() {
        let items: [&[u8]; 4] = [b"{\"a\":\n1}", b"x", b"", b"\xff"];
        check(
            Encoding::Ndjson,
            Unencodable::Escape,
            &items,
            b"{\"a\": 1}\n\"x\"\n\"\"\n{\"base64\":\"/w==\"}\n",
        );
        check(
            Encoding::JsonArray,
            Unencodable::Escape,
            &items,
            b"[{\"a\": 1},\n\"x\",\n\"\",\n{\"base64\":\"/w==\"}]\n",
        );
        check(Encoding::Ndjson, Unencodable::Escape, &[], b"");
        check(Encoding::JsonArray, Unencodable::Escape, &[], b"[]\n");
    }

    #[test]
    fn raw_and_length_prefixed() {
        let items: [&[u8]; 3] = [b"ab", b"", b"\n\0"];
        check(Encoding::Raw, Unencodable::Escape, &items, b"ab\n\0");
        check(
            Encoding::LengthPrefixed,
            Unencodable::Escape,
            &items,
            b"\x02\0\0\0ab\0\0\0\0\x02\0\0\0\n\0",
        );
    }

    /// Bytes of all kinds, and often what the encodings must look out for.
    fn item() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            vec(any::<u8>(), 0..24),
            vec(
                prop::sample::select(b"\n\r\\nb\"[{}]:,1 \0\xff".to_vec()),
                0..12
            ),
            "base64:[a-z=\n]{0,8}".prop_map(String::into_bytes),
            ".{0,12}".prop_map(String::into_bytes),
            json_value().prop_map(|json| serde_json::to_vec_pretty(&json).unwrap()),
        ]
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Value::from),
                vec(("[a-z\n]{0,3}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn unencodable() -> impl Strategy<Value = Unencodable> {
        prop::sample::select(Unencodable::ALL.to_vec())
    }

    fn split_lines(encoded: &[u8]) -> Vec<&[u8]> {
        let mut lines: Vec<_> = encoded.split(|byte| *byte == b'\n').collect();
        assert_eq!(lines.pop(), Some(&[][..]), "the last line is not ended");
        lines
    }

    proptest! {
        #[test]
        fn a_line_an_item(items in vec(item(), 0..8), unencodable in unencodable()) {
            for encoding in [Encoding::Lines, Encoding::Ndjson] {
                let encoded = encode(encoding, unencodable, &items);
                prop_assert_eq!(split_lines(&encoded).len(), items.len());
            }
        }

        #[test]
        fn lines_with_base64_come_back(items in vec(item(), 0..8)) {
            let encoded = encode(Encoding::Lines, Unencodable::Base64, &items);
            let decoded: Vec<Vec<u8>> = split_lines(&encoded)
                .into_iter()
                .map(|line| match line.strip_prefix(BASE64_LINE_PREFIX) {
                    Some(base64) => STANDARD.decode(base64).unwrap(),
                    None => line.to_vec(),
                })
                .collect();
            prop_assert_eq!(decoded, items);
        }

        #[test]
        fn escaped_lines_without_the_two_characters_come_back(items in vec(item(), 0..8)) {
            prop_assume!(!items.iter().any(|item| item.windows(2).any(|pair| pair == b"\\n")));
            // A backslash right before a newline makes no such pair: it reads as backslash, newline.
            let encoded = encode(Encoding::Lines, Unencodable::Escape, &items);
            let decoded: Vec<Vec<u8>> = split_lines(&encoded)
                .into_iter()
                .map(|line| {
                    let mut item = line.to_vec();
                    while let Some(at) = item.windows(2).position(|pair| pair == b"\\n") {
                        item.splice(at..at + 2, [b'\n']);
                    }
                    item
                })
                .collect();
            prop_assert_eq!(decoded, items);
        }

        #[test]
        fn ndjson_always_parses(items in vec(item(), 0..8), unencodable in unencodable()) {
            let encoded = encode(Encoding::Ndjson, unencodable, &items);
            for (line, item) in split_lines(&encoded).into_iter().zip(&items) {
                let value: Value = serde_json::from_slice(line).unwrap();
                prop_assert_eq!(bytes_meant(&value, item), item.clone());
            }
        }

        #[test]
        fn a_json_array_always_parses(items in vec(item(), 0..8), unencodable in unencodable()) {
            let encoded = encode(Encoding::JsonArray, unencodable, &items);
            let values: Vec<Value> = serde_json::from_slice(&encoded).unwrap();
            prop_assert_eq!(values.len(), items.len());
            for (value, item) in values.iter().zip(&items) {
                prop_assert_eq!(bytes_meant(value, item), item.clone());
            }
        }

        #[test]
        fn length_prefixed_comes_back(items in vec(item(), 0..8), unencodable in unencodable()) {
            let encoded = encode(Encoding::LengthPrefixed, unencodable, &items);
            let (mut rest, mut decoded) = (&encoded[..], Vec::new());
            while let Some((length, tail)) = rest.split_first_chunk::<4>() {
                let (item, tail) = tail.split_at(u32::from_le_bytes(*length) as usize);
                decoded.push(item.to_vec());
                rest = tail;
            }
            prop_assert!(rest.is_empty());
            prop_assert_eq!(decoded, items);
        }

        #[test]
        fn raw_is_the_bytes(items in vec(item(), 0..8), unencodable in unencodable()) {
            prop_assert_eq!(encode(Encoding::Raw, unencodable, &items), items.concat());
        }
    }

    /// The bytes of the item that a written value stands for, for a reader who knows whether it was JSON.
    fn bytes_meant(value: &Value, item: &[u8]) -> Vec<u8> {
        match serde_json::from_slice::<Value>(item) {
            Ok(submitted) => {
                assert_eq!(*value, submitted);
                item.to_vec()
            }
            Err(_) => match value {
                Value::String(text) => text.clone().into_bytes(),
                _ => STANDARD.decode(value["base64"].as_str().unwrap()).unwrap(),
            },
        }
    }
}
