//! The report in a terminal: each finding with its replay line, the matrix, sentences, and the counts of left-out
//! images and sites. Only lines of findings are longer than 100 columns.

use std::fmt::Write;

use super::table::TextTable;
use super::text::{EscapedText, counted, cut, duration, grouped, left_out, rate};
use super::{FINDINGS_SHOWN_MAX, Report, ReportTotals};

const COLUMNS: &str = "in the work|✓ recovered|✗ findings|– left out|in recovery";

impl Report {
    /// The matrix and the findings, for a terminal of 100 columns.
    pub fn terminal(&self) -> String {
        let mut text = String::new();
        for (number, (sweep, finding)) in (1..).zip(self.findings().take(FINDINGS_SHOWN_MAX)) {
            let finding = finding.to_string();
            writeln!(
                text,
                "✗ finding {number} in sweep {}: {}\n",
                sweep + 1,
                EscapedText(&finding)
            )
            .ok();
        }
        for (matrix, title) in self
            .matrix
            .tables()
            .into_iter()
            .zip(["crash point", "disk operation, both sides"])
        {
            let mut table = TextTable::of_numbers(28, [14; 5]);
            table.row([title].into_iter().chain(COLUMNS.split('|')));
            for (_, name, counts) in matrix.lines {
                if counts.is_reached() {
                    table.row([name].into_iter().chain(counts.numbers().map(grouped)));
                } else {
                    table.row([name.as_str(), "· not reached"]);
                }
            }
            writeln!(text, "{table}").ok();
        }
        for line in sentences(&self.totals, self.sweeps.len()) {
            writeln!(text, "{line}").ok();
        }
        let items = left_out(&self.totals.left_out);
        for (count, unit, reason) in &items {
            writeln!(
                text,
                "– left out: {} {unit}\n            ({reason})",
                grouped(*count)
            )
            .ok();
        }
        if items.is_empty() {
            text += "Nothing was left out.\n";
        }
        let hidden = self.totals.findings.saturating_sub(FINDINGS_SHOWN_MAX as u64);
        if hidden > 0 {
            writeln!(text, "{} more findings are not shown.", grouped(hidden)).ok();
        }
        match self.reason_not_clean() {
            // The reason may contain text of the workload.
            Some(why) => text + "✗ not clean: " + &cut(&EscapedText(&why).to_string(), 80),
            None => text + "✓ clean",
        }
    }
}

/// The totals in sentences.
pub(super) fn sentences(totals: &ReportTotals, sweeps_len: usize) -> [String; 4] {
    let operations = ["acknowledged operation", "acknowledged operations"];
    [
        format!(
            "{} of {} with {} sites in {}.",
            counted(sweeps_len as u64, "sweep", "sweeps"),
            counted(totals.acknowledged, operations[0], operations[1]),
            grouped(totals.sites),
            duration(totals.elapsed),
        ),
        format!(
            "{} recoveries a second, {} distinct images a second and thread.",
            rate(totals.per_second()),
            rate(totals.distinct_per_second_and_thread()),
        ),
        format!(
            "{} images, {} of them distinct within their sweep, {} recoveries, {} findings.",
            grouped(totals.images),
            grouped(totals.distinct),
            grouped(totals.recoveries),
            grouped(totals.findings),
        ),
        format!(
            "{} crashes in recoveries, {} disk faults, {} runs continued after recovery.",
            grouped(totals.nested),
            grouped(totals.faults),
            grouped(totals.continued),
        ),
    ]
}
