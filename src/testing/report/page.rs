//! The report as one HTML page. It has no script, loads no other file and is legible without colour.

use super::findings::{self, EqualFindings};
use super::html::{element, escaped, remark, table};
use super::matrix::MatrixTable;
use super::text::{cut, duration, grouped, left_out, rate};
use super::{LiveStatus, Report, SiteOutcome, map, terminal};

const STYLE: &str = include_str!("page.css");

impl Report {
    /// The report as one HTML page that needs no other file, no network and no script.
    pub fn html(&self) -> String {
        let title = escaped(format_args!("Crash report: {}", self.title));
        let findings = EqualFindings::of(self);
        let mut body = element("h1", &title) + &summary(self) + &map::legend();
        if self.totals.findings > 0 {
            body += &findings::section(self, &findings);
        }
        for table in self.matrix.tables() {
            body += &matrix(&table);
        }
        body += &maps(self, &findings);
        if self.sweeps.len() > 1 {
            body += &sweeps(self);
        }
        body += &omissions(self);
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
        )
    }
}

fn summary(report: &Report) -> String {
    let verdict = match report.reason_not_clean() {
        None => element("p class=\"verdict r\"", "✓ clean: no finding"),
        Some(why) => {
            let why = escaped(cut(&why, 300));
            element("p class=\"verdict f\"", format_args!("✗ not clean: {why}"))
        }
    };
    let sentences = terminal::sentences(&report.totals, report.sweeps.len()).join(" ");
    let items = left_out(&report.totals.left_out).into_iter();
    let items: Vec<_> = items
        .map(|(count, unit, _)| format!("{} {unit}", grouped(count)))
        .collect();
    let left_out = if items.is_empty() {
        "Nothing was left out.".to_owned()
    } else {
        format!("Left out: {}.", items.join("; "))
    };
    let running = report.running.as_ref().map(|progress| {
        let status = escaped(LiveStatus::from(progress));
        element("p", format_args!("<strong>Still running:</strong> {status}"))
    });
    let (sentences, left_out) = (element("p", escaped(sentences)), element("p", escaped(left_out)));
    format!(
        "{verdict}\n{sentences}\n{left_out}\n{}",
        running.unwrap_or_default()
    )
}

fn matrix(half: &MatrixTable<'_>) -> String {
    let counted = [SiteOutcome::Recovered, SiteOutcome::Finding, SiteOutcome::LeftOut];
    // On a phone the symbol is the title: the legend explains it.
    let titles = counted.map(|outcome| {
        let [symbol, name, ..] = outcome.texts();
        format!("{symbol}<span class=\"w\"> {name}</span>")
    });
    let titles = [
        half.fields[1].to_owned(),
        "<span class=\"w\">in the </span>work".to_owned(),
    ]
    .into_iter()
    .chain(titles)
    .chain(["in recovery".to_owned()]);
    let rows = half.lines.iter().map(|(key, name, counts)| {
        let mut row = format!("<th scope=\"row\"><span class=\"key\">{key}</span>");
        for (index, character) in name.chars().enumerate() {
            // A long name may break between its words.
            row += if index > 0 && character.is_uppercase() {
                "<wbr>"
            } else {
                ""
            };
            row.push(character);
        }
        row += "</th>";
        if !counts.is_reached() {
            return row + "<td class=\"n\" colspan=\"5\">· not reached</td>";
        }
        let [in_work, outcomes @ .., in_recoveries] = counts.numbers();
        row += &element("td", grouped(in_work));
        for (outcome, count) in counted.into_iter().zip(outcomes) {
            let [symbol, _, _, class] = outcome.texts();
            let count = grouped(count);
            row += &match count.as_str() {
                "0" => element("td class=\"n\"", count),
                _ => element(&format!("td class=\"{class}\""), format_args!("{symbol} {count}")),
            };
        }
        row + &element("td", grouped(in_recoveries))
    });
    let table = table(titles, rows);
    format!("<h2>{}</h2>\n{table}{}", half.caption, remark(half.remark))
}

fn maps(report: &Report, findings: &[EqualFindings<'_>]) -> String {
    let shown: Vec<_> = report.maps().collect();
    if shown.is_empty() {
        return "<h2>Crash map</h2>\n<p>No sweep has a recorded run.</p>\n".to_owned();
    }
    let mut text = "<h2 id=\"map\">Crash map</h2>\n".to_owned() + &remark(map::HOW_TO_READ);
    for (place, (index, reported)) in shown.iter().enumerate() {
        let is_unfolded = place == 0 || !reported.report.findings.is_empty();
        text += &map::of_sweep(*index, reported, is_unfolded, findings);
    }
    let hidden = report.sweeps.len() - shown.len();
    if hidden > 0 {
        let hidden = format!(
            "The maps of {} other sweeps are not shown.",
            grouped(hidden as u64)
        );
        text += &element("p", hidden);
    }
    text
}

fn sweeps(report: &Report) -> String {
    let titles = "#|plan|sites|images|distinct|recoveries|findings|time|recoveries/s".split('|');
    let rows = report.sweeps.iter().enumerate().map(|(index, reported)| {
        let sweep = &reported.report;
        let plan = element("code", escaped(cut(&sweep.plan.to_string(), 200)));
        let counts = [
            reported.sites_len as u64,
            sweep.images,
            sweep.distinct,
            sweep.recoveries,
        ];
        let counts: String = counts.map(|count| element("td", grouped(count))).concat();
        let findings = match sweep.findings_len {
            0 => "<td>✓ 0</td>".to_owned(),
            count => format!("<td class=\"f\">✗ {}</td>", grouped(count)),
        };
        let (time, per_second) = (duration(sweep.elapsed), rate(sweep.per_second()));
        format!(
            "<td>{}</td><td class=\"plan\">{plan}</td>{counts}{findings}<td>{time}</td><td>{per_second}</td>",
            index + 1
        )
    });
    let summary = format!(
        "{} sweeps, one after another",
        grouped(report.sweeps.len() as u64)
    );
    let table = table(titles.map(str::to_owned), rows);
    format!("<h2>Sweeps</h2>\n<details><summary>{summary}</summary>{table}</details>\n")
}

fn omissions(report: &Report) -> String {
    let items = left_out(&report.totals.left_out).into_iter();
    let items: String = items
        .map(|(count, unit, reason)| {
            let reason = element("span class=\"soft\"", format_args!("({reason})"));
            element("li", format_args!("{} {unit} {reason}", grouped(count)))
        })
        .collect();
    let items = if items.is_empty() {
        "<p>Nothing.</p>".to_owned()
    } else {
        element("ul", items)
    };
    let lines = report.matrix.tables().into_iter().flat_map(|table| table.lines);
    let missed = lines.filter(|(_, _, counts)| !counts.is_reached());
    let missed: Vec<String> = missed.map(|(_, name, _)| name).collect();
    let missed = if missed.is_empty() {
        "Every crash point and every kind of disk operation was reached.".to_owned()
    } else {
        format!("Not reached: {}.", missed.join(", "))
    };
    format!("<h2>Left out</h2>\n{items}\n<p>{missed}</p>\n")
}
