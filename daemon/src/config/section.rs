//! A table of the file, read key by key.
//!
//! What is asked for is known; what was never asked for is a mistake, reported when the table is done with.
//! So the list of known keys cannot differ from what is read.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::problem::{Faults, Problem, nearest};
use super::values::{OFF, Setting, wrong_type};

/// A value and where it is in the text.
#[derive(Debug, Clone)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// A table of the file.
pub(super) struct Section<'t> {
    /// Its keys from the top, such as `queues.logs`; empty at the top.
    path: String,
    /// Where a mistake is said to be, such as `in [queues.logs]`.
    place: String,
    /// Where it begins: its key, or nothing at the top.
    pub(super) span: Range<usize>,
    table: &'t DeTable<'t>,
    known: Vec<&'static str>,
    /// The path of the table it is in and its own key, where that is a name of the user's choosing.
    named: Option<(String, &'t str)>,
}

impl<'t> Section<'t> {
    /// The whole file.
    pub(super) fn top(table: &'t DeTable<'t>) -> Self {
        Self::new(
            String::new(),
            "at the top of the file".to_owned(),
            0..0,
            table,
        )
    }

    fn new(path: String, place: String, span: Range<usize>, table: &'t DeTable<'t>) -> Self {
        Self {
            path,
            place,
            span,
            table,
            known: Vec::new(),
            named: None,
        }
    }

    /// Its keys from the top.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The key `name` of this table, with the tables it is in.
    fn path_of(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// Whether `key` is there, with whatever value.
    pub(super) fn has(&self, key: &str) -> bool {
        find(self.table, key).is_some()
    }

    /// Reads the value of `key`, if it is there. One that cannot be read is reported and counts as not there.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        faults: &mut Faults<'_>,
        parse: impl Fn(&DeValue<'_>) -> Result<T, Problem>,
    ) -> Option<Located<T>> {
        let (_, value) = self.take(key)?;
        match parse(value.get_ref()) {
            Ok(read) => Some(Located {
                value: read,
                span: value.span(),
            }),
            Err(problem) => {
                faults.add(Some(value.span()), Some(self.path_of(key)), problem);
                None
            }
        }
    }

    /// Like [`Section::read`], for a key that must be there.
    pub(super) fn require<T>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        faults: &mut Faults<'_>,
        parse: impl Fn(&DeValue<'_>) -> Result<T, Problem>,
    ) -> Option<Located<T>> {
        if find(self.table, key).is_none() {
            let problem = Problem::Missing {
                key,
                table: self.place.clone(),
                expected,
            };
            faults.add(Some(self.span.clone()), None, problem);
        }
        self.read(key, faults, parse)
    }

    /// The table `key`, if it is there.
    pub(super) fn section(&mut self, key: &'static str, faults: &mut Faults<'_>) -> Option<Self> {
        let (name, value) = self.take(key)?;
        self.open(name, value, "a table", faults)
    }

    /// The tables of the array of tables `key`, if it is there and holds nothing else.
    pub(super) fn sections(
        &mut self,
        key: &'static str,
        expected: &'static str,
        faults: &mut Faults<'_>,
    ) -> Option<Located<Vec<Self>>> {
        let (name, value) = self.take(key)?;
        let path = self.path_of(key);
        let DeValue::Array(array) = value.get_ref() else {
            faults.add(
                Some(name.span()),
                Some(path),
                wrong_type(value.get_ref(), expected),
            );
            return None;
        };
        let mut sections = Vec::new();
        for (index, element) in array.iter().enumerate() {
            let (path, span) = (format!("{path}[{index}]"), element.span());
            if let DeValue::Table(table) = element.get_ref() {
                sections.push(Self::new(path, format!("in [[{key}]]"), span, table));
            } else {
                faults.add(
                    Some(span),
                    Some(path),
                    wrong_type(element.get_ref(), expected),
                );
            }
        }
        let is_whole = sections.len() == array.len();
        is_whole.then(|| Located {
            value: sections,
            span: value.span(),
        })
    }

    /// All tables in this one, whose keys are names of the user's choosing.
    pub(super) fn named_sections(self, faults: &mut Faults<'_>) -> Vec<(Located<&'t str>, Self)> {
        let mut sections = Vec::new();
        for (name, value) in self.table {
            if let Some(mut section) = self.open(name, value, "a table", faults) {
                let text = key_text(name);
                section.named = Some((self.path.clone(), text));
                sections.push((
                    Located {
                        value: text,
                        span: name.span(),
                    },
                    section,
                ));
            }
        }
        sections
    }

    /// The table `key` or `"off"`, if it is there. What is neither is reported and counts as off.
    pub(super) fn section_or_off(
        &mut self,
        key: &'static str,
        faults: &mut Faults<'_>,
    ) -> Setting<Self> {
        match self.take(key) {
            None => Setting::Inherit,
            Some((_, value)) if value.get_ref().as_str() == Some(OFF) => Setting::Off,
            Some((name, value)) => match self.open(name, value, "a table; or \"off\"", faults) {
                Some(section) => Setting::Set(section),
                None => Setting::Off,
            },
        }
    }

    /// Reports `key`, which only the table `only` may have, if it is there.
    pub(super) fn misplaced(
        &mut self,
        key: &'static str,
        only: &'static str,
        faults: &mut Faults<'_>,
    ) {
        if let Some((name, _)) = find(self.table, key) {
            self.known.push(key);
            faults.add(
                Some(name.span()),
                Some(self.path_of(key)),
                Problem::Misplaced { key, only },
            );
        }
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self, faults: &mut Faults<'_>) {
        for (name, value) in self.table {
            let text = key_text(name);
            if !self.known.contains(&text) {
                faults.add(
                    Some(name.span()),
                    None,
                    self.unknown(text, is_table(value.get_ref())),
                );
            }
        }
    }

    fn unknown(&self, key: &str, is_table: bool) -> Problem {
        let (name, table) = (key.to_owned(), self.place.clone());
        let nearest = nearest(key, &self.known);
        if let (Some((parent, first)), true, None) = (&self.named, is_table, &nearest) {
            let quoted = join(parent, &format!("{first}.{key}"));
            return Problem::UnquotedName {
                name,
                table,
                quoted,
            };
        }
        let known = self.known.iter().map(|known| (*known).to_owned()).collect();
        Problem::UnknownKey {
            name,
            is_table,
            table,
            nearest,
            known,
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Entry<'t>> {
        self.known.push(key);
        find(self.table, key)
    }

    fn open(
        &self,
        name: &'t Spanned<DeString<'t>>,
        value: &'t Spanned<DeValue<'t>>,
        expected: &'static str,
        faults: &mut Faults<'_>,
    ) -> Option<Self> {
        let path = self.path_of(key_text(name));
        if let DeValue::Table(table) = value.get_ref() {
            let place = format!("in [{path}]");
            Some(Self::new(path, place, name.span(), table))
        } else {
            faults.add(
                Some(value.span()),
                Some(path),
                wrong_type(value.get_ref(), expected),
            );
            None
        }
    }
}

type Entry<'t> = (&'t Spanned<DeString<'t>>, &'t Spanned<DeValue<'t>>);

pub(super) fn find<'t>(table: &'t DeTable<'t>, key: &str) -> Option<Entry<'t>> {
    table.iter().find(|(name, _)| key_text(name) == key)
}

pub(super) fn key_text<'t>(name: &'t Spanned<DeString<'t>>) -> &'t str {
    name.get_ref()
}

fn is_table(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::Table(_) => true,
        DeValue::Array(array) => array.iter().any(|element| element.get_ref().is_table()),
        _ => false,
    }
}

/// A dotted key, quoted where TOML wants it.
pub(super) fn join(path: &str, name: &str) -> String {
    let is_bare = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let name = if is_bare {
        name.to_owned()
    } else {
        format!("{name:?}")
    };
    if path.is_empty() {
        name
    } else {
        format!("{path}.{name}")
    }
}
