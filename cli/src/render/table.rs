//! Aligned columns.

/// Which way a column is aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table that may be printed piece by piece; columns only ever get wider.
#[derive(Debug)]
pub(crate) struct Table<const COLUMNS: usize> {
    align: [Align; COLUMNS],
    widths: [usize; COLUMNS],
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// A table with a head.
    pub(crate) fn new(columns: &[(&str, Align); COLUMNS]) -> Self {
        let mut table = Self {
            align: columns.map(|(_, align)| align),
            widths: [0; COLUMNS],
            rows: Vec::new(),
        };
        table.row(columns.map(|(name, _)| name.to_owned()));
        table
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: [String; COLUMNS]) {
        for (width, cell) in self.widths.iter_mut().zip(&cells) {
            *width = cell.chars().count().max(*width);
        }
        self.rows.push(cells);
    }

    /// Rows that were not taken yet.
    pub(crate) fn pending(&self) -> usize {
        self.rows.len()
    }

    /// The text of the rows that were not taken yet.
    pub(crate) fn take(&mut self) -> String {
        let mut text = String::new();
        for cells in self.rows.drain(..) {
            let mut line = String::new();
            for ((cell, align), &width) in cells.iter().zip(self.align).zip(&self.widths) {
                if !line.is_empty() {
                    line.push_str("  ");
                }
                match align {
                    Align::Left => line.push_str(&format!("{cell:<width$}")),
                    Align::Right => line.push_str(&format!("{cell:>width$}")),
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Names and values, one pair a line.
pub(crate) fn pairs(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in pairs {
        let line = format!("{name:<width$}  {value}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_only_get_wider() {
        let mut table = Table::new(&[
            ("NAME", Align::Left),
            ("N", Align::Right),
            ("", Align::Left),
        ]);
        table.row(["a".to_owned(), "10".to_owned(), "x".to_owned()]);
        let mut text = table.take();
        table.row(["longer name".to_owned(), "1".to_owned(), String::new()]);
        table.row(["ä".to_owned(), "100".to_owned(), "y".to_owned()]);
        text.push_str(&table.take());
        insta::assert_snapshot!(text, @r"
        NAME   N
        a     10  x
        longer name    1
        ä            100  y
        ");
    }
}
