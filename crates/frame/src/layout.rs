//! Fixed layouts as tables: each field's place is one constant, used to write it, to read it and to
//! render `docs/format.md`.

use std::ops::Range;

/// A field of a fixed layout.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// First byte.
    pub at: usize,
    /// Length in bytes.
    pub bytes: usize,
    /// Name in `docs/format.md`.
    pub name: &'static str,
    /// What it says.
    pub meaning: &'static str,
}

impl Field {
    pub(crate) const fn new(
        at: usize,
        bytes: usize,
        name: &'static str,
        meaning: &'static str,
    ) -> Self {
        Self {
            at,
            bytes,
            name,
            meaning,
        }
    }

    pub(crate) const fn range(self) -> Range<usize> {
        self.at..self.at + self.bytes
    }

    /// Writes the field. A buffer that is too short is a bug of the caller, found by the layout tests.
    #[inline]
    pub(crate) fn put(self, buf: &mut [u8], bytes: &[u8]) {
        if let Some(slot) = buf.get_mut(self.range()) {
            slot.copy_from_slice(bytes);
        }
    }

    /// Reads the field, `N` being its length.
    #[inline]
    pub(crate) fn get<const N: usize>(self, buf: &[u8]) -> [u8; N] {
        let slot = buf.get(self.range()).unwrap_or_default();
        slot.try_into().unwrap_or([0; N])
    }
}

/// Renders a layout as the table in `docs/format.md`.
#[must_use]
pub fn render(fields: &[Field]) -> String {
    let mut out = String::from("| offset | bytes | field | meaning |\n|---|---|---|---|\n");
    for field in fields {
        let Field {
            at,
            bytes,
            name,
            meaning,
        } = field;
        out.push_str(&format!("| {at} | {bytes} | {name} | {meaning} |\n"));
    }
    out
}

/// Checks that fields follow each other without gap or overlap and fill `total` bytes.
#[cfg(test)]
pub(crate) fn check_tiles(fields: &[Field], total: usize) {
    let mut at = 0;
    for field in fields {
        assert_eq!(field.at, at, "field {}", field.name);
        at += field.bytes;
    }
    assert_eq!(at, total);
}
