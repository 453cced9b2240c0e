//! The report in a terminal: a sentence, the matrix, what was left out, each finding with its replay line.

use std::fmt;

use super::matrix::Counts;
use super::text::{Visible, cut, duration, grouped, left_out, rate};
use super::{FINDINGS_SHOWN_MAX, Report, Totals};

/// A [`Report`] for a terminal. No line but those of findings is over 100 columns.
#[derive(Debug, Clone, Copy)]
pub struct Terminal<'a>(pub(super) &'a Report);

const NAME_COLUMNS: usize = 28;
const NUMBER_COLUMNS: usize = 13;

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
    head(f, "crash point")?;
    for (point, counts) in &report.matrix.points {
        line(f, point.name(), counts)?;
    }
    writeln!(f)?;
    head(f, "disk operation, both sides")?;
    for (kind, counts) in &report.matrix.kinds {
        line(f, &kind.to_string(), counts)?;
    }
    Ok(())
}

fn head(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    write!(f, "{name:NAME_COLUMNS$}")?;
    for title in [
        "in the work",
        "✓ recovered",
        "✗ findings",
        "– left out",
        "in recovery",
    ] {
        write!(f, "{title:>NUMBER_COLUMNS$}")?;
    }
    writeln!(f)
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, counts: &Counts) -> fmt::Result {
    write!(f, "{name:NAME_COLUMNS$}")?;
    if !counts.is_reached() {
        return writeln!(f, "{:>NUMBER_COLUMNS$}", "· not reached");
    }
    let numbers = [
        counts.in_work,
        counts.recovered,
        counts.findings,
        counts.left_out,
        counts.in_recoveries,
    ];
    for number in numbers {
        write!(f, "{:>NUMBER_COLUMNS$}", grouped(number))?;
    }
    writeln!(f)
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
