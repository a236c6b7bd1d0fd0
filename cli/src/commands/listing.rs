//! Rows that are printed as they come.

use serde::Serialize;

use super::Context;
use crate::args::Output;
use crate::render::table::{Align, Table};

/// Rows that are aligned together: a longer listing is printed piece by piece.
const ROWS_ALIGNED: usize = 1000;

/// A table for people, or a document a line for programs.
pub(super) struct Listing<const COLUMNS: usize> {
    table: Table<COLUMNS>,
    is_empty: bool,
}

impl<const COLUMNS: usize> Listing<COLUMNS> {
    pub(super) fn new(columns: &[(&str, Align); COLUMNS]) -> Self {
        Self {
            table: Table::new(columns),
            is_empty: true,
        }
    }

    /// Whether no row was added.
    pub(super) fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Adds a row, given in both forms.
    pub(super) fn add(
        &mut self,
        cells: [String; COLUMNS],
        json: &impl Serialize,
        context: &mut Context<'_>,
    ) -> anyhow::Result<()> {
        self.is_empty = false;
        match context.output {
            Output::Table => self.table.row(cells),
            Output::Json => context.print_json(json)?,
        }
        if self.table.pending() >= ROWS_ALIGNED {
            context.print(&self.table.take())?;
        }
        Ok(())
    }

    /// Prints what is left, whatever ended the listing, and passes on what did; the head alone only of a listing
    /// that is complete.
    pub(super) fn end<T>(
        mut self,
        done: anyhow::Result<T>,
        context: &mut Context<'_>,
    ) -> anyhow::Result<T> {
        if context.output == Output::Table && (done.is_ok() || !self.is_empty) {
            context.print(&self.table.take())?;
        }
        done
    }
}
