//! The report as JSON: a tree of values made of the report, and its text. `json.md` beside this file describes every field.

use std::fmt::{Display, Write};
use std::time::Duration;

use super::matrix::Counts;
use super::{Outcome, Report, Swept, Totals};
use crate::testing::sweep::{Finding, LeftOut, Progress};

/// A value.
enum Json {
    /// A number, a boolean or null, as it is written.
    Plain(String),
    Text(String),
    Array(Vec<Self>),
    /// An array with a line for each value, so that files can be compared by lines.
    Lines(Vec<Self>),
    Object(Fields),
}

type Fields = Vec<(&'static str, Json)>;

fn plain(value: impl Display) -> Json {
    Json::Plain(value.to_string())
}

fn null() -> Json {
    plain("null")
}

fn text(value: impl Display) -> Json {
    Json::Text(value.to_string())
}

fn text_or_null(value: Option<impl Display>) -> Json {
    value.map_or_else(null, text)
}

fn seconds(time: Duration) -> Json {
    plain(format_args!("{:.3}", time.as_secs_f64()))
}

fn texts(values: impl IntoIterator<Item = impl Display>) -> Json {
    Json::Array(values.into_iter().map(text).collect())
}

fn objects(values: impl Iterator<Item = Fields>) -> Json {
    Json::Lines(values.map(Json::Object).collect())
}

/// Fields that are whole numbers.
fn numbers<const LEN: usize>(fields: [(&'static str, u64); LEN]) -> Fields {
    fields.map(|(key, number)| (key, plain(number))).into()
}

/// Fields of several parts, one after the other.
fn joined<const LEN: usize>(parts: [Fields; LEN]) -> Fields {
    parts.into_iter().flatten().collect()
}

impl Json {
    fn write(&self, out: &mut String) {
        match self {
            Self::Plain(text) => out.push_str(text),
            Self::Text(text) => write_text(text, out),
            Self::Array(values) => write_list(out, ["[", "]"], values, Self::write),
            Self::Lines(values) => write_list(out, ["[", "]"], values, |value, out| {
                out.push('\n');
                value.write(out);
            }),
            Self::Object(fields) => write_list(out, ["{", "}"], fields, |(key, value), out| {
                write_text(key, out);
                out.push(':');
                value.write(out);
            }),
        }
    }
}

fn write_list<T>(out: &mut String, [open, close]: [&str; 2], items: &[T], write: impl Fn(&T, &mut String)) {
    out.push_str(open);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(item, out);
    }
    out.push_str(close);
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\u{0}'..='\u{1f}' | '\u{7f}' => {
                write!(out, "\\u{:04x}", u32::from(character)).ok();
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

pub(super) fn of(report: &Report) -> String {
    let points = report.matrix.points.iter();
    let kinds = report.matrix.kinds.iter();
    let fields = joined([
        vec![
            ("format", text("tidaldb-crash-report")),
            ("version", plain(1)),
            ("title", text(&report.title)),
        ],
        verdict(report.why_not()),
        vec![
            (
                "running",
                report
                    .running
                    .as_ref()
                    .map_or_else(null, |it| Json::Object(running(it))),
            ),
            (
                "totals",
                Json::Object(joined([
                    numbers([("sweeps", report.sweeps.len() as u64)]),
                    totals(&report.totals),
                ])),
            ),
            (
                "points",
                objects(points.map(|(point, line)| joined([vec![("point", text(point))], counts(line)]))),
            ),
            (
                "disk_operations",
                objects(kinds.map(|(kind, line)| joined([vec![("kind", text(kind))], counts(line)]))),
            ),
            (
                "findings",
                objects(report.findings().map(|(sweep, it)| finding(sweep, it))),
            ),
            ("sweeps", objects(report.sweeps.iter().map(sweep))),
        ],
    ]);
    let mut out = String::new();
    Json::Object(fields).write(&mut out);
    out + "\n"
}

fn verdict(why_not: Option<String>) -> Fields {
    vec![
        ("is_ok", plain(why_not.is_none())),
        ("why_not", text_or_null(why_not)),
    ]
}

fn running(progress: &Progress) -> Fields {
    joined([
        vec![("phase", text(progress.phase.name()))],
        numbers([
            ("done", progress.done as u64),
            ("total", progress.total as u64),
            ("images", progress.images),
            ("distinct", progress.distinct),
            ("recoveries", progress.recoveries),
            ("findings", progress.findings),
        ]),
        vec![("seconds", seconds(progress.elapsed))],
    ])
}

fn totals(totals: &Totals) -> Fields {
    let rate = |rate: f64| plain(format_args!("{rate:.1}"));
    joined([
        numbers([
            ("sites", totals.sites),
            ("acknowledged", totals.acknowledged),
            ("images", totals.images),
            ("distinct", totals.distinct),
            ("recoveries", totals.recoveries),
            ("gone_on", totals.gone_on),
            ("nested", totals.nested),
            ("deaths", totals.deaths),
            ("findings", totals.findings),
        ]),
        vec![
            ("seconds", seconds(totals.elapsed)),
            ("per_second", rate(totals.per_second())),
            (
                "distinct_per_second_and_thread",
                rate(totals.distinct_per_second_and_thread()),
            ),
            ("left_out", Json::Object(left_out(&totals.left_out))),
        ],
    ])
}

fn left_out(left_out: &LeftOut) -> Fields {
    vec![
        ("sites", plain(left_out.sites)),
        ("images", plain(left_out.images)),
        ("recoveries", plain(left_out.recoveries)),
        ("nested_images", plain(left_out.nested_images)),
        ("deaths", plain(left_out.deaths)),
    ]
}

fn counts(counts: &Counts) -> Fields {
    numbers([
        ("in_work", counts.in_work),
        ("recovered", counts.recovered),
        ("findings", counts.findings),
        ("left_out", counts.left_out),
        ("in_recoveries", counts.in_recoveries),
    ])
}

fn finding(sweep: usize, finding: &Finding) -> Fields {
    let image_dir = finding.image_dir.as_ref();
    vec![
        ("sweep", plain(sweep)),
        ("kind", text(finding.failure.kind)),
        ("message", text(&finding.failure.message)),
        ("plan", text(&finding.plan)),
        ("shrunk", text_or_null(finding.shrunk.as_ref())),
        ("replay", text(finding.replay_line())),
        ("test", text(finding.test_to_paste())),
        ("image_dir", text_or_null(image_dir.map(|dir| dir.display()))),
    ]
}

fn sweep(swept: &Swept) -> Fields {
    let sweep = &swept.report;
    let mut own = Totals::default();
    own.add(sweep);
    own.sites = swept.sites_len as u64;
    let coverage = vec![
        ("points_missed", texts(&sweep.coverage.points_missed)),
        ("kinds_missed", texts(&sweep.coverage.kinds_missed)),
        ("sites_missed", plain(sweep.coverage.sites_missed)),
    ];
    let map = if swept.has_map() {
        Json::Object(map(swept))
    } else {
        null()
    };
    joined([
        vec![("plan", text(&sweep.plan)), ("seed", plain(sweep.seed))],
        verdict(sweep.why_not()),
        totals(&own),
        vec![("coverage", Json::Object(coverage)), ("map", map)],
    ])
}

fn map(swept: &Swept) -> Fields {
    let sites = swept.report.sites.iter().zip(&swept.outcomes);
    let sites = sites.map(|(site, outcome)| {
        let outcome = match outcome {
            Outcome::Recovered => "recovered",
            Outcome::Known => "known",
            Outcome::Finding => "finding",
            Outcome::LeftOut => "left_out",
        };
        vec![
            ("site", text(site.site)),
            ("what", text(&site.what)),
            ("operation", site.operation.map_or_else(null, plain)),
            ("moment", plain(site.moment)),
            ("position", plain(site.position)),
            ("images", plain(site.images)),
            ("distinct", plain(site.distinct)),
            ("outcome", text(outcome)),
            ("failures", texts(&site.failures)),
        ]
    });
    vec![
        ("operations", texts(&swept.report.operations)),
        ("sites", objects(sites)),
    ]
}
