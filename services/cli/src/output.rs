//! Standard output: results, for people as tables and for programs as lines of JSON.
//!
//! Owns every write to it. Never writes a remark there: those go to standard error.

use std::io::{self, Write as _};

use anyhow::Context as _;
use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;

use crate::failure::OutputClosed;
use crate::terminal::inert;

/// Writes bytes as they are.
pub(crate) fn bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(OutputClosed.into()),
        written => written.context("standard output cannot be written"),
    }
}

/// Writes a line.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    bytes(format!("{text}\n").as_bytes())
}

/// Writes one document as one line of JSON.
pub(crate) fn json(document: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string(document).context("a result cannot be written as JSON")?)
}

/// How a column is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// Text.
    Left(&'static str),
    /// Numbers.
    Right(&'static str),
}

/// A table without lines, so that it can be read by eye, by grep and by awk.
///
/// Ids are never broken over lines: they are there to be copied.
pub(crate) fn table(columns: &[Column], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).force_no_tty();
    table.set_header(columns.iter().map(|column| match column {
        Column::Left(name) | Column::Right(name) => Cell::new(name),
    }));
    for row in rows {
        table.add_row(row.iter().map(|text| inert(text)).collect::<Vec<_>>());
    }
    for (index, column) in columns.iter().enumerate() {
        if let Some(laid) = table.column_mut(index) {
            laid.set_padding((0, 2));
            if matches!(column, Column::Right(_)) {
                laid.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.trim_fmt()
}

/// Fields of one thing, a line each.
pub(crate) fn fields(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let line = |(name, value): &(&str, String)| format!("{name:width$}  {}", inert(value));
    fields.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Text that fits into a column.
pub(crate) fn shortened(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up() {
        let rows = [vec!["alpha".to_owned(), "3".to_owned()], vec!["be\nta".to_owned(), "12".to_owned()]];
        let text = table(&[Column::Left("repository"), Column::Right("files")], rows);
        assert_eq!(text, "repository  files\nalpha           3\nbe ta          12");
    }

    #[test]
    fn fields_line_up() {
        assert_eq!(fields(&[("id", "a".into()), ("state", "b".into())]), "id     a\nstate  b");
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        assert_eq!(shortened("äöü", 2), "äö…");
        assert_eq!(shortened("äöü", 3), "äöü");
    }
}
