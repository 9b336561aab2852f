//! How do rows become columns of text?

use comfy_table::{Cell, CellAlignment, Table, presets};

/// A table without lines: texts to the left, figures to the right.
pub(super) struct Columns {
    table: Table,
    figures_from: usize,
}

impl Columns {
    /// Makes a table with these headings; columns from `figures_from` on hold
    /// figures.
    pub(super) fn new(headings: &[&str], figures_from: usize) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let mut columns = Self {
            table,
            figures_from,
        };
        let cells = columns.cells(headings.iter().map(|text| (*text).to_owned()));
        columns.table.set_header(cells);
        columns
    }

    /// Adds a row.
    pub(super) fn row(&mut self, texts: impl IntoIterator<Item = String>) {
        let cells = self.cells(texts);
        self.table.add_row(cells);
    }

    fn cells(&self, texts: impl IntoIterator<Item = String>) -> Vec<Cell> {
        texts
            .into_iter()
            .enumerate()
            .map(|(column, text)| {
                Cell::new(text).set_alignment(if column < self.figures_from {
                    CellAlignment::Left
                } else {
                    CellAlignment::Right
                })
            })
            .collect()
    }
}

impl std::fmt::Display for Columns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in self.table.lines() {
            writeln!(f, " {}", line.trim_end())?;
        }
        Ok(())
    }
}
