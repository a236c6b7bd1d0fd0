//! The names of files made from batches.

use std::fmt::Write;

use batchd_frame::Key;
use batchd_frame::checksum::crc32c;
use batchd_frame::ids::QUEUE_NAME_BYTES_MAX;

use crate::sink::Delivery;

/// The longest file name Linux takes, in bytes.
pub(super) const FILE_NAME_BYTES_MAX: usize = 255;

/// Digits of `{seq}`: those of the largest u64, so that names sort as numbers do.
const SEQ_DIGITS: usize = 20;
const ID_BYTES: usize = 36;
/// The longest that `{key}` becomes, with the nine bytes that end a shortened one.
const KEY_TEXT_BYTES_MAX: usize = 64;
/// Digits of each number of a part: no batch has more than 2^32 items.
const PART_DIGITS: usize = 10;
/// A hyphen, the first item, a plus sign, how many.
const PART_BYTES: usize = 1 + PART_DIGITS + 1 + PART_DIGITS;

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// A placeholder that does not exist.
    #[error(
        "unknown placeholder {{{0}}}: known are {{queue}}, {{seq}}, {{id}}, {{key}} and {{ext}}"
    )]
    UnknownPlaceholder(String),
    /// A brace without its other half.
    #[error("'{0}' without its other half: braces stand around placeholders only")]
    StrayBrace(char),
    /// No `{seq}`.
    #[error("needs {{seq}}, so that names tell the order")]
    NoSeq,
    /// No `{id}`.
    #[error("needs {{id}}, so that a repeat finds the file it made before")]
    NoId,
    /// A slash.
    #[error("'/' in a file name: the directory is `path`, and has no directories below it")]
    Separator,
    /// A dot at the start.
    #[error("begins with a dot: globs and readers overlook such files")]
    LeadingDot,
    /// A control character.
    #[error("control character {0:?} in a file name")]
    ControlCharacter(char),
    /// Names that can become too long.
    #[error("names can have {0} bytes (with the longest queue name, key and part): at most 255")]
    TooLong(usize),
}

/// How the name of a batch's file is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NameTemplate {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Queue,
    Seq,
    Id,
    Key,
    /// Empty for a whole batch. No placeholder stands for it: it is put where it keeps the parts in order.
    Part,
}

impl NameTemplate {
    pub(super) const DEFAULT: &str = "{queue}-{seq}-{id}.{ext}";

    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateError`], the first one found.
    pub(super) fn parse(template: &str, extension: &str) -> Result<Self, TemplateError> {
        let mut pieces = read_pieces(template, extension)?;
        for piece in &pieces {
            if let Piece::Literal(text) = piece {
                check_literal(text)?;
            }
        }
        if matches!(pieces.first(), Some(Piece::Literal(text)) if text.starts_with('.')) {
            return Err(TemplateError::LeadingDot);
        }
        if !pieces.contains(&Piece::Seq) {
            return Err(TemplateError::NoSeq);
        }
        if !pieces.contains(&Piece::Id) {
            return Err(TemplateError::NoId);
        }
        place_part(&mut pieces);
        match pieces.iter().map(Piece::bytes_max).sum() {
            bytes if bytes > FILE_NAME_BYTES_MAX => Err(TemplateError::TooLong(bytes)),
            _ => Ok(Self { pieces }),
        }
    }

    /// The name of a delivery's file. It holds the identity, so no two deliveries share it; it needs no
    /// check: no piece can hold a slash, the first never begins with a dot.
    pub(super) fn name(&self, delivery: &Delivery) -> String {
        self.pieces
            .iter()
            .map(|piece| piece.text(delivery))
            .collect()
    }
}

impl Piece {
    fn text(&self, delivery: &Delivery) -> String {
        match self {
            Self::Literal(text) => text.clone(),
            Self::Queue => delivery.queue.to_string(),
            Self::Seq => format!("{:0SEQ_DIGITS$}", delivery.seq),
            Self::Id => delivery.batch.to_string(),
            Self::Key => key_text(&delivery.key),
            Self::Part => match delivery.part {
                None => String::new(),
                Some(part) => format!("-{:0PART_DIGITS$}+{:0PART_DIGITS$}", part.first, part.count),
            },
        }
    }

    fn bytes_max(&self) -> usize {
        match self {
            Self::Literal(text) => text.len(),
            Self::Queue => QUEUE_NAME_BYTES_MAX,
            Self::Seq => SEQ_DIGITS,
            Self::Id => ID_BYTES,
            Self::Key => KEY_TEXT_BYTES_MAX,
            Self::Part => PART_BYTES,
        }
    }
}

fn read_pieces(template: &str, extension: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        let (literal, braced) = rest.split_at(at);
        pieces.push(Piece::Literal(literal.to_owned()));
        let opened = braced
            .strip_prefix('{')
            .ok_or(TemplateError::StrayBrace('}'))?;
        let (name, after) = opened
            .split_once('}')
            .ok_or(TemplateError::StrayBrace('{'))?;
        pieces.push(match name {
            "queue" => Piece::Queue,
            "seq" => Piece::Seq,
            "id" => Piece::Id,
            "key" => Piece::Key,
            "ext" => Piece::Literal(extension.to_owned()),
            _ => return Err(TemplateError::UnknownPlaceholder(name.to_owned())),
        });
        rest = after;
    }
    pieces.push(Piece::Literal(rest.to_owned()));
    pieces.retain(|piece| !matches!(piece, Piece::Literal(text) if text.is_empty()));
    Ok(pieces)
}

fn check_literal(text: &str) -> Result<(), TemplateError> {
    if text.contains('/') {
        return Err(TemplateError::Separator);
    }
    match text.chars().find(|character| character.is_control()) {
        Some(character) => Err(TemplateError::ControlCharacter(character)),
        None => Ok(()),
    }
}

/// Puts the part before the first dot that follows all that varies, or else at the end.
fn place_part(pieces: &mut Vec<Piece>) {
    let fixed = pieces
        .iter()
        .rposition(|piece| !matches!(piece, Piece::Literal(_)))
        .map_or(0, |last_varying| last_varying + 1);
    let dot = pieces
        .iter()
        .enumerate()
        .skip(fixed)
        .find_map(|(index, piece)| match piece {
            Piece::Literal(text) => text
                .split_once('.')
                .map(|(before, after)| (index, before.to_owned(), format!(".{after}"))),
            _ => None,
        });
    match dot {
        Some((index, before, after)) => {
            pieces.splice(
                index..=index,
                [Piece::Literal(before), Piece::Part, Piece::Literal(after)],
            );
        }
        None => pieces.push(Piece::Part),
    }
}

/// A key in the letters that are safe in file names. The empty one is `_`. A long one is cut and ends in `~`
/// and a checksum of the whole.
fn key_text(key: &Key) -> String {
    if key.is_empty() {
        return "_".to_owned();
    }
    let mut text = String::new();
    let mut shortened_at = 0;
    for (index, byte) in key.as_bytes().iter().enumerate() {
        let safe = match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => true,
            // Hidden, or taken for an option, where the key begins the name.
            b'.' | b'-' => index > 0,
            // By itself it is the empty key.
            b'_' => key.as_bytes().len() > 1,
            _ => false,
        };
        if safe {
            text.push(char::from(*byte));
        } else {
            text.extend(['%', hex_digit(byte >> 4), hex_digit(byte & 0xf)]);
        }
        if text.len() <= KEY_TEXT_BYTES_MAX - 9 {
            shortened_at = text.len();
        }
    }
    if text.len() > KEY_TEXT_BYTES_MAX {
        text.truncate(shortened_at);
        // Writing to a string cannot fail.
        write!(text, "~{:08x}", crc32c(key.as_bytes())).ok();
    }
    text
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(nibble.into(), 16)
        .unwrap_or('0')
        .to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::super::testing;
    use super::*;
    use crate::sink::Range;

    fn fault(template: &str) -> String {
        match NameTemplate::parse(template, "txt") {
            Ok(_) => "nothing".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    fn named(template: &str, key: &[u8], part: Option<(u64, u64)>) -> String {
        let mut delivery = testing::delivery(7, &[]);
        delivery.key = Key::new(key).unwrap();
        delivery.part = part.map(|(first, count)| Range { first, count });
        NameTemplate::parse(template, "txt")
            .unwrap()
            .name(&delivery)
    }

    #[test]
    fn names() {
        assert_snapshot!(
            named(NameTemplate::DEFAULT, b"", None),
            @"logs-00000000000000000007-00000000-0007-7000-8000-000000000000.txt"
        );
        assert_snapshot!(
            named("{seq}-{key}-{id}", b"eu/1", None),
            @"00000000000000000007-eu%2F1-00000000-0007-7000-8000-000000000000"
        );
    }

    #[test]
    fn a_part_stands_before_the_extension() {
        let part = Some((3, 12));
        assert_snapshot!(
            named(NameTemplate::DEFAULT, b"", part),
            @"logs-00000000000000000007-00000000-0007-7000-8000-000000000000-0000000003+0000000012.txt"
        );
        assert_snapshot!(
            named("{seq}.{id}", b"", part),
            @"00000000000000000007.00000000-0007-7000-8000-000000000000-0000000003+0000000012"
        );
        assert_snapshot!(
            named("v1.{seq}-{id}-a.tar.gz", b"", part),
            @"v1.00000000000000000007-00000000-0007-7000-8000-000000000000-a-0000000003+0000000012.tar.gz"
        );
    }

    #[test]
    fn faults_are_named() {
        assert_snapshot!(
            fault("{queue}-{part}"),
            @"unknown placeholder {part}: known are {queue}, {seq}, {id}, {key} and {ext}"
        );
        assert_snapshot!(
            fault("{seq-{id}"),
            @"unknown placeholder {seq-{id}: known are {queue}, {seq}, {id}, {key} and {ext}"
        );
        assert_snapshot!(
            fault("{seq}-{id"),
            @"'{' without its other half: braces stand around placeholders only"
        );
        assert_snapshot!(
            fault("seq}-{id}"),
            @"'}' without its other half: braces stand around placeholders only"
        );
        assert_snapshot!(fault(""), @"needs {seq}, so that names tell the order");
        assert_snapshot!(
            fault("{queue}-{seq}"),
            @"needs {id}, so that a repeat finds the file it made before"
        );
        for template in ["{queue}/{seq}-{id}", "../{seq}-{id}", "/{seq}-{id}"] {
            assert_eq!(
                NameTemplate::parse(template, "txt"),
                Err(TemplateError::Separator),
                "{template}"
            );
        }
        assert_snapshot!(
            fault("{queue}/{seq}-{id}"),
            @"'/' in a file name: the directory is `path`, and has no directories below it"
        );
        assert_snapshot!(
            fault("..{seq}-{id}"),
            @"begins with a dot: globs and readers overlook such files"
        );
        assert_snapshot!(fault("{seq}\n{id}"), @r"control character '\n' in a file name");
        assert_snapshot!(
            fault(&format!("{{seq}}-{{id}}{}", "x".repeat(180))),
            @"names can have 259 bytes (with the longest queue name, key and part): at most 255"
        );
    }

    #[test]
    fn keys_become_safe_and_stay_apart() {
        let text = |key: &[u8]| key_text(&Key::new(key).unwrap());
        assert_snapshot!(text(b""), @"_");
        assert_snapshot!(text(b"_"), @"%5F");
        assert_snapshot!(text(b"eu-west_1.a"), @"eu-west_1.a");
        assert_snapshot!(text(b"-rf"), @"%2Drf");
        assert_snapshot!(text(b"../%\xff"), @"%2E.%2F%25%FF");
        assert_snapshot!(text(&[b'k'; 64]), @"kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk");
        assert_snapshot!(text(&[b'k'; 65]), @"kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk~24d92db2");
        assert_snapshot!(text(&[b'/'; 64]), @"%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F~91a728ca");
    }

    proptest! {
        #[test]
        fn every_name_is_a_plain_file_name(
            template in "[a-z.{}/]{0,4}(\\{key\\}|\\{queue\\})?\\{seq\\}[a-z.-]{0,4}\\{id\\}(\\{key\\}|\\.\\{ext\\})?",
            key in prop::collection::vec(any::<u8>(), 0..=255),
            part in prop::option::of((any::<u32>(), any::<u32>())),
        ) {
            let Ok(template) = NameTemplate::parse(&template, "txt") else { return Ok(()) };
            let mut delivery = testing::delivery(u64::MAX, &[]);
            delivery.key = Key::new(key).unwrap();
            delivery.part = part
                .map(|(first, count)| Range { first: first.into(), count: count.into() });
            let name = template.name(&delivery);
            prop_assert!(name.len() <= FILE_NAME_BYTES_MAX);
            prop_assert!(!name.starts_with('.'));
            prop_assert!(name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/'));
        }
    }
}
