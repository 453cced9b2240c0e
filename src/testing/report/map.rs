//! The crash map of a sweep: every site of the work in its order, grouped by operation of the work, by verdict; and above
//! it a picture of where the distinct images come from.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::html::{Escaped, class};
use super::text::{counted, cut, grouped};
use super::{Outcome, Swept, first_site};
use crate::testing::CrashPoint;
use crate::testing::plan::Site;
use crate::testing::sim_disk::{DiskOperationKind, Side};
use crate::testing::sweep::{Finding, SiteReport};

/// Up to how many bytes the plan of a site is repeated at each one.
const PLAN_BYTES_MAX: usize = 120;

/// The sites of one operation of the work.
struct Group<'a> {
    operation: Option<usize>,
    sites: Vec<(&'a SiteReport, Outcome)>,
    /// Images that no group before had.
    distinct: u64,
}

impl Group<'_> {
    fn has_finding(&self) -> bool {
        self.sites.iter().any(|(_, outcome)| *outcome == Outcome::Finding)
    }
}

/// What stands for a crash point on the map.
pub(super) fn point_key(point: CrashPoint) -> char {
    let number = CrashPoint::ALL.iter().position(|it| *it == point);
    // The eight points have one digit each.
    number.map_or('?', |number| char::from(b'1' + number as u8))
}

/// What stands for a disk operation on the map.
pub(super) fn kind_key(kind: DiskOperationKind) -> char {
    match kind {
        DiskOperationKind::Open => 'o',
        DiskOperationKind::Read => 'g',
        DiskOperationKind::Len => 'n',
        DiskOperationKind::List => 'i',
        DiskOperationKind::Create => 'c',
        DiskOperationKind::Write => 'w',
        DiskOperationKind::Sync => 's',
        DiskOperationKind::Rename => 'r',
        DiskOperationKind::Remove => 'x',
        DiskOperationKind::CreateDir => 'd',
        DiskOperationKind::SyncDir => 'S',
        DiskOperationKind::Lock => 'l',
    }
}

pub(super) fn legend(out: &mut String) -> fmt::Result {
    writeln!(out, "<ul class=\"legend\">")?;
    for outcome in Outcome::ALL {
        let (class, symbol, name) = (class(outcome), outcome.symbol(), outcome.name());
        writeln!(out, "<li><span class=\"v {class}\">{symbol}</span>{name}</li>")?;
    }
    writeln!(out, "<li><span class=\"v n\">·</span>not reached</li></ul>")
}

pub(super) fn how_to_read(out: &mut String) -> fmt::Result {
    writeln!(
        out,
        "<p class=\"small soft\">Rounded: a crossing of the crash point with this number in the table above. Square: a disk \
         operation with its letter from there; left of the bar the crash before it, right of it the one after it. \
         Pointing at a mark names its site. Sites between which nothing happens share their images.</p>"
    )
}

/// Writes the map of the sweep with this number; `findings` are its own, with theirs.
pub(super) fn write(
    out: &mut String,
    number: usize,
    swept: &Swept,
    is_open: bool,
    findings: &[(usize, &Finding)],
) -> fmt::Result {
    let sweep = &swept.report;
    let groups = groups(swept);
    let plan = sweep.plan.to_string();
    let open = if is_open { " open" } else { "" };
    writeln!(
        out,
        "<details{open}><summary>Sweep {number}: <code>{}</code>",
        Escaped(cut(&plan, 200))
    )?;
    let (sites, images) = (grouped(swept.sites_len as u64), grouped(sweep.distinct));
    writeln!(
        out,
        "<span class=\"soft small\">{sites} sites, {images} distinct images</span></summary>"
    )?;
    picture(out, &groups)?;
    writeln!(
        out,
        "<p class=\"small soft\">New images of each operation of the work, from opening to closing; the tallest bar is {}. \
         A bar that hangs from the top has a finding.</p>",
        grouped(tallest(&groups))
    )?;
    let mut numbers = BTreeMap::new();
    for (number, finding) in findings {
        if let Some(site) = first_site(finding) {
            numbers.entry(site.to_string()).or_insert(*number);
        }
    }
    let prefix = sweep.plan.replay_line();
    let prefix = if prefix.len() <= PLAN_BYTES_MAX {
        prefix + " "
    } else {
        String::new()
    };
    writeln!(out, "<div class=\"map\">")?;
    for (index, group) in groups.iter().enumerate() {
        let is_last = index + 1 == groups.len();
        head(out, group, &sweep.operations, is_last)?;
        marks(out, group, &prefix, &numbers)?;
        writeln!(out, "</div>")?;
    }
    writeln!(out, "</div></details>")
}

fn groups(swept: &Swept) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut moment = None;
    for (site, outcome) in swept.report.sites.iter().zip(&swept.outcomes) {
        if groups
            .last()
            .is_none_or(|group| group.operation != site.operation)
        {
            groups.push(Group {
                operation: site.operation,
                sites: Vec::new(),
                distinct: 0,
            });
        }
        if let Some(group) = groups.last_mut() {
            group.sites.push((site, *outcome));
            if moment != Some(site.moment) {
                group.distinct += site.distinct;
            }
        }
        moment = Some(site.moment);
    }
    groups
}

fn tallest(groups: &[Group<'_>]) -> u64 {
    groups.iter().map(|group| group.distinct).max().unwrap_or(0)
}

/// The new images of each group as bars. It is as wide as the page, so its units are no pixels.
fn picture(out: &mut String, groups: &[Group<'_>]) -> fmt::Result {
    const HEIGHT: u64 = 100;
    let (width, tallest) = (groups.len() * 10, tallest(groups).max(1));
    write!(
        out,
        "<svg viewBox=\"0 0 {width} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" "
    )?;
    writeln!(out, "aria-label=\"New images of each operation of the work\">")?;
    for (index, group) in groups.iter().enumerate() {
        let x = index * 10 + 1;
        let height = (group.distinct * (HEIGHT - 20)).div_ceil(tallest);
        let y = HEIGHT - height;
        let name = operation_number(group);
        let new = counted(group.distinct, "new image", "new images");
        writeln!(
            out,
            "<rect class=\"b\" x=\"{x}\" y=\"{y}\" width=\"8\" height=\"{height}\"><title>{name}: {new}</title></rect>"
        )?;
        if group.has_finding() {
            writeln!(
                out,
                "<rect class=\"bad\" x=\"{x}\" y=\"0\" width=\"8\" height=\"16\"><title>{name}: finding</title></rect>"
            )?;
        }
    }
    writeln!(out, "</svg>")
}

fn operation_number(group: &Group<'_>) -> String {
    match group.operation {
        Some(operation) => format!("operation {operation}"),
        None => "opening".to_owned(),
    }
}

/// Opens a group with the operation's text and counts.
fn head(out: &mut String, group: &Group<'_>, operations: &[String], is_last: bool) -> fmt::Result {
    let text = match group.operation {
        Some(operation) => {
            let text = operations.get(operation).map_or("", String::as_str);
            format!("{operation} {text}")
        }
        None => "opening the database".to_owned(),
    };
    let then = if is_last { ", then close" } else { "" };
    let mark = if group.has_finding() { "✗ " } else { "" };
    let sites = counted(group.sites.len() as u64, "site", "sites");
    writeln!(
        out,
        "<div class=\"g\"><div class=\"h\"><span class=\"t\" title=\"{}\">{mark}{}</span><span class=\"s\">{sites}, {} \
         new{then}</span></div>",
        Escaped(cut(&text, 1000)),
        Escaped(cut(&text, 100)),
        grouped(group.distinct)
    )
}

fn marks(
    out: &mut String,
    group: &Group<'_>,
    prefix: &str,
    numbers: &BTreeMap<String, usize>,
) -> fmt::Result {
    write!(out, "<div class=\"c\">")?;
    let mut sites = group.sites.iter().peekable();
    while let Some((site, outcome)) = sites.next() {
        let key = match (site.site, site.kind) {
            (Site::Point { point, .. }, _) => point_key(point),
            (Site::Disk { .. }, Some(kind)) => kind_key(kind),
            (Site::Disk { .. }, None) | (Site::End, _) => '?',
        };
        let kind = if matches!(site.site, Site::Point { .. }) {
            "p x"
        } else {
            "p"
        };
        write!(out, "<span class=\"{kind}\">")?;
        mark(out, site, *outcome, Some(key), prefix, numbers)?;
        // The other side of the same operation goes into the same box.
        if let Some((after, outcome)) = sites.next_if(|(next, _)| is_after(site.site, next.site)) {
            mark(out, after, *outcome, None, prefix, numbers)?;
        }
        writeln!(out, "</span>")?;
    }
    writeln!(out, "</div>")
}

fn is_after(site: Site, next: Site) -> bool {
    match (site, next) {
        (
            Site::Disk {
                ordinal,
                side: Side::Before,
            },
            Site::Disk {
                ordinal: next,
                side: Side::After,
            },
        ) => ordinal == next,
        _ => false,
    }
}

fn mark(
    out: &mut String,
    site: &SiteReport,
    outcome: Outcome,
    key: Option<char>,
    prefix: &str,
    numbers: &BTreeMap<String, usize>,
) -> fmt::Result {
    let at = site.site.to_string();
    let number = numbers.get(&at);
    match number {
        Some(number) => write!(out, "<a href=\"#finding-{number}\"")?,
        None => write!(out, "<i")?,
    }
    write!(
        out,
        " class=\"v {}\" title=\"{} {}",
        class(outcome),
        outcome.symbol(),
        outcome.name()
    )?;
    for kind in &site.failures {
        write!(out, ", {kind}")?;
    }
    let images = counted(site.images, "image", "images");
    write!(
        out,
        ": {images}, {} new\n{}\n",
        grouped(site.distinct),
        Escaped(&site.what)
    )?;
    write!(out, "{}crash={} mode=kill\">", Escaped(prefix), Escaped(&at))?;
    write!(out, "{}", outcome.symbol())?;
    if let Some(key) = key {
        write!(out, "<b>{key}</b>")?;
    }
    write!(out, "{}", if number.is_some() { "</a>" } else { "</i>" })
}
