//! The findings on the page: those with the same failure together, long ones folded.

use super::html::{element, escaped, folded};
use super::text::{counted, grouped};
use super::{FINDINGS_SHOWN_MAX, Report};
use crate::testing::sweep::Finding;

/// How many findings are shown unfolded.
const FINDINGS_OPEN_MAX: usize = 6;
/// How many lines of a finding's message are shown unfolded.
const MESSAGE_LINES_MAX: usize = 4;
/// How many replay lines of further cases with the same failure are shown.
const ALIKE_SHOWN_MAX: usize = 20;

/// Findings with the same failure, each with the index of its sweep. The first one is shown in full; there is at least one.
pub(super) struct EqualFindings<'a>(pub(super) Vec<(usize, &'a Finding)>);

impl<'a> EqualFindings<'a> {
    pub(super) fn of(report: &'a Report) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for (sweep, finding) in report.findings() {
            let place = all.iter().position(|it| it.0[0].1.failure == finding.failure);
            match place {
                Some(place) => all[place].0.push((sweep, finding)),
                None if all.len() < FINDINGS_SHOWN_MAX => all.push(Self(vec![(sweep, finding)])),
                None => {}
            }
        }
        all
    }
}

pub(super) fn section(report: &Report, alike: &[EqualFindings<'_>]) -> String {
    let articles: Vec<String> = (1..).zip(alike).map(|(number, it)| article(number, it)).collect();
    let (open, rest) = articles.split_at(articles.len().min(FINDINGS_OPEN_MAX));
    let mut text = "<h2 id=\"findings\">Findings</h2>\n".to_owned() + &open.concat();
    if !rest.is_empty() {
        let more = counted(rest.len() as u64, "other finding", "other findings");
        let summary = element("summary", more);
        text += &element("details", summary + &rest.concat());
    }
    let shown: u64 = alike.iter().map(|it| it.0.len() as u64).sum();
    if report.totals.findings > shown {
        let more = report.totals.findings - shown;
        let more = counted(more, "more failing case is", "more failing cases are");
        text += &element("p", format_args!("{more} not shown."));
    }
    text
}

fn article(number: usize, alike: &EqualFindings<'_>) -> String {
    let (sweep, finding) = alike.0[0];
    let kind = finding.failure.kind;
    let sweep = element("span class=\"soft small\"", format_args!("sweep {}", sweep + 1));
    let mut text =
        element("h3", format_args!("✗ {number}. {kind} {sweep}")) + &message(&finding.failure.message);
    let is_shrunk = finding.shrunk.is_some();
    let label = if is_shrunk {
        "Shrunk; replay with"
    } else {
        "Replay with"
    };
    text += &element("p class=\"small soft\"", label);
    text += &code_line(&finding.replay_line());
    if let Some(models) = finding.models_text() {
        let models = format_args!("Happens on {}", escaped(models));
        text += &element("p class=\"small\"", models);
    }
    if let Some(dir) = &finding.image_dir {
        let dir = element("code", escaped(dir.display()));
        text += &element(
            "p class=\"small\"",
            format_args!("The disk before recovery: {dir}"),
        );
    }
    if is_shrunk {
        text += &folded("as it was found", code_line(&finding.plan.replay_line()));
    }
    text += &folded(
        "as a test to paste",
        element("pre", escaped(finding.test_to_paste())),
    );
    let others = &alike.0[1..];
    if !others.is_empty() {
        let shown = others.iter().take(ALIKE_SHOWN_MAX);
        let mut lines: String = shown.map(|(_, other)| code_line(&other.replay_line())).collect();
        let hidden = others.len().saturating_sub(ALIKE_SHOWN_MAX);
        if hidden > 0 {
            let hidden = format!("{} more are not shown.", grouped(hidden as u64));
            lines += &element("p class=\"small\"", hidden);
        }
        let others = counted(others.len() as u64, "other case says", "other cases say");
        text += &folded(format_args!("{others} the same"), lines);
    }
    element(
        &format!("article class=\"finding\" id=\"finding-{number}\""),
        text,
    ) + "\n"
}

/// The message of a failure; long ones are folded after their beginning.
fn message(message: &str) -> String {
    let lines: Vec<&str> = message.lines().collect();
    let is_long = lines.len() > MESSAGE_LINES_MAX + 1;
    let (shown, rest) = lines.split_at(if is_long { MESSAGE_LINES_MAX } else { lines.len() });
    let paragraph = |lines: &[&str]| element("p class=\"message\"", escaped(lines.join("\n")));
    let mut text = paragraph(shown);
    if !rest.is_empty() {
        let more = format!("{} more lines", grouped(rest.len() as u64));
        text += &folded(more, paragraph(rest));
    }
    text
}

fn code_line(line: &str) -> String {
    element("code class=\"line\"", escaped(line)) + "\n"
}
