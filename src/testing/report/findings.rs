//! The findings on the page. Findings with the same failure form a group, and long texts are folded.

use super::html::{element, escaped, folded};
use super::text::{counted, grouped};
use super::{FINDINGS_SHOWN_MAX, Report};
use crate::testing::sweep::Finding;

/// The number of findings that are shown unfolded.
const FINDINGS_UNFOLDED_MAX: usize = 6;
/// The number of lines of a finding's message that are shown unfolded.
const MESSAGE_LINES_MAX: usize = 4;
/// The number of replay lines that are shown of other cases with the same failure.
const OTHER_LINES_MAX: usize = 20;

/// One or more findings with the same failure, each with the index of its sweep. The first one is shown in full.
pub(super) struct EqualFindings<'a>(pub(super) Vec<(usize, &'a Finding)>);

impl<'a> EqualFindings<'a> {
    pub(super) fn of(report: &'a Report) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for (sweep, finding) in report.findings() {
            let group = all.iter().position(|it| it.0[0].1.failure == finding.failure);
            match group {
                Some(group) => all[group].0.push((sweep, finding)),
                None if all.len() < FINDINGS_SHOWN_MAX => all.push(Self(vec![(sweep, finding)])),
                None => {}
            }
        }
        all
    }
}

pub(super) fn section(report: &Report, groups: &[EqualFindings<'_>]) -> String {
    let articles = (1..).zip(groups).map(|(number, group)| article(number, group));
    let articles: Vec<String> = articles.collect();
    let (unfolded, rest) = articles.split_at(articles.len().min(FINDINGS_UNFOLDED_MAX));
    let mut text = "<h2 id=\"findings\">Findings</h2>\n".to_owned() + &unfolded.concat();
    if !rest.is_empty() {
        let more = counted(rest.len() as u64, "other finding", "other findings");
        let summary = element("summary", more);
        text += &element("details", summary + &rest.concat());
    }
    let shown: u64 = groups.iter().map(|it| it.0.len() as u64).sum();
    if report.totals.findings > shown {
        let more = report.totals.findings - shown;
        let more = counted(more, "more failing case is", "more failing cases are");
        text += &element("p", format_args!("{more} not shown."));
    }
    text
}

fn article(number: usize, group: &EqualFindings<'_>) -> String {
    let (sweep, finding) = group.0[0];
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
        text += &folded("before shrinking", code_line(&finding.plan.replay_line()));
    }
    text += &folded("as a test", element("pre", escaped(finding.test_to_paste())));
    let others = &group.0[1..];
    if !others.is_empty() {
        let shown = others.iter().take(OTHER_LINES_MAX);
        let mut lines: String = shown.map(|(_, other)| code_line(&other.replay_line())).collect();
        let hidden = others.len().saturating_sub(OTHER_LINES_MAX);
        if hidden > 0 {
            let hidden = format!("{} more are not shown.", grouped(hidden as u64));
            lines += &element("p class=\"small\"", hidden);
        }
        let others = counted(others.len() as u64, "other case", "other cases");
        text += &folded(format_args!("{others} with the same failure"), lines);
    }
    element(
        &format!("article class=\"finding\" id=\"finding-{number}\""),
        text,
    ) + "\n"
}

/// The message of a failure. A long message is folded after its first lines.
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
