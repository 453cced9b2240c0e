//! Tables of text, with aligned columns for a terminal, or as Markdown.
//!
//! The module uses the standard library alone, so that a program that is built without the kit can include this file by
//! its path.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "a program that includes the file uses only a part of it"
)]

use std::fmt::{self, Write};

/// The escape sequence of a terminal for red text.
pub const RED: &str = "\x1b[31m";
/// The escape sequence of a terminal for green text.
pub const GREEN: &str = "\x1b[32m";
const PLAIN: &str = "\x1b[0m";

/// The alignment of the cells of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Aligned to the left.
    Left,
    /// Aligned to the right.
    Right,
}

/// Rows of cells. A column is one character wider than its widest cell, and at least as wide as declared.
#[derive(Debug, Clone)]
pub struct TextTable {
    columns: Vec<(usize, Align)>,
    /// The cells of each row, and true for a title row, whose cells do not widen their columns.
    rows: Vec<(Vec<String>, bool)>,
}

impl TextTable {
    /// A table without rows. Each column has a minimum width in characters and an alignment.
    pub fn new(columns: impl IntoIterator<Item = (usize, Align)>) -> Self {
        Self {
            columns: columns.into_iter().collect(),
            rows: Vec::new(),
        }
    }

    /// A table for numbers. The first column has the minimum width `width` and is aligned to the left. The other
    /// columns have the minimum widths `others` and are aligned to the right.
    pub fn of_numbers(width: usize, others: impl IntoIterator<Item = usize>) -> Self {
        let others = others.into_iter().map(|width| (width, Align::Right));
        Self::new([(width, Align::Left)].into_iter().chain(others))
    }

    /// Appends a row. Missing cells are empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows
            .push((cells.into_iter().map(Into::into).collect(), false));
    }

    /// Appends a row that does not widen columns. A cell may extend over the empty cells after it.
    pub fn title(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows
            .push((cells.into_iter().map(Into::into).collect(), true));
    }

    /// The rows as a Markdown table. The first row is its head.
    pub fn markdown(&self) -> String {
        let columns = self.columns.iter().enumerate();
        let columns: Vec<_> = columns
            .map(|(column, (_, align))| (self.widest(column).max(3), *align))
            .collect();
        let mut text = String::new();
        for (index, (cells, _)) in self.rows.iter().enumerate() {
            let mut cells = cells.iter().map(String::as_str);
            for (width, align) in &columns {
                let cell = cells.next().unwrap_or_default();
                let blanks = " ".repeat(width - columns_of(cell));
                match align {
                    Align::Left => write!(text, "| {cell}{blanks} ").ok(),
                    Align::Right => write!(text, "| {blanks}{cell} ").ok(),
                };
            }
            text.push_str("|\n");
            if index == 0 {
                for (width, align) in &columns {
                    let end = if *align == Align::Left { '-' } else { ':' };
                    write!(text, "|{}{end}", "-".repeat(width + 1)).ok();
                }
                text.push_str("|\n");
            }
        }
        text
    }

    /// The width of the widest cell in a column.
    fn widest(&self, column: usize) -> usize {
        let rows = self.rows.iter().filter(|(_, is_title)| !is_title);
        let cells = rows.filter_map(|(cells, _)| cells.get(column));
        cells.map(|cell| columns_of(cell)).max().unwrap_or(0)
    }
}

impl fmt::Display for TextTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut end = 0;
        let mut columns = Vec::new();
        for (column, (least, align)) in self.columns.iter().enumerate() {
            let begin = end;
            end += (self.widest(column) + 1).max(*least);
            columns.push((begin, end, *align));
        }
        for (cells, _) in &self.rows {
            let mut line = String::new();
            for (cell, (begin, end, align)) in cells.iter().zip(&columns) {
                let place = match align {
                    Align::Left => *begin,
                    Align::Right => end.saturating_sub(columns_of(cell)),
                };
                line.push_str(&" ".repeat(place.saturating_sub(columns_of(&line))));
                line.push_str(cell);
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// The text with the escape sequences of a colour around it.
pub fn colored(text: &str, color: &str) -> String {
    format!("{color}{text}{PLAIN}")
}

/// The number of characters that a terminal shows: all characters except the escape sequences of colours.
fn columns_of(text: &str) -> usize {
    let mut parts = text.split('\x1b');
    let plain = parts.next().unwrap_or_default().chars().count();
    let after_escapes = parts.map(|part| part.split_once('m').map_or(0, |(_, rest)| rest.chars().count()));
    plain + after_escapes.sum::<usize>()
}
