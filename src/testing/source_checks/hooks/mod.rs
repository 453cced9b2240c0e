//! The rule for hooks.
//!
//! A hook is the gate line and below it one call statement, at statement level, in the file and function of
//! the table below and nowhere else. Beside hooks, production modules know of test builds in three places
//! only: their test modules, the gate of the `testing` module in `src/lib.rs`, and one statement in
//! `src/threads.rs`. So what the tests see is what production runs.
//!
//! The reading is by lines and trusts the formatter: an item's first and last line have the same indentation.

use std::collections::BTreeSet;

use super::{Rule, Sources};
use crate::testing::CrashPoint;

pub(super) const RULE: Rule = Rule {
    name: "hooks stand in their places, and no other part of a production module knows of test builds",
    findings: |sources| findings(sources, &PLACES),
    planted: &[
        (
            "src/signals/hot.rs",
            "",
            "#[cfg(unix)]\nfn f() {}\n",
            "a cfg in a production module",
        ),
        (
            "src/signals/hot.rs",
            "CrashPoint::SignalAggregationUpdate);",
            ");",
            "is there 0 times instead of 1",
        ),
    ],
};

const GATE: &str = r#"#[cfg(any(test, feature = "test-utils"))]"#;
const CALL: &str = "crate::testing::check_crash_point(crate::testing::CrashPoint::";
const CALL_END: &str = ");";
const INHERIT: &str = "let body = crate::testing::crash_injector::inherit(body);";

/// A hook, by where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Hook<'a> {
    file: &'a str,
    function: &'a str,
    point: &'a str,
}

/// Where a hook must stand, once: below a line of its function with the one text and above all lines with the
/// other. An empty text asks for nothing.
#[derive(Debug, Clone, Copy)]
struct Place {
    hook: Hook<'static>,
    below: &'static str,
    above: &'static str,
}

impl Place {
    const fn new(point: CrashPoint, file: &'static str, function: &'static str) -> Self {
        Self {
            hook: Hook {
                file,
                function,
                point: point.name(),
            },
            below: "",
            above: "",
        }
    }

    const fn between(self, below: &'static str, above: &'static str) -> Self {
        Self { below, above, ..self }
    }
}

const PLACES: [Place; 11] = [
    Place::new(
        CrashPoint::WalPreAggregate,
        "src/signals/ledger/core.rs",
        "record_signal",
    )
    .between(".append(", "apply_signals("),
    Place::new(
        CrashPoint::WalPostAggregate,
        "src/signals/ledger/core.rs",
        "record_signal",
    )
    .between("apply_signals(", "apply_cohorts("),
    Place::new(
        CrashPoint::CheckpointPreFlush,
        "src/signals/checkpoint/mod.rs",
        "checkpoint",
    )
    .between("", "write_batch("),
    Place::new(
        CrashPoint::CheckpointPostFlush,
        "src/signals/checkpoint/mod.rs",
        "checkpoint",
    )
    .between("flush(", "append_checkpoint("),
    Place::new(
        CrashPoint::SignalAggregationUpdate,
        "src/signals/hot.rs",
        "on_signal",
    )
    .between("decay_scores[0]", "decay_scores[1"),
    Place::new(CrashPoint::CohortLedgerUpdate, "src/cohort/ledger.rs", "record")
        .between("hot.on_signal(", "warm.increment("),
    Place::new(
        CrashPoint::CollectionIndexUpdate,
        "src/db/collections.rs",
        "add_to_collection",
    )
    .between("engine.put(", "self.change_index("),
    Place::new(
        CrashPoint::CollectionIndexUpdate,
        "src/db/collections.rs",
        "create_collection",
    )
    .between("engine.put(", "self.change_index("),
    Place::new(
        CrashPoint::CollectionIndexUpdate,
        "src/db/collections.rs",
        "remove_from_collection",
    )
    .between("engine.delete(", "self.change_index("),
    Place::new(
        CrashPoint::CollectionIndexUpdate,
        "src/db/collections.rs",
        "delete_collection",
    )
    .between("engine.write_batch(", "self.change_index("),
    Place::new(
        CrashPoint::CoEngagementUpdate,
        "src/entities/co_engagement.rs",
        "record_positive",
    )
    .between("link(", "evict("),
];

#[test]
fn every_point_has_a_place_and_no_place_is_listed_twice() {
    let points: BTreeSet<_> = PLACES.iter().map(|place| place.hook.point).collect();
    assert_eq!(points, CrashPoint::ALL.iter().map(|point| point.name()).collect());
    assert_eq!(
        PLACES
            .iter()
            .map(|place| place.hook)
            .collect::<BTreeSet<_>>()
            .len(),
        PLACES.len()
    );
}

/// What breaks the rule, as `file:line: what`.
fn findings(sources: &Sources, expected: &[Place]) -> Vec<String> {
    let test_files: Vec<_> = sources
        .rust("src/")
        .flat_map(|(file, text)| test_modules_of(file, text))
        .collect();
    let mut reading = Reading {
        expected,
        ..Reading::default()
    };
    for (file, text) in sources.rust("src/") {
        let of_tests = test_files.iter().any(|test| is_module_or_below(file, test));
        if !of_tests && !file.starts_with("src/testing/") {
            reading.read(file, &production_lines(text));
        }
    }
    reading.finish()
}

/// What is found on the way through the production modules.
#[derive(Default)]
struct Reading<'a> {
    expected: &'a [Place],
    findings: Vec<String>,
    hooks: Vec<Hook<'a>>,
    testing_gates: usize,
    inherits: usize,
}

impl<'a> Reading<'a> {
    fn read(&mut self, file: &'a str, lines: &[&'a str]) {
        for (index, line) in lines.iter().enumerate() {
            let is_gated = index > 0 && lines[index - 1].trim() == GATE;
            let what = if line.trim() == GATE {
                let gated = lines.get(index + 1).map_or("", |next| next.trim());
                let allowed = point_of(gated).is_some() || self.is_other_gated_statement(file, gated);
                (!allowed).then_some("the gate of test builds stands over something that is no hook")
            } else if let Some(point) = point_of(line.trim()) {
                self.read_hook(file, lines, index, point)
            } else if mentions_cfg(line) {
                Some("a cfg in a production module")
            } else {
                // What stands below a gate has been judged with it.
                (!is_gated && mentions_testing(line)).then_some("a production module reaches into `testing`")
            };
            self.findings
                .extend(what.map(|what| format!("{file}:{}: {what}", index + 1)));
        }
    }

    /// Notes the hook whose call is this line. Returns what is wrong with its surroundings.
    fn read_hook(
        &mut self,
        file: &'a str,
        lines: &[&'a str],
        index: usize,
        point: &'a str,
    ) -> Option<&'static str> {
        let (first, function) = function_around(lines, index).unwrap_or((index, ""));
        let hook = Hook {
            file,
            function,
            point,
        };
        self.hooks.push(hook);
        if index == 0 || lines[index - 1].trim() != GATE {
            return Some("a hook without its gate directly above");
        }
        if !begins_a_statement(&lines[..index - 1]) {
            return Some("a hook inside of a statement");
        }
        let place = self.expected.iter().find(|place| place.hook == hook)?;
        let (before, after) = (&lines[first..index], &lines[index..=end_of_block(lines, first)]);
        if !mentions(before, place.below) || !mentions(after, place.above) {
            return Some("a hook that does not stand between the steps it separates");
        }
        (!place.above.is_empty() && mentions(before, place.above))
            .then_some("a hook below a step it must come before")
    }

    /// Counts the two gated statements beside the hooks.
    fn is_other_gated_statement(&mut self, file: &str, statement: &str) -> bool {
        match (file, statement) {
            ("src/lib.rs", "pub mod testing;") => self.testing_gates += 1,
            ("src/threads.rs", INHERIT) => self.inherits += 1,
            _ => return false,
        }
        true
    }

    /// All findings, with what is missing or there too often.
    fn finish(mut self) -> Vec<String> {
        for (count, what) in [
            (self.testing_gates, "gate of `testing` in src/lib.rs"),
            (self.inherits, "`inherit` in src/threads.rs"),
        ] {
            if count != 1 {
                self.findings
                    .push(format!("{count} times instead of once: the {what}"));
            }
        }
        let places: BTreeSet<_> = self.expected.iter().map(|place| place.hook).collect();
        for hook in places.iter().chain(&self.hooks).collect::<BTreeSet<_>>() {
            let found = self.hooks.iter().filter(|other| *other == hook).count();
            let wanted = usize::from(places.contains(hook));
            if found != wanted {
                self.findings
                    .push(format!("{hook:?} is there {found} times instead of {wanted}"));
            }
        }
        self.findings
    }
}

/// The text's lines, with comments and inline test modules made empty.
fn production_lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    for line in &mut lines {
        if line.trim_start().starts_with("//") {
            *line = "";
        }
    }
    let mut index = 0;
    while index < lines.len() {
        if let Some(module) = test_module_at(&lines, index) {
            let is_block = module.body == ModuleBody::Block;
            let end = if is_block {
                end_of_block(&lines, module.line)
            } else {
                module.line
            };
            lines[index..=end].fill("");
            index = end;
        }
        index += 1;
    }
    lines
}

struct TestModule<'a> {
    name: &'a str,
    /// The line that says `mod`.
    line: usize,
    body: ModuleBody,
    path: Option<&'a str>,
}

#[derive(PartialEq)]
enum ModuleBody {
    File,
    Block,
    Empty,
}

/// The test module whose `#[cfg(test)]` is this line.
fn test_module_at<'a>(lines: &[&'a str], index: usize) -> Option<TestModule<'a>> {
    if lines[index].trim() != "#[cfg(test)]" {
        return None;
    }
    let attribute = lines.get(index + 1)?.trim().strip_prefix("#[path = \"");
    let path = attribute.and_then(|rest| rest.strip_suffix("\"]"));
    let line = index + 1 + usize::from(path.is_some());
    let (visibility, declaration) = lines.get(line)?.trim().split_once("mod ")?;
    if !visibility.is_empty() && !visibility.starts_with("pub") {
        return None;
    }
    let bodies = [
        (";", ModuleBody::File),
        (" {", ModuleBody::Block),
        (" {}", ModuleBody::Empty),
    ];
    bodies.into_iter().find_map(|(end, body)| {
        let name = declaration.strip_suffix(end)?;
        Some(TestModule {
            name,
            line,
            body,
            path,
        })
    })
}

/// The files of the test modules that a file declares, each without `.rs`: the module's own and the folder
/// below it.
fn test_modules_of(file: &str, text: &str) -> Vec<String> {
    let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
    let stem = name.strip_suffix(".rs").unwrap_or(name);
    let lines: Vec<&str> = text.lines().collect();
    let modules = (0..lines.len())
        .filter_map(|index| test_module_at(&lines, index))
        .filter(|module| module.body == ModuleBody::File);
    modules
        .map(|module| match module.path {
            Some(path) => format!("{folder}/{}", path.trim_end_matches(".rs")),
            None if matches!(stem, "mod" | "lib") => format!("{folder}/{}", module.name),
            None => format!("{folder}/{stem}/{}", module.name),
        })
        .collect()
}

fn is_module_or_below(file: &str, module: &str) -> bool {
    file.strip_prefix(module)
        .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// The point of a hook's call statement.
fn point_of(statement: &str) -> Option<&str> {
    let point = statement.strip_prefix(CALL)?.strip_suffix(CALL_END)?;
    point.parse::<CrashPoint>().is_ok().then_some(point)
}

/// Whether one of the lines has the text. Any line has the empty one.
fn mentions(lines: &[&str], text: &str) -> bool {
    lines.iter().any(|line| line.contains(text))
}

fn mentions_cfg(line: &str) -> bool {
    ["#[cfg", "#![cfg", "cfg!(", "cfg_attr", "cfg_select!"]
        .iter()
        .any(|cfg| line.contains(cfg))
}

fn mentions_testing(line: &str) -> bool {
    ["check_crash_point", "CrashPoint", "testing::", "mod testing"]
        .iter()
        .any(|word| line.contains(word))
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Whether a statement may begin after these lines: the last one that says something opened or closed a
/// block, or ended a statement.
fn begins_a_statement(before: &[&str]) -> bool {
    let last = before.iter().rev().find(|line| !line.trim().is_empty());
    last.is_some_and(|line| line.ends_with(['{', '}', ';']))
}

/// The function that holds the line: its first line and its name.
fn function_around<'a>(lines: &[&'a str], index: usize) -> Option<(usize, &'a str)> {
    let mut inside = indentation(lines[index]);
    for (first, line) in lines[..index].iter().enumerate().rev() {
        if line.trim().is_empty() || indentation(line) >= inside {
            continue;
        }
        // The end of a signature over several lines has the indentation of its beginning.
        let ends_a_signature = [")", "{", "where"].iter().any(|end| line.trim().starts_with(end));
        inside = indentation(line) + usize::from(ends_a_signature);
        let (before, after) = line.trim().split_once("fn ").unwrap_or(("no", ""));
        if before.is_empty() || before.ends_with(' ') {
            return Some((first, after.split(['(', '<']).next()?));
        }
    }
    None
}

/// The last line of the block that this line opens.
fn end_of_block(lines: &[&str], opening: usize) -> usize {
    let depth = indentation(lines[opening]);
    let closes = |line: &&str| line.trim() == "}" && indentation(line) == depth;
    lines
        .iter()
        .skip(opening)
        .position(closes)
        .map_or(lines.len() - 1, |below| opening + below)
}

mod tests;
