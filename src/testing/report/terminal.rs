//! The report in a terminal: a sentence, the matrix, what was left out, each finding with its replay line.

use std::fmt;

use super::matrix::Counts;
use super::table::TextTable;
use super::text::{Visible, cut, duration, grouped, left_out, rate};
use super::{FINDINGS_SHOWN_MAX, Report, Totals};

/// A [`Report`] for a terminal. No line but those of findings is over 100 columns.
#[derive(Debug, Clone, Copy)]
pub struct Terminal<'a>(pub(super) &'a Report);

const NAME_COLUMNS: usize = 28;
const NUMBER_COLUMNS: usize = 14;

impl fmt::Display for Terminal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(report) = *self;
        let shown = report.findings().take(FINDINGS_SHOWN_MAX);
        for (number, (sweep, finding)) in shown.enumerate() {
            let text = finding.to_string();
            writeln!(
                f,
                "✗ finding {} in sweep {}: {}\n",
                number + 1,
                sweep + 1,
                Visible(&text)
            )?;
        }
        matrix(f, report)?;
        writeln!(f)?;
        for line in sentence(&report.totals, report.sweeps.len()) {
            writeln!(f, "{line}")?;
        }
        let items = left_out(&report.totals.left_out);
        for (count, what, why) in &items {
            writeln!(f, "– left out: {} {what}", grouped(*count))?;
            writeln!(f, "            ({why})")?;
        }
        if items.is_empty() {
            writeln!(f, "Nothing was left out.")?;
        }
        let hidden = report.totals.findings.saturating_sub(FINDINGS_SHOWN_MAX as u64);
        if hidden > 0 {
            writeln!(f, "{} more findings are not shown.", grouped(hidden))?;
        }
        match report.why_not() {
            // The reason can hold text of the workload.
            Some(why) => write!(f, "✗ not clean: {}", cut(&Visible(&why).to_string(), 80)),
            None => f.write_str("✓ clean"),
        }
    }
}

fn matrix(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let points = report.matrix.points.iter();
    let kinds = report.matrix.kinds.iter();
    let points = table(
        "crash point",
        points.map(|(point, counts)| (point.name().to_owned(), counts)),
    );
    let kinds = table(
        "disk operation, both sides",
        kinds.map(|(kind, counts)| (kind.to_string(), counts)),
    );
    write!(f, "{points}\n{kinds}")
}

fn table<'a>(title: &str, lines: impl Iterator<Item = (String, &'a Counts)>) -> TextTable {
    let mut table = TextTable::of_numbers(NAME_COLUMNS, [NUMBER_COLUMNS; 5]);
    table.row([
        title,
        "in the work",
        "✓ recovered",
        "✗ findings",
        "– left out",
        "in recovery",
    ]);
    for (name, counts) in lines {
        if !counts.is_reached() {
            table.row([name.as_str(), "· not reached"]);
            continue;
        }
        let numbers = [
            counts.in_work,
            counts.recovered,
            counts.findings,
            counts.left_out,
            counts.in_recoveries,
        ];
        table.row([name].into_iter().chain(numbers.map(grouped)));
    }
    table
}

/// What was done, in sentences.
pub(super) fn sentence(totals: &Totals, sweeps_len: usize) -> [String; 4] {
    let sum = |count: u64| grouped(count);
    [
        format!(
            "{} of {} with {} sites in {}.",
            super::text::counted(sweeps_len as u64, "sweep", "sweeps"),
            super::text::counted(
                totals.acknowledged,
                "acknowledged operation",
                "acknowledged operations"
            ),
            sum(totals.sites),
            duration(totals.elapsed),
        ),
        format!(
            "{} recoveries a second, {} distinct images a second and thread.",
            rate(totals.per_second()),
            rate(totals.distinct_per_second_and_thread()),
        ),
        format!(
            "{} images, {} of them distinct within their sweep, {} recoveries, {} findings.",
            sum(totals.images),
            sum(totals.distinct),
            sum(totals.recoveries),
            sum(totals.findings),
        ),
        format!(
            "{} crashes in recoveries, {} deaths of the device, {} recovered disks gone on with.",
            sum(totals.nested),
            sum(totals.deaths),
            sum(totals.gone_on),
        ),
    ]
}
