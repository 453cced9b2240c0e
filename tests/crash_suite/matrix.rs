//! The matrix at the end of a run: one table for each kind of case, with a row for each crash point, and the counts of
//! events.
//!
//! A cell shows the number of its cases, or the number of its failed cases. A line has at most 100 columns.

use std::fmt::Write;

use tidaldb::testing::lab::table::{Align, GREEN, RED, TextTable, colored};
use tidaldb::testing::oracle::Counts;

const ROW_NAME_WIDTH: usize = 24;
const CELL_WIDTH: usize = 8;
const COUNT_WIDTH: usize = 14;

/// The cell of a case in the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MatrixPlace {
    pub(crate) table: String,
    pub(crate) row: String,
    /// The group of adjacent columns, such as the columns of a policy.
    pub(crate) group: String,
    pub(crate) column: String,
}

/// The result of a case that has ended, for the tables.
#[derive(Debug, Clone)]
pub(crate) struct MatrixEntry {
    pub(crate) place: MatrixPlace,
    pub(crate) counts: Counts,
    pub(crate) passed: bool,
}

/// The tables of all `entries`, in the order in which their names first appear.
pub(crate) fn render(entries: &[MatrixEntry], is_colored: bool) -> String {
    let mut text = String::new();
    let tables = in_order(entries.iter().map(|entry| entry.place.table.as_str()));
    for table in &tables {
        let of_table: Vec<&MatrixEntry> = entries
            .iter()
            .filter(|entry| entry.place.table == *table)
            .collect();
        writeln!(text, "{}", render_table(table, &of_table, is_colored)).ok();
    }
    text + &render_counts(&tables, entries, is_colored).to_string()
}

fn render_table(title: &str, entries: &[&MatrixEntry], is_colored: bool) -> TextTable {
    let columns = in_order(
        entries
            .iter()
            .map(|entry| (entry.place.group.as_str(), entry.place.column.as_str())),
    );
    let groups = in_order(columns.iter().map(|(group, _)| *group));
    let of_group = |group: &str| -> Vec<_> {
        let columns = columns.iter().copied();
        columns.filter(|(of, _)| *of == group).collect()
    };
    let mut widths = vec![ROW_NAME_WIDTH];
    let mut heads = [vec![title], vec![""]];
    for group in &groups {
        let columns = of_group(group);
        // The columns of a group are together wide enough for its name.
        let width = (group.len() + 1).div_ceil(columns.len()).max(CELL_WIDTH);
        widths.extend(columns.iter().map(|_| width));
        heads[0].push(group);
        heads[0].resize(widths.len(), "");
        heads[1].extend(columns.iter().map(|(_, column)| *column));
    }
    let mut table = TextTable::new(widths.into_iter().map(|width| (width, Align::Left)));
    let [group_names, column_names] = heads;
    table.title(group_names);
    table.row(column_names);
    for row in in_order(entries.iter().map(|entry| entry.place.row.as_str())) {
        let mut cells = vec![row.to_owned()];
        for (group, column) in groups.iter().flat_map(|group| of_group(group)) {
            let cell = entries.iter().filter(|entry| {
                let place = &entry.place;
                place.row == row && place.group == group && place.column == column
            });
            let (passed, all) = cell.fold((0, 0), |(passed, all), entry| {
                (passed + usize::from(entry.passed), all + 1)
            });
            cells.push(render_cell(passed, all, is_colored));
        }
        table.row(cells);
    }
    table
}

fn render_cell(passed: usize, all: usize, is_colored: bool) -> String {
    let (content, color) = match all {
        0 => return "-".to_owned(),
        _ if passed == all => (format!("{all} ok"), GREEN),
        _ => (format!("{}/{all} BAD", all - passed), RED),
    };
    if is_colored {
        colored(&content, color)
    } else {
        content
    }
}

fn render_counts(tables: &[&str], entries: &[MatrixEntry], is_colored: bool) -> TextTable {
    let mut text = TextTable::of_numbers(ROW_NAME_WIDTH, [COUNT_WIDTH; 5]);
    text.row(["events", "acknowledged", "recovered", "lost", "doubled", "half"]);
    let mut row = |name: &str, counts: Counts| {
        let wrong = [counts.lost, counts.doubled, counts.half].map(|count| match count {
            1.. if is_colored => colored(&count.to_string(), RED),
            _ => count.to_string(),
        });
        let right = [counts.acknowledged, counts.recovered].map(|count| count.to_string());
        text.row([name.to_owned()].into_iter().chain(right).chain(wrong));
    };
    let mut sum = Counts::default();
    for table in tables {
        let mut counts = Counts::default();
        for entry in entries.iter().filter(|entry| entry.place.table == *table) {
            counts += entry.counts;
        }
        sum += counts;
        row(table, counts);
    }
    if tables.len() > 1 {
        row("all", sum);
    }
    text
}

/// Each distinct value once, in the order of the first occurrences.
fn in_order<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}
