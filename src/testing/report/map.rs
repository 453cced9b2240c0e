//! The crash map of a sweep: the outcome of every site of the work, in order, grouped by operation of the work. A bar
//! chart above the map shows the number of new images of each operation.

use std::collections::BTreeMap;

use super::findings::EqualFindings;
use super::html::{element, escaped, remark};
use super::matrix::{kind_key, point_key};
use super::text::{counted, cut, grouped};
use super::{ReportedSweep, SiteOutcome, first_site};
use crate::testing::plan::Site;
use crate::testing::sim_disk::Side;
use crate::testing::sweep::SiteReport;

/// The longest plan in bytes that is repeated at each site.
const PLAN_BYTES_MAX: usize = 120;
/// The height of the chart.
const HEIGHT: u64 = 100;

pub(super) const HOW_TO_READ: &str = "A rounded mark is a crossing of the crash point with this number in the table \
     above. A square mark is a disk operation with its letter from that table: left of the bar is the crash before \
     the operation, right of the bar the crash after it. The tooltip of a mark names its site. Sites without a disk \
     operation between them share their images.";

pub(super) fn legend() -> String {
    let items = SiteOutcome::ALL.map(SiteOutcome::texts).into_iter();
    let items = items
        .chain([["·", "not reached", "", "n"]])
        .map(|[symbol, name, _, class]| {
            let symbol = element(&format!("span class=\"v {class}\""), symbol);
            element("li", format_args!("{symbol}{name}"))
        });
    element("ul class=\"legend\"", items.collect::<String>()) + "\n"
}

/// The sites of one operation of the work, or of the opening of the database.
struct SiteGroup<'a> {
    operation: Option<usize>,
    sites: Vec<(&'a SiteReport, SiteOutcome)>,
    /// The number of images that no earlier group has.
    distinct: u64,
}

impl<'a> SiteGroup<'a> {
    fn all(reported: &'a ReportedSweep) -> Vec<Self> {
        let sites: Vec<_> = reported
            .report
            .sites
            .iter()
            .zip(reported.outcomes.iter().copied())
            .collect();
        let mut position = None;
        let groups = sites.chunk_by(|(site, _), (next, _)| site.operation == next.operation);
        let group = |sites: &[(&'a SiteReport, SiteOutcome)]| {
            let mut distinct = 0;
            for (site, _) in sites {
                if position.replace(site.crash_position) != Some(site.crash_position) {
                    distinct += site.distinct;
                }
            }
            Self {
                operation: sites[0].0.operation,
                sites: sites.to_vec(),
                distinct,
            }
        };
        groups.map(group).collect()
    }

    fn has_finding(&self) -> bool {
        self.sites
            .iter()
            .any(|(_, outcome)| *outcome == SiteOutcome::Finding)
    }
}

/// The map of the sweep with this index.
pub(super) fn of_sweep(
    index: usize,
    reported: &ReportedSweep,
    is_unfolded: bool,
    findings: &[EqualFindings<'_>],
) -> String {
    let sweep = &reported.report;
    let groups = SiteGroup::all(reported);
    let mut marks = Marks::default();
    for (number, it) in (1..).zip(findings) {
        let own = it.0.iter().filter(|(of, _)| *of == index);
        for site in own.filter_map(|(_, finding)| first_site(finding)) {
            marks.numbers.entry(site.to_string()).or_insert(number);
        }
    }
    let line = sweep.plan.replay_line();
    if line.len() <= PLAN_BYTES_MAX {
        marks.prefix = line + " ";
    }
    let plan = element("code", escaped(cut(&sweep.plan.to_string(), 200)));
    let (sites, images) = (grouped(reported.sites_len as u64), grouped(sweep.distinct));
    let counts = format!("{sites} sites, {images} distinct images");
    let counts = element("span class=\"soft small\"", counts);
    let summary = element("summary", format_args!("Sweep {}: {plan}{counts}", index + 1));
    let tallest = groups.iter().map(|group| group.distinct).max().unwrap_or(0);
    let chart_remark = remark(format_args!(
        "The bars show the new images of each operation of the work, from opening to closing. The tallest bar is {}. \
         A bar at the top marks an operation with a finding.",
        counted(tallest, "image", "images")
    ));
    let parts = (1..).zip(&groups).map(|(number, group)| {
        let head = head(group, &sweep.operations, number == groups.len());
        let marks = element("div class=\"c\"", marks.of_group(group));
        element("div class=\"g\"", head + &marks) + "\n"
    });
    let parts = element("div class=\"map\"", parts.collect::<String>());
    let head = if is_unfolded { "details open" } else { "details" };
    element(head, summary + &chart(&groups, tallest) + &chart_remark + &parts) + "\n"
}

/// The new images of each group as a bar chart. The chart is as wide as the page, so its units are not pixels.
fn chart(groups: &[SiteGroup<'_>], tallest: u64) -> String {
    let bars = (0..).zip(groups).map(|(index, group)| {
        let name = match group.operation {
            Some(operation) => format!("operation {operation}"),
            None => "opening".to_owned(),
        };
        let bar = |class: &str, y: u64, height: u64, label: &str| {
            let x = index * 10 + 1;
            let head = format!("rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"8\" height=\"{height}\"");
            element(&head, element("title", format_args!("{name}: {label}"))) + "\n"
        };
        let height = (group.distinct * (HEIGHT - 20)).div_ceil(tallest.max(1));
        let images = counted(group.distinct, "new image", "new images");
        let finding = group.has_finding().then(|| bar("bad", 0, 16, "finding"));
        bar("b", HEIGHT - height, height, &images) + &finding.unwrap_or_default()
    });
    let head = format!(
        "svg viewBox=\"0 0 {} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"New images of each operation of the work\"",
        groups.len() * 10
    );
    element(&head, bars.collect::<String>()) + "\n"
}

/// The text of a group's operation, and the counts of the group.
fn head(group: &SiteGroup<'_>, operations: &[String], is_last: bool) -> String {
    let text = match group.operation {
        Some(operation) => {
            let text = operations.get(operation).map_or("", String::as_str);
            format!("{operation} {text}")
        }
        None => "opening the database".to_owned(),
    };
    let mark = if group.has_finding() { "✗ " } else { "" };
    let title = format!("span class=\"t\" title=\"{}\"", escaped(cut(&text, 1000)));
    let title = element(&title, format_args!("{mark}{}", escaped(cut(&text, 100))));
    let sites = counted(group.sites.len() as u64, "site", "sites");
    let then = if is_last { ", then close" } else { "" };
    let counts = format!("{sites}, {} new{then}", grouped(group.distinct));
    element("div class=\"h\"", title + &element("span class=\"s\"", counts))
}

/// The data that all marks of a map use.
#[derive(Default)]
struct Marks {
    /// The beginning of the replay line of each site.
    prefix: String,
    /// The numbers of the findings, by the site at which their work crashed.
    numbers: BTreeMap<String, usize>,
}

impl Marks {
    fn of_group(&self, group: &SiteGroup<'_>) -> String {
        // Both sides of one operation are in the same box.
        let boxes = group
            .sites
            .chunk_by(|(site, _), (next, _)| is_after(site.site, next.site));
        let boxes = boxes.map(|sites| {
            let (first, _) = sites[0];
            let (class, key) = match (first.site, first.kind) {
                (Site::Point { point, .. }, _) => ("p x", point_key(point)),
                (Site::Disk { .. }, Some(kind)) => ("p", kind_key(kind)),
                (Site::Disk { .. }, None) | (Site::Fault { .. } | Site::End, _) => ("p", '?'),
            };
            let keys = [format!("<b>{key}</b>"), String::new()];
            let marks = sites.iter().zip(&keys);
            let marks: String = marks
                .map(|((site, outcome), key)| self.mark(site, *outcome, key))
                .collect();
            element(&format!("span class=\"{class}\""), marks) + "\n"
        });
        boxes.collect()
    }

    fn mark(&self, site: &SiteReport, outcome: SiteOutcome, key: &str) -> String {
        let at = site.site.to_string();
        let [symbol, name, _, class] = outcome.texts();
        let failures: Vec<_> = site.failures.iter().map(|kind| format!(", {kind}")).collect();
        let failures = failures.concat();
        let images = counted(site.images, "image", "images");
        let title = format!(
            "{symbol} {name}{failures}: {images}, {} new\n{}\n{}crash={at} mode=kill",
            grouped(site.distinct),
            site.description,
            self.prefix,
        );
        let element_of = match self.numbers.get(&at) {
            Some(number) => format!("a href=\"#finding-{number}\""),
            None => "i".to_owned(),
        };
        let head = format!("{element_of} class=\"v {class}\" title=\"{}\"", escaped(title));
        element(&head, format_args!("{symbol}{key}"))
    }
}

fn is_after(site: Site, next: Site) -> bool {
    matches!((site, next), (
        Site::Disk { ordinal, side: Side::Before },
        Site::Disk { ordinal: of_next, side: Side::After },
    ) if ordinal == of_next)
}
