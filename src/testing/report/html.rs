//! The report as one HTML page: no script, nothing fetched, legible without colour.
//!
//! Invariant: every text that is not a constant of this folder goes through [`Escaped`].

use std::fmt::{self, Display, Write};

use super::findings::{self, Alike};
use super::matrix::Counts;
use super::text::{Visible, cut, duration, grouped, left_out, rate};
use super::{LiveStatus, Outcome, Report, Swept, map, terminal};
use crate::testing::sweep::Finding;

const STYLE: &str = include_str!("page.css");

/// Text between tags or inside a quoted attribute.
pub(super) struct Escaped<T>(pub(super) T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        for character in Visible(&text).to_string().chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                _ => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// The class of the style sheet.
pub(super) const fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Recovered => "r",
        Outcome::Known => "k",
        Outcome::Finding => "f",
        Outcome::LeftOut => "o",
    }
}

/// The page of `report`.
pub(super) fn page(report: &Report) -> String {
    let mut page = String::new();
    // A `String` takes whatever is written to it.
    write_page(&mut page, report).ok();
    page
}

fn write_page(out: &mut String, report: &Report) -> fmt::Result {
    let title = Escaped(&report.title);
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">"
    )?;
    writeln!(
        out,
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
    )?;
    writeln!(
        out,
        "<title>Crash report: {title}</title>\n<style>\n{STYLE}</style>\n</head>"
    )?;
    writeln!(out, "<body>\n<main>\n<h1>Crash report: {title}</h1>")?;
    summary(out, report)?;
    map::legend(out)?;
    let alike = Alike::of(report);
    if report.totals.findings > 0 {
        findings::write(out, report, &alike)?;
    }
    points(out, report)?;
    disk_operations(out, report)?;
    maps(out, report, &alike)?;
    if report.sweeps.len() > 1 {
        sweeps(out, report)?;
    }
    omissions(out, report)?;
    writeln!(out, "</main>\n</body>\n</html>")
}

fn summary(out: &mut String, report: &Report) -> fmt::Result {
    match report.why_not() {
        None => writeln!(out, "<p class=\"verdict r\">✓ clean: no finding</p>")?,
        Some(why) => writeln!(
            out,
            "<p class=\"verdict f\">✗ not clean: {}</p>",
            Escaped(cut(&why, 300))
        )?,
    }
    writeln!(
        out,
        "<p>{}</p>",
        Escaped(terminal::sentence(&report.totals, report.sweeps.len()).join(" "))
    )?;
    let left_out = left_out(&report.totals.left_out);
    let left_out = if left_out.is_empty() {
        "Nothing was left out.".to_owned()
    } else {
        let counts = left_out
            .iter()
            .map(|(count, what, _)| format!("{} {what}", grouped(*count)));
        format!("Left out: {}.", counts.collect::<Vec<_>>().join("; "))
    };
    writeln!(out, "<p>{}</p>", Escaped(left_out))?;
    if let Some(progress) = &report.running {
        let line = LiveStatus::from(progress);
        writeln!(out, "<p><strong>Not over yet:</strong> {}</p>", Escaped(line))?;
    }
    Ok(())
}

fn table_head(out: &mut String, caption: &str, first: &str) -> fmt::Result {
    writeln!(
        out,
        "<h2>{caption}</h2>\n<div class=\"scroll\" tabindex=\"0\">\n<table>\n<thead><tr>"
    )?;
    write!(
        out,
        "<th scope=\"col\">{first}</th><th scope=\"col\"><span class=\"w\">in the </span>work</th>"
    )?;
    // On a phone the symbol is the title: the legend explains it.
    for outcome in [Outcome::Recovered, Outcome::Finding, Outcome::LeftOut] {
        let (symbol, name) = (outcome.symbol(), outcome.name());
        write!(
            out,
            "<th scope=\"col\">{symbol}<span class=\"w\"> {name}</span></th>"
        )?;
    }
    writeln!(out, "<th scope=\"col\">in recovery</th></tr></thead>\n<tbody>")
}

fn table_line(out: &mut String, key: char, name: &str, counts: &Counts) -> fmt::Result {
    write!(out, "<tr><th scope=\"row\"><span class=\"key\">{key}</span>")?;
    // A long name may break between its words.
    for (index, character) in name.chars().enumerate() {
        let begins_word = index > 0 && character.is_uppercase();
        write!(out, "{}{character}", if begins_word { "<wbr>" } else { "" })?;
    }
    write!(out, "</th>")?;
    if !counts.is_reached() {
        return writeln!(out, "<td class=\"n\" colspan=\"5\">· not reached</td></tr>");
    }
    write!(out, "<td>{}</td>", grouped(counts.in_work))?;
    for (outcome, count) in [
        (Outcome::Recovered, counts.recovered),
        (Outcome::Finding, counts.findings),
        (Outcome::LeftOut, counts.left_out),
    ] {
        match count {
            0 => write!(out, "<td class=\"n\">0</td>")?,
            _ => write!(
                out,
                "<td class=\"{}\">{} {}</td>",
                class(outcome),
                outcome.symbol(),
                grouped(count)
            )?,
        }
    }
    writeln!(out, "<td>{}</td></tr>", grouped(counts.in_recoveries))
}

const TABLE_END: &str = "</tbody>\n</table>\n</div>";

fn points(out: &mut String, report: &Report) -> fmt::Result {
    table_head(out, "Crash points", "point")?;
    for (point, counts) in &report.matrix.points {
        table_line(out, map::point_key(*point), point.name(), counts)?;
    }
    writeln!(out, "{TABLE_END}")?;
    writeln!(
        out,
        "<p class=\"small soft\">Every crossing in the work by what became of the crashes at it; the last column counts \
         crossings in the recoveries that were looked into.</p>"
    )
}

fn disk_operations(out: &mut String, report: &Report) -> fmt::Result {
    table_head(out, "Disk operations", "kind")?;
    for (kind, counts) in &report.matrix.kinds {
        table_line(out, map::kind_key(*kind), &kind.to_string(), counts)?;
    }
    writeln!(out, "{TABLE_END}")?;
    writeln!(
        out,
        "<p class=\"small soft\">Each operation has two sites, before and after it: the verdicts count sites.</p>"
    )
}

fn maps(out: &mut String, report: &Report, alike: &[Alike<'_>]) -> fmt::Result {
    let maps: Vec<(usize, &Swept)> = report.maps().collect();
    if maps.is_empty() {
        return writeln!(
            out,
            "<h2>Crash map</h2>\n<p>No sweep has a recorded run to draw.</p>"
        );
    }
    writeln!(out, "<h2 id=\"map\">Crash map</h2>")?;
    map::how_to_read(out)?;
    for (place, (index, swept)) in maps.iter().enumerate() {
        let is_open = place == 0 || !swept.report.findings.is_empty();
        let numbered = alike.iter().enumerate();
        let numbered = numbered.flat_map(|(number, it)| it.iter().map(move |it| (number + 1, it)));
        let own: Vec<(usize, &Finding)> = numbered
            .filter(|(_, (sweep, _))| sweep == index)
            .map(|(number, (_, finding))| (number, *finding))
            .collect();
        map::write(out, *index + 1, swept, is_open, &own)?;
    }
    let hidden = report.sweeps.len() - maps.len();
    if hidden > 0 {
        writeln!(
            out,
            "<p>The maps of {} other sweeps are not kept.</p>",
            grouped(hidden as u64)
        )?;
    }
    Ok(())
}

fn sweeps(out: &mut String, report: &Report) -> fmt::Result {
    let summary = format_args!(
        "{} sweeps, one after another",
        grouped(report.sweeps.len() as u64)
    );
    writeln!(out, "<h2>Sweeps</h2>\n<details><summary>{summary}</summary>")?;
    writeln!(out, "<div class=\"scroll\" tabindex=\"0\">\n<table>\n<thead><tr>")?;
    let titles = [
        "#",
        "plan",
        "sites",
        "images",
        "distinct",
        "recoveries",
        "findings",
        "time",
        "recoveries/s",
    ];
    for title in titles {
        write!(out, "<th scope=\"col\">{title}</th>")?;
    }
    writeln!(out, "</tr></thead>\n<tbody>")?;
    for (index, swept) in report.sweeps.iter().enumerate() {
        let sweep = &swept.report;
        write!(out, "<tr><td>{}</td><td class=\"plan\"><code>", index + 1)?;
        write!(out, "{}</code></td>", Escaped(cut(&sweep.plan.to_string(), 200)))?;
        for count in [
            swept.sites_len as u64,
            sweep.images,
            sweep.distinct,
            sweep.recoveries,
        ] {
            write!(out, "<td>{}</td>", grouped(count))?;
        }
        match sweep.findings_len {
            0 => write!(out, "<td>✓ 0</td>")?,
            count => write!(out, "<td class=\"f\">✗ {}</td>", grouped(count))?,
        }
        writeln!(
            out,
            "<td>{}</td><td>{}</td></tr>",
            duration(sweep.elapsed),
            rate(sweep.per_second())
        )?;
    }
    writeln!(out, "{TABLE_END}</details>")
}

fn omissions(out: &mut String, report: &Report) -> fmt::Result {
    writeln!(out, "<h2>What was left out</h2>")?;
    let left_out = left_out(&report.totals.left_out);
    if left_out.is_empty() {
        writeln!(out, "<p>Nothing.</p>")?;
    } else {
        writeln!(out, "<ul>")?;
        for (count, what, why) in left_out {
            writeln!(
                out,
                "<li>{} {what} <span class=\"soft\">({why})</span></li>",
                grouped(count)
            )?;
        }
        writeln!(out, "</ul>")?;
    }
    let points = report.matrix.points.iter();
    let points = points
        .filter(|(_, counts)| !counts.is_reached())
        .map(|(point, _)| point.to_string());
    let kinds = report.matrix.kinds.iter();
    let kinds = kinds
        .filter(|(_, counts)| !counts.is_reached())
        .map(|(kind, _)| kind.to_string());
    let missed: Vec<String> = points.chain(kinds).collect();
    if missed.is_empty() {
        writeln!(
            out,
            "<p>Every crash point and every kind of disk operation was reached.</p>"
        )
    } else {
        writeln!(out, "<p>Not reached: {}.</p>", Escaped(missed.join(", ")))
    }
}
