//! The matrix at the end: crash points by outcome, a table for each kind of case, and the counts of events.
//!
//! A cell says how many of its cases passed; a line fits 100 columns.

use std::fmt::Write;

use tidaldb::testing::oracle::Counts;

const ROW_NAME_WIDTH: usize = 24;
const CELL_WIDTH: usize = 8;
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const PLAIN: &str = "\x1b[0m";

/// Where a case stands in the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) table: String,
    pub(crate) row: String,
    /// Columns that stand together, such as those of a policy.
    pub(crate) group: String,
    pub(crate) column: String,
}

/// A case that has ended, as the tables see it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) place: Place,
    pub(crate) counts: Counts,
    pub(crate) passed: bool,
}

/// The tables of all `entries`, in the order in which their names first appear.
pub(crate) fn render(entries: &[Entry], colored: bool) -> String {
    let mut text = String::new();
    let tables = in_order(entries.iter().map(|entry| entry.place.table.as_str()));
    for table in &tables {
        let of_table: Vec<&Entry> = entries
            .iter()
            .filter(|entry| entry.place.table == *table)
            .collect();
        render_table(&mut text, table, &of_table, colored);
        text.push('\n');
    }
    render_counts(&mut text, &tables, entries, colored);
    text
}

fn render_table(text: &mut String, table: &str, entries: &[&Entry], colored: bool) {
    let columns = in_order(
        entries
            .iter()
            .map(|entry| (entry.place.group.as_str(), entry.place.column.as_str())),
    );
    let groups = in_order(columns.iter().map(|(group, _)| *group));
    let columns: Vec<_> = groups
        .iter()
        .flat_map(|group| columns.iter().copied().filter(move |(of, _)| of == group))
        .collect();
    let of_group = |group: &str| columns.iter().filter(move |(of, _)| *of == group).count();
    let width = |(group, column): (&str, &str)| {
        let title_share = (group.len() + 1).div_ceil(of_group(group).max(1));
        title_share.max(column.len() + 1).max(CELL_WIDTH)
    };
    line(text, |line| {
        pad(line, table, ROW_NAME_WIDTH);
        for group in &groups {
            let of_group = columns.iter().copied().filter(|(of, _)| of == group);
            pad(line, group, of_group.map(width).sum());
        }
    });
    line(text, |line| {
        pad(line, "", ROW_NAME_WIDTH);
        for &(group, column) in &columns {
            pad(line, column, width((group, column)));
        }
    });
    for row in in_order(entries.iter().map(|entry| entry.place.row.as_str())) {
        line(text, |line| {
            pad(line, row, ROW_NAME_WIDTH);
            for &(group, column) in &columns {
                let cell = entries.iter().filter(|entry| {
                    let place = &entry.place;
                    place.row == row && place.group == group && place.column == column
                });
                let (passed, all) = cell.fold((0, 0), |(passed, all), entry| {
                    (passed + usize::from(entry.passed), all + 1)
                });
                render_cell(line, (passed, all), width((group, column)), colored);
            }
        });
    }
}

fn render_cell(line: &mut String, cell: (usize, usize), width: usize, colored: bool) {
    let (content, color) = match cell {
        (_, 0) => ("-".to_owned(), PLAIN),
        (passed, all) if passed == all => (format!("{all} ok"), GREEN),
        (passed, all) => (format!("{}/{all} BAD", all - passed), RED),
    };
    if colored {
        line.push_str(color);
    }
    pad(line, &content, width);
    if colored {
        line.push_str(PLAIN);
    }
}

fn render_counts(text: &mut String, tables: &[&str], entries: &[Entry], colored: bool) {
    line(text, |line| {
        pad(line, "events", ROW_NAME_WIDTH);
        for title in ["acknowledged", "recovered", "lost", "doubled", "half"] {
            pad_left(line, title);
        }
    });
    let mut sum = Counts::default();
    for table in tables {
        let mut counts = Counts::default();
        for entry in entries.iter().filter(|entry| entry.place.table == *table) {
            counts += entry.counts;
        }
        sum += counts;
        counts_line(text, table, counts, colored);
    }
    if tables.len() > 1 {
        counts_line(text, "all", sum, colored);
    }
}

fn counts_line(text: &mut String, name: &str, counts: Counts, colored: bool) {
    line(text, |line| {
        pad(line, name, ROW_NAME_WIDTH);
        pad_left(line, &counts.acknowledged.to_string());
        pad_left(line, &counts.recovered.to_string());
        for wrong in [counts.lost, counts.doubled, counts.half] {
            if colored && wrong > 0 {
                line.push_str(RED);
            }
            pad_left(line, &wrong.to_string());
            if colored && wrong > 0 {
                line.push_str(PLAIN);
            }
        }
    });
}

/// Each value once, in order of first appearance.
fn in_order<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

fn line(text: &mut String, fill: impl FnOnce(&mut String)) {
    let mut line = String::new();
    fill(&mut line);
    text.push_str(line.trim_end());
    text.push('\n');
}

fn pad(line: &mut String, content: &str, width: usize) {
    write!(line, "{content:<width$}").ok();
}

fn pad_left(line: &mut String, content: &str) {
    write!(line, "{content:>14}").ok();
}
