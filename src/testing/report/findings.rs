//! The findings on the page: those that say the same together, long ones folded.

use std::fmt::{self, Write};

use super::html::Escaped;
use super::text::{counted, grouped};
use super::{FINDINGS_SHOWN_MAX, Report};
use crate::testing::sweep::Finding;

/// How many findings are shown without being asked for.
const FINDINGS_OPEN_MAX: usize = 6;
/// How many lines of a finding's message are.
const MESSAGE_LINES_MAX: usize = 4;
/// How many lines of cases that say the same are shown.
const ALIKE_SHOWN_MAX: usize = 20;

/// Findings that say the same.
pub(super) struct Alike<'a> {
    /// The number of its sweep and the finding that is shown in full.
    shown: (usize, &'a Finding),
    /// The others.
    others: Vec<(usize, &'a Finding)>,
}

impl<'a> Alike<'a> {
    pub(super) fn of(report: &'a Report) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for (sweep, finding) in report.findings() {
            let said = all.iter().position(|it| it.shown.1.failure == finding.failure);
            match said {
                Some(place) => all[place].others.push((sweep, finding)),
                None if all.len() < FINDINGS_SHOWN_MAX => all.push(Self {
                    shown: (sweep, finding),
                    others: Vec::new(),
                }),
                None => {}
            }
        }
        all
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(usize, &'a Finding)> {
        std::iter::once(&self.shown).chain(&self.others)
    }
}

/// Writes the section.
pub(super) fn write(out: &mut String, report: &Report, alike: &[Alike<'_>]) -> fmt::Result {
    writeln!(out, "<h2 id=\"findings\">Findings</h2>")?;
    let (open, folded) = alike.split_at(alike.len().min(FINDINGS_OPEN_MAX));
    for (index, it) in open.iter().enumerate() {
        finding(out, index + 1, it)?;
    }
    if !folded.is_empty() {
        let more = counted(folded.len() as u64, "other finding", "other findings");
        writeln!(out, "<details><summary>{more}</summary>")?;
        for (index, it) in folded.iter().enumerate() {
            finding(out, open.len() + index + 1, it)?;
        }
        writeln!(out, "</details>")?;
    }
    let shown: u64 = alike.iter().map(|it| 1 + it.others.len() as u64).sum();
    if report.totals.findings > shown {
        let more = counted(
            report.totals.findings - shown,
            "more failing case is",
            "more failing cases are",
        );
        writeln!(out, "<p>{more} not shown.</p>")?;
    }
    Ok(())
}

fn finding(out: &mut String, number: usize, alike: &Alike<'_>) -> fmt::Result {
    let (sweep, finding) = alike.shown;
    let kind = finding.failure.kind;
    writeln!(out, "<article class=\"finding\" id=\"finding-{number}\">")?;
    writeln!(
        out,
        "<h3>✗ {number}. {kind} <span class=\"soft small\">sweep {}</span></h3>",
        sweep + 1
    )?;
    message(out, &finding.failure.message)?;
    let label = if finding.shrunk.is_some() {
        "Shrunk; replay with"
    } else {
        "Replay with"
    };
    writeln!(out, "<p class=\"small soft\">{label}</p>")?;
    code_line(out, &finding.replay_line())?;
    if let Some(dir) = &finding.image_dir {
        let dir = Escaped(dir.display());
        writeln!(
            out,
            "<p class=\"small\">The disk before recovery: <code>{dir}</code></p>"
        )?;
    }
    if finding.shrunk.is_some() {
        writeln!(out, "<details><summary class=\"small\">as it was found</summary>")?;
        code_line(out, &finding.plan.replay_line())?;
        writeln!(out, "</details>")?;
    }
    writeln!(
        out,
        "<details><summary class=\"small\">as a test to paste</summary>"
    )?;
    writeln!(out, "<pre>{}</pre></details>", Escaped(finding.test_to_paste()))?;
    if !alike.others.is_empty() {
        let others = counted(alike.others.len() as u64, "other case says", "other cases say");
        writeln!(
            out,
            "<details><summary class=\"small\">{others} the same</summary>"
        )?;
        for (_, other) in alike.others.iter().take(ALIKE_SHOWN_MAX) {
            code_line(out, &other.replay_line())?;
        }
        if let Some(more) = alike.others.len().checked_sub(ALIKE_SHOWN_MAX + 1) {
            writeln!(
                out,
                "<p class=\"small\">{} more are not shown.</p>",
                grouped(more as u64 + 1)
            )?;
        }
        writeln!(out, "</details>")?;
    }
    writeln!(out, "</article>")
}

/// What is wrong: long lists are folded after their beginning.
fn message(out: &mut String, message: &str) -> fmt::Result {
    let (mut lines, mut rest) = (message.lines().collect::<Vec<_>>(), Vec::new());
    if lines.len() > MESSAGE_LINES_MAX + 1 {
        rest = lines.split_off(MESSAGE_LINES_MAX);
    }
    writeln!(out, "<p class=\"message\">{}</p>", Escaped(lines.join("\n")))?;
    if rest.is_empty() {
        return Ok(());
    }
    let more = grouped(rest.len() as u64);
    writeln!(
        out,
        "<details><summary class=\"small\">{more} more lines</summary>"
    )?;
    writeln!(
        out,
        "<p class=\"message\">{}</p></details>",
        Escaped(rest.join("\n"))
    )
}

fn code_line(out: &mut String, line: &str) -> fmt::Result {
    writeln!(out, "<code class=\"line\">{}</code>", Escaped(line))
}
