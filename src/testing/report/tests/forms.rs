//! Tests of the content of each form of the report.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::live::{LiveLine, LiveStatus};
use super::super::{MAPS_MAX, Report, SiteOutcome};
use super::strict_json::{JsonValue, parse};
use super::{CLEAN, WITH_FINDINGS, clean, with_findings};
use crate::testing::CrashPoint;
use crate::testing::plan::{Plan, Work};
use crate::testing::sim_disk::DiskOperationKind;
use crate::testing::sweep::{Phase, Progress};
use crate::testing::workload::{Operation, Workload};

/// The number of marks of a site on the page. The attribute of a mark ends with the site's part of a plan.
fn marks_of(page: &str, site: &str) -> usize {
    page.matches(&format!("crash={site} mode=kill\"")).count()
}

#[test]
fn each_site_of_a_sweep_occurs_once_on_its_map_and_once_in_the_json() {
    for (report, sweep) in [(clean(), &*CLEAN), (with_findings(), &*WITH_FINDINGS)] {
        let page = report.html();
        let expected: Vec<String> = sweep.sites.iter().map(|it| it.site.to_string()).collect();
        assert!(
            expected.len() > 100,
            "the sweep has only {} sites",
            expected.len()
        );
        for site in &expected {
            assert_eq!(marks_of(&page, site), 1, "{site}");
        }
        let json = parse(&report.json());
        let map = json.get("sweeps").items()[0].get("map");
        let sites: Vec<_> = map
            .get("sites")
            .items()
            .iter()
            .map(|it| it.get("site").text())
            .collect();
        assert_eq!(sites, expected);
        assert_eq!(map.get("operations").items().len(), 12);
    }
}

#[test]
fn every_finding_is_shown_with_its_replay_line_in_every_form() {
    let report = with_findings();
    assert!(WITH_FINDINGS.findings.len() > 3, "{}", *WITH_FINDINGS);
    let (page, json, terminal) = (report.html(), parse(&report.json()), report.terminal());
    let findings = json.get("findings").items();
    assert_eq!(findings.len(), WITH_FINDINGS.findings.len());
    for (finding, found) in findings.iter().zip(&WITH_FINDINGS.findings) {
        let line = found.replay_line();
        let code = format!("<code class=\"line\">{line}</code>");
        assert!(page.contains(&code) && terminal.contains(&line), "{line}");
        assert_eq!(finding.get("replay").text(), line);
        assert_eq!(finding.get("message").text(), found.failure.message);
        assert_eq!(finding.get("kind").text(), found.failure.kind.name());
        // The site at which the work crashed is marked, and its mark links to the finding.
        if let Some(crash) = found.plan.crashes.first() {
            let site = crash.site.to_string();
            let mut marks = page.split("<a href=\"#finding-");
            let mark = marks.find(|mark| marks_of(mark, &site) == 1);
            assert!(mark.is_some_and(|mark| mark.contains("class=\"v f\"")), "{site}");
        }
    }
}

#[test]
fn every_form_shows_if_the_report_is_clean() {
    for (report, page_text, terminal_text) in [
        (clean(), "✓ clean", "✓ clean"),
        (with_findings(), "✗ not clean", "findings"),
        (
            Report::new("nothing"),
            "✗ not clean: no sweep has ended",
            "no sweep has ended",
        ),
    ] {
        let terminal = report.terminal();
        assert_eq!(report.is_ok(), terminal_text == "✓ clean", "{terminal}");
        assert!(
            report.html().contains(page_text),
            "the page does not contain {page_text}"
        );
        assert!(terminal.ends_with(terminal_text), "{terminal}");
        assert_eq!(
            parse(&report.json()).get("is_ok").plain(),
            report.is_ok().to_string()
        );
    }
    let json = parse(&clean().json());
    assert_eq!(json.get("totals.distinct").plain(), CLEAN.distinct.to_string());
    assert_eq!(json.get("running").plain(), "null");
}

#[test]
fn the_matrix_counts_each_site_once_and_names_points_and_operations_that_were_not_reached() {
    let report = clean();
    let points = report.matrix.points.iter().map(|(_, counts)| counts);
    let lines = points.chain(report.matrix.kinds.values());
    let sites: u64 = lines.map(|it| it.recovered + it.findings + it.left_out).sum();
    assert_eq!(sites, CLEAN.sites.len() as u64);
    for (point, count) in &CLEAN.crossings {
        let (_, counts) = report.matrix.points.iter().find(|(it, _)| it == point).unwrap();
        assert_eq!(counts.in_work, *count, "{point}");
        assert_eq!(counts.recovered, *count, "{point}");
    }
    for (kind, count) in &CLEAN.disk_operations {
        let counts = report.matrix.kinds[kind];
        assert_eq!(counts.in_work + counts.in_recoveries, *count, "{kind}");
    }
    let mut sweep = CLEAN.clone();
    let missed_point = CrashPoint::CoEngagementUpdate;
    let crossings = sweep.crossings.iter_mut();
    crossings
        .filter(|(point, _)| *point == missed_point)
        .for_each(|it| it.1 = 0);
    sweep.recovery_crossings.clear();
    sweep.disk_operations.remove(&DiskOperationKind::Lock);
    let report = Report::from(sweep);
    let (page, terminal) = (report.html(), report.terminal());
    let (_, missed) = page
        .split_once("<p>Not reached: ")
        .expect("the page names the missed points and kinds");
    let missed: Vec<&str> = missed.split_once(".</p>").unwrap().0.split(", ").collect();
    for (name, is_missed) in [
        ("CoEngagementUpdate", true),
        ("lock", true),
        ("WalPreAggregate", false),
        ("write", false),
    ] {
        assert_eq!(missed.contains(&name), is_missed, "{missed:?}");
        let line = terminal.lines().find(|line| line.starts_with(name)).unwrap();
        assert_eq!(line.contains("· not reached"), is_missed, "{line}");
    }
}

#[test]
fn a_site_without_images_is_left_out_and_a_site_without_new_images_is_a_duplicate() {
    let mut site = CLEAN.sites[0].clone();
    for (images, distinct, is_explored, has_finding, expected) in [
        (3, 0, true, false, SiteOutcome::Duplicate),
        (3, 1, true, false, SiteOutcome::Recovered),
        (3, 1, true, true, SiteOutcome::Finding),
        (0, 1, true, false, SiteOutcome::LeftOut),
        (3, 1, false, false, SiteOutcome::LeftOut),
    ] {
        (site.images, site.distinct, site.is_explored) = (images, distinct, is_explored);
        assert_eq!(SiteOutcome::of(&site, has_finding), expected);
    }
}

/// A report in which every text is `text`.
fn report_of_text(text: &str) -> Report {
    let mut sweep = WITH_FINDINGS.clone();
    sweep.plan = Plan::new(Work::Driven(text.to_owned()));
    sweep.operations = vec![text.to_owned(); 12];
    for site in &mut sweep.sites {
        text.clone_into(&mut site.description);
    }
    for finding in &mut sweep.findings {
        text.clone_into(&mut finding.failure.message);
        finding.image_dir = Some(text.into());
    }
    let mut report = Report::new(text);
    report.add(sweep);
    report
}

#[test]
fn every_text_on_the_page_is_escaped() {
    let page =
        report_of_text("</title></style><script>alert(1)</script>\"'><img src=x>&\u{202e}\u{0}\u{7}").html();
    for bad in ["<script", "<img", "alert(1)</", "\u{202e}", "\u{0}", "\u{7}"] {
        assert!(!page.contains(bad), "{bad:?}");
    }
    assert!(page.contains(
        "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&gt;&lt;img src=x&gt;&amp;\\u{202e}\\u{0}"
    ));
    assert_balanced(&page);
}

/// Asserts that every element that is opened is closed, in order.
fn assert_balanced(page: &str) {
    let mut open = Vec::new();
    for tag in page.split('<').skip(1) {
        // No attribute contains an unescaped `>`.
        let inside = tag.split('>').next().unwrap();
        let name = inside.split([' ', '\n']).next().unwrap();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{inside}");
        } else if !["!doctype", "meta", "wbr"].contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn every_page_is_well_formed_and_loads_no_other_file() {
    for report in [clean(), with_findings(), Report::new("nothing"), many_sweeps()] {
        let page = report.html();
        assert_balanced(&page);
        assert!(
            page.contains("name=\"viewport\""),
            "a phone would show the page too small"
        );
        for bad in ["http", "src=", "<script", "<link", "@import", "url("] {
            assert!(!page.contains(bad), "{bad}");
        }
    }
}

#[test]
fn every_kind_of_text_parses_back_from_the_json() {
    let text = "a\"b\\c\n\r\t\u{0}\u{1f}\u{7f}/é😀\u{2028}</script>";
    let json = parse(&report_of_text(text).json());
    let finding = &json.get("findings").items()[0];
    for value in [
        json.get("title"),
        finding.get("message"),
        finding.get("image_dir"),
    ] {
        assert_eq!(value.text(), text);
    }
}

#[test]
fn the_description_of_the_json_names_every_field() {
    let described = include_str!("../json.md");
    let mut values = vec![parse(&with_findings().json())];
    while let Some(value) = values.pop() {
        match value {
            JsonValue::Object(fields) => {
                for (name, value) in fields {
                    assert!(
                        described.contains(&format!("`{name}`")),
                        "{name} is not described"
                    );
                    values.push(value);
                }
            }
            JsonValue::Array(items) => values.extend(items),
            JsonValue::Plain(_) | JsonValue::Text(_) => {}
        }
    }
}

#[test]
fn the_terminal_matrix_fits_a_hundred_columns() {
    let mut sweep = CLEAN.clone();
    for (_, count) in &mut sweep.crossings {
        *count = 999_999_999;
    }
    sweep.left_out.images = u128::MAX;
    sweep.left_out.faults = usize::MAX;
    let report = Report::from(sweep);
    for line in report.terminal().lines() {
        let columns = line.chars().count();
        assert!(columns <= 100, "{columns} columns: {line}");
    }
}

/// A report of more sweeps than stored maps. The last sweep has findings.
fn many_sweeps() -> Report {
    let mut report = Report::new("many");
    for _ in 0..MAPS_MAX + 3 {
        report.add(CLEAN.clone());
    }
    report.add(WITH_FINDINGS.clone());
    report
}

#[test]
fn the_number_of_stored_maps_is_bounded_and_the_map_of_a_sweep_with_findings_is_stored() {
    let report = many_sweeps();
    let stored: Vec<usize> = report.maps().map(|(index, _)| index).collect();
    assert_eq!(stored.len(), MAPS_MAX);
    assert_eq!(
        stored.last(),
        Some(&(MAPS_MAX + 3)),
        "the map of the sweep with findings"
    );
    let sites = report.sweeps.iter().map(|it| it.sites_len as u64).sum::<u64>();
    assert_eq!(report.totals.sites, sites);
    assert!(
        report
            .html()
            .contains("The maps of 4 other sweeps are not shown.")
    );
    let json = parse(&report.json());
    let sweeps = json.get("sweeps").items();
    assert_eq!(sweeps.len(), MAPS_MAX + 4);
    for (index, (json, reported)) in sweeps.iter().zip(&report.sweeps).enumerate() {
        let has_map = *json.get("map") != JsonValue::Plain("null".to_owned());
        assert_eq!(
            (has_map, reported.has_map()),
            (stored.contains(&index), stored.contains(&index)),
            "sweep {index}"
        );
        let expected = if index == MAPS_MAX + 3 {
            &*WITH_FINDINGS
        } else {
            &*CLEAN
        };
        assert_eq!(json.get("sites").plain(), expected.sites.len().to_string());
        assert_eq!(reported.report.distinct, expected.distinct);
    }
}

#[test]
fn the_new_images_of_all_groups_of_a_map_are_the_new_images_of_all_crash_positions() {
    let page = clean().html();
    let new = page.split("<span class=\"s\">").skip(1).map(|it| {
        let number = it.split(", ").nth(1).unwrap().split(' ').next().unwrap();
        number.replace(',', "").parse::<u64>().unwrap()
    });
    let positions = CLEAN.sites.iter().map(|it| (it.crash_position, it.distinct));
    let mut positions: Vec<(usize, u64)> = positions.collect();
    positions.dedup();
    let expected: u64 = positions.iter().map(|(_, distinct)| distinct).sum();
    assert_eq!(new.sum::<u64>(), expected);
}

#[test]
fn the_page_and_the_json_of_operations_with_any_bytes_are_well_formed() {
    let name = (0..=255).collect::<Vec<u8>>();
    let workload = Workload {
        operations: vec![
            Operation::CreateCollection(b"<b>\"'&".to_vec()),
            Operation::CreateCollection(name[..255].to_vec()),
        ],
    };
    let sweep = crate::testing::CrashSweep::of(workload).depth(0).faults_max(0);
    let report = Report::from(sweep.run());
    assert_eq!(report.totals.findings, 0, "{}", report.terminal());
    assert_balanced(&report.html());
    parse(&report.json());
}

/// An output that stores its text.
#[derive(Clone, Default)]
struct BufferedOutput(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for BufferedOutput {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl BufferedOutput {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn progress() -> Progress {
    Progress {
        phase: Phase::Nested,
        done: 410,
        total: 531,
        elapsed: Duration::from_secs(1000),
        images: 18_739_000,
        distinct: 1_234_567,
        recoveries: 1_240_000,
        per_second: 1657.4,
        findings: 0,
        time_left: Some(Duration::from_secs(201)),
    }
}

#[test]
fn the_live_line_of_a_long_run_has_rate_and_time_left_in_under_eighty_columns() {
    let line = LiveStatus::from(&progress()).to_string();
    assert_eq!(
        line,
        "nested 77% | 1,234,567 distinct | 1,657 recovered/s | 0 findings | 3:21 left"
    );
    let mut report = clean();
    report.running(progress());
    let json = parse(&report.json());
    assert_eq!(json.get("running.distinct").plain(), "1234567");
    assert!(report.html().contains("Still running:"));
}

#[test]
fn a_terminal_shows_one_line_that_never_wraps_and_a_file_gets_a_line_every_ten_seconds() {
    let output = BufferedOutput::default();
    let live = LiveLine::to(Box::new(output.clone()), true);
    live.clear();
    live.show(&LiveStatus::of_parts("first", 1, 4, Duration::ZERO));
    let long = "é".repeat(100);
    live.show(&LiveStatus::of_parts(long, 1, 4, Duration::from_secs(1)));
    live.print("a finding");
    live.clear();
    let long = format!("{}…", "é".repeat(78));
    let first = "first 25% | 0 findings | 0:00 left";
    let expected = format!("\r{first}\x1b[K\r{long}\x1b[K\r\x1b[Ka finding\n\r\x1b[K");
    assert_eq!(output.text(), expected);

    let output = BufferedOutput::default();
    let live = LiveLine::to(Box::new(output.clone()), false);
    for second in 0..25 {
        let elapsed = Duration::from_secs(second);
        live.show(&LiveStatus::of_time("step", elapsed, Duration::from_secs(40)).count(second, "cases"));
    }
    live.print("a finding");
    live.clear();
    let expected = "\
step 0% | 0 cases | 0.0 cases/s | 0 findings | 0:40 left
step 25% | 10 cases | 1.0 cases/s | 0 findings | 0:30 left
step 50% | 20 cases | 1.0 cases/s | 0 findings | 0:20 left
a finding
";
    assert_eq!(output.text(), expected);
}

#[test]
fn a_silent_line_prints_nothing_and_the_time_left_follows_from_the_finished_parts() {
    let live = LiveLine::silent();
    live.show(&LiveStatus::of_parts("step", 0, 4, Duration::ZERO));
    live.print("a finding");
    let status = |done| LiveStatus::of_parts("step", done, 4, Duration::from_secs(30)).findings(1);
    assert_eq!(status(0).to_string(), "step 0% | 1 finding");
    assert_eq!(status(1).to_string(), "step 25% | 1 finding | 1:30 left");
    assert_eq!(status(5).to_string(), "step 100% | 1 finding | 0:00 left");
}
