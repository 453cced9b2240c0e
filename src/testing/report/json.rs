//! The report as JSON. `json.md` in this folder describes every field. Each function returns the text of a JSON value.

use std::fmt::{Display, Write};
use std::time::Duration;

use super::{Report, ReportTotals, ReportedSweep};
use crate::testing::sweep::{Finding, LeftOut, Progress};

/// Names of fields, each with the text of its value.
type JsonFields = Vec<(&'static str, String)>;

fn object(fields: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let fields = fields
        .into_iter()
        .map(|(name, value)| format!("{}:{value}", text(name)));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

/// An array with a line for each value, so that two files can be compared by lines.
fn lines(values: impl Iterator<Item = String>) -> String {
    let values = values.map(|value| format!("\n{value}"));
    format!("[{}]", values.collect::<Vec<_>>().join(","))
}

fn texts(values: impl IntoIterator<Item = impl Display>) -> String {
    format!("[{}]", values.into_iter().map(text).collect::<Vec<_>>().join(","))
}

fn text(value: impl Display) -> String {
    let mut text = "\"".to_owned();
    for character in value.to_string().chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\u{0}'..='\u{1f}' | '\u{7f}' => {
                write!(text, "\\u{:04x}", u32::from(character)).ok();
            }
            _ => text.push(character),
        }
    }
    text + "\""
}

fn or_null(value: Option<String>) -> String {
    value.unwrap_or_else(|| "null".to_owned())
}

fn seconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}

impl Report {
    /// The report as JSON:
    #[doc = include_str!("json.md")]
    pub fn json(&self) -> String {
        let mut fields = vec![
            ("format", text("tidaldb-crash-report")),
            ("version", "1".to_owned()),
            ("title", text(&self.title)),
        ];
        fields.extend(verdict(self.reason_not_clean()));
        let mut all = vec![("sweeps", self.sweeps.len().to_string())];
        all.extend(totals(&self.totals));
        fields.push(("running", or_null(self.running.as_ref().map(running))));
        fields.push(("totals", object(all)));
        for table in self.matrix.tables() {
            let [field, name_field] = table.fields;
            let names = ["in_work", "recovered", "findings", "left_out", "in_recoveries"];
            let table = table.lines.into_iter().map(|(_, name, counts)| {
                let counts = names
                    .into_iter()
                    .zip(counts.numbers().map(|count| count.to_string()));
                object([(name_field, text(name))].into_iter().chain(counts))
            });
            fields.push((field, lines(table)));
        }
        fields.push((
            "findings",
            lines(self.findings().map(|(sweep, it)| finding(sweep, it))),
        ));
        fields.push(("sweeps", lines(self.sweeps.iter().map(sweep))));
        object(fields) + "\n"
    }
}

fn verdict(reason: Option<String>) -> JsonFields {
    vec![
        ("is_ok", reason.is_none().to_string()),
        ("reason", or_null(reason.map(text))),
    ]
}

fn running(progress: &Progress) -> String {
    object([
        ("phase", text(progress.phase.name())),
        ("done", progress.done.to_string()),
        ("total", progress.total.to_string()),
        ("images", progress.images.to_string()),
        ("distinct", progress.distinct.to_string()),
        ("recoveries", progress.recoveries.to_string()),
        ("findings", progress.findings.to_string()),
        ("seconds", seconds(progress.elapsed)),
    ])
}

fn totals(totals: &ReportTotals) -> JsonFields {
    let rate = |rate: f64| format!("{rate:.1}");
    vec![
        ("sites", totals.sites.to_string()),
        ("acknowledged", totals.acknowledged.to_string()),
        ("images", totals.images.to_string()),
        ("distinct", totals.distinct.to_string()),
        ("recoveries", totals.recoveries.to_string()),
        ("continued", totals.continued.to_string()),
        ("nested", totals.nested.to_string()),
        ("faults", totals.faults.to_string()),
        ("findings", totals.findings.to_string()),
        ("seconds", seconds(totals.elapsed)),
        ("per_second", rate(totals.per_second())),
        (
            "distinct_per_second_and_thread",
            rate(totals.distinct_per_second_and_thread()),
        ),
        ("left_out", left_out(&totals.left_out)),
    ]
}

fn left_out(left_out: &LeftOut) -> String {
    object([
        ("sites", left_out.sites.to_string()),
        ("images", left_out.images.to_string()),
        ("recoveries", left_out.recoveries.to_string()),
        ("nested_images", left_out.nested_images.to_string()),
        ("faults", left_out.faults.to_string()),
        ("fault_images", left_out.fault_images.to_string()),
    ])
}

fn finding(sweep: usize, finding: &Finding) -> String {
    let image_dir = finding.image_dir.as_ref();
    object([
        ("sweep", sweep.to_string()),
        ("kind", text(finding.failure.kind)),
        ("message", text(&finding.failure.message)),
        ("plan", text(&finding.plan)),
        ("shrunk", or_null(finding.shrunk.as_ref().map(text))),
        ("replay", text(finding.replay_line())),
        ("models", texts(&finding.models)),
        ("test", text(finding.test_to_paste())),
        ("image_dir", or_null(image_dir.map(|dir| text(dir.display())))),
    ])
}

fn sweep(reported: &ReportedSweep) -> String {
    let sweep = &reported.report;
    let mut own = ReportTotals::default();
    own.add(sweep);
    own.sites = reported.sites_len as u64;
    let coverage = object([
        ("points_missed", texts(&sweep.coverage.points_missed)),
        ("kinds_missed", texts(&sweep.coverage.kinds_missed)),
        ("sites_missed", sweep.coverage.sites_missed.to_string()),
    ]);
    let mut fields = vec![("plan", text(&sweep.plan)), ("seed", sweep.seed.to_string())];
    fields.extend(verdict(sweep.reason_not_clean()));
    fields.extend(totals(&own));
    fields.push(("coverage", coverage));
    fields.push(("map", or_null(reported.has_map().then(|| map(reported)))));
    object(fields)
}

fn map(reported: &ReportedSweep) -> String {
    let sites = reported.report.sites.iter().zip(&reported.outcomes);
    let sites = sites.map(|(site, outcome)| {
        object([
            ("site", text(site.site)),
            ("description", text(&site.description)),
            (
                "operation",
                or_null(site.operation.map(|index| index.to_string())),
            ),
            ("crash_position", site.crash_position.to_string()),
            ("disk_operations", site.disk_operations_len.to_string()),
            ("images", site.images.to_string()),
            ("distinct", site.distinct.to_string()),
            ("outcome", text(outcome.texts()[2])),
            ("failures", texts(&site.failures)),
        ])
    });
    object([
        ("operations", texts(&reported.report.operations)),
        ("sites", lines(sites)),
    ])
}
