//! Reads the crate's own sources and holds them to the rule for hooks.
//!
//! A hook is the gate line and below it one call statement, at statement level, in the file and function of the table
//! below and nowhere else. Beside hooks, production modules know of test builds in three places only: their test
//! modules, the gate of the `testing` module in `src/lib.rs`, and one statement in `src/threads.rs`. So what the tests
//! see is what production runs.
//!
//! The reading is by lines and trusts the formatter: an item's first and last line have the same indentation.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::CrashPoint;

const GATE: &str = r#"#[cfg(any(test, feature = "test-utils"))]"#;
const CALL: &str = "crate::testing::check_crash_point(crate::testing::CrashPoint::";
const CALL_END: &str = ");";
const INHERIT: &str = "let body = crate::testing::crash_injector::inherit(body);";

/// Where a hook must stand, once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Hook<'a> {
    file: &'a str,
    function: &'a str,
    point: &'a str,
}

const fn hook(point: CrashPoint, file: &'static str, function: &'static str) -> Hook<'static> {
    Hook {
        file,
        function,
        point: point.name(),
    }
}

const HOOKS: [Hook<'_>; 10] = [
    hook(
        CrashPoint::WalPreAggregate,
        "src/signals/ledger/core.rs",
        "record_signal",
    ),
    hook(
        CrashPoint::WalPostAggregate,
        "src/signals/ledger/core.rs",
        "record_signal",
    ),
    hook(
        CrashPoint::CheckpointPreFlush,
        "src/signals/checkpoint/mod.rs",
        "checkpoint",
    ),
    hook(
        CrashPoint::CheckpointPostFlush,
        "src/signals/checkpoint/mod.rs",
        "checkpoint",
    ),
    hook(
        CrashPoint::SignalAggregationUpdate,
        "src/signals/hot.rs",
        "on_signal",
    ),
    hook(CrashPoint::CohortLedgerUpdate, "src/cohort/ledger.rs", "record"),
    hook(
        CrashPoint::CollectionIndexUpdate,
        "src/db/collections.rs",
        "add_to_collection",
    ),
    hook(
        CrashPoint::CollectionIndexUpdate,
        "src/db/collections.rs",
        "create_collection",
    ),
    hook(
        CrashPoint::CollectionIndexUpdate,
        "src/db/collections.rs",
        "remove_from_collection",
    ),
    hook(
        CrashPoint::CoEngagementUpdate,
        "src/entities/co_engagement.rs",
        "record_positive",
    ),
];

/// The points whose write path is not there yet. They must not be crossed anywhere.
const NOT_YET: [CrashPoint; 8] = CrashPoint::ALL;

#[test]
fn the_sources_keep_the_rule_for_hooks() {
    let mut sources = BTreeMap::new();
    read_sources(Path::new(env!("CARGO_MANIFEST_DIR")), "src", &mut sources);
    assert!(sources.contains_key("src/lib.rs"), "the sources are read");

    let placed = |hook: &Hook<'_>| NOT_YET.iter().all(|point| point.name() != hook.point);
    let expected: Vec<_> = HOOKS.into_iter().filter(placed).collect();
    let findings = findings(&sources, &expected);
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

#[test]
fn every_point_has_a_place_and_no_place_is_listed_twice() {
    let points: BTreeSet<_> = HOOKS.iter().map(|hook| hook.point).collect();
    assert_eq!(points, CrashPoint::ALL.iter().map(|point| point.name()).collect());
    assert_eq!(HOOKS.iter().collect::<BTreeSet<_>>().len(), HOOKS.len());
}

/// All source files below `folder`, by their path from the crate's root with `/` between.
#[expect(
    clippy::disallowed_methods,
    reason = "reads the crate's sources, not a database"
)]
fn read_sources(root: &Path, folder: &str, sources: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(root.join(folder)).expect("the crate's sources") {
        let entry = entry.expect("a directory entry");
        let path = format!("{folder}/{}", entry.file_name().to_str().expect("a plain name"));
        if entry.file_type().expect("its type").is_dir() {
            read_sources(root, &path, sources);
        } else if Path::new(&path)
            .extension()
            .is_some_and(|extension| extension == "rs")
        {
            sources.insert(path, fs::read_to_string(entry.path()).expect("a source file"));
        }
    }
}

/// What breaks the rule, as `file:line: what`.
fn findings(sources: &BTreeMap<String, String>, expected: &[Hook<'_>]) -> Vec<String> {
    let test_files: Vec<_> = sources
        .iter()
        .flat_map(|(file, text)| test_modules_of(file, text))
        .collect();
    let mut reading = Reading::default();
    for (file, text) in sources {
        let of_tests = test_files.iter().any(|test| is_module_or_below(file, test));
        if !of_tests && !file.starts_with("src/testing/") {
            reading.read(file, &production_lines(text));
        }
    }
    let Reading {
        mut findings,
        hooks,
        testing_gates,
        inherits,
    } = reading;
    for (count, what) in [
        (testing_gates, "gate of `testing` in src/lib.rs"),
        (inherits, "`inherit` in src/threads.rs"),
    ] {
        if count != 1 {
            findings.push(format!("{count} times instead of once: the {what}"));
        }
    }
    findings.extend(differences(&hooks, expected));
    findings
}

/// What is found on the way through the production modules.
#[derive(Default)]
struct Reading<'a> {
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
                self.hooks.push(Hook {
                    file,
                    function: function_around(lines, index),
                    point,
                });
                if !is_gated {
                    Some("a hook without its gate directly above")
                } else if !begins_a_statement(&lines[..index - 1]) {
                    Some("a hook inside of a statement")
                } else {
                    None
                }
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

    /// Counts the two gated statements beside the hooks.
    fn is_other_gated_statement(&mut self, file: &str, statement: &str) -> bool {
        match (file, statement) {
            ("src/lib.rs", "pub mod testing;") => self.testing_gates += 1,
            ("src/threads.rs", INHERIT) => self.inherits += 1,
            _ => return false,
        }
        true
    }
}

/// The hooks that are missing, misplaced or there more than once.
fn differences(hooks: &[Hook<'_>], expected: &[Hook<'_>]) -> Vec<String> {
    let count = |list: &[Hook<'_>], hook: &Hook<'_>| list.iter().filter(|other| *other == hook).count();
    let places: BTreeSet<_> = hooks.iter().chain(expected).collect();
    places
        .into_iter()
        .map(|hook| (hook, count(hooks, hook), count(expected, hook)))
        .filter(|(_, found, wanted)| found != wanted)
        .map(|(hook, found, wanted)| format!("{hook:?} is there {found} times instead of {wanted}"))
        .collect()
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
            let end = if module.inline {
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
    inline: bool,
    path: Option<&'a str>,
}

/// The test module whose `#[cfg(test)]` is this line.
fn test_module_at<'a>(lines: &[&'a str], index: usize) -> Option<TestModule<'a>> {
    if lines[index].trim() != "#[cfg(test)]" {
        return None;
    }
    let mut line = index + 1;
    let path = lines
        .get(line)?
        .trim()
        .strip_prefix("#[path = \"")
        .and_then(|rest| rest.strip_suffix("\"]"));
    if path.is_some() {
        line += 1;
    }
    let (visibility, declaration) = lines.get(line)?.trim().split_once("mod ")?;
    if !visibility.is_empty() && !visibility.starts_with("pub") {
        return None;
    }
    match declaration.strip_suffix(';') {
        Some(name) => Some(TestModule {
            name,
            line,
            inline: false,
            path,
        }),
        None => declaration.strip_suffix(" {").map(|name| TestModule {
            name,
            line,
            inline: true,
            path,
        }),
    }
}

/// The files of the test modules that a file declares, each without `.rs`: the module's own and the folder below it.
fn test_modules_of(file: &str, text: &str) -> Vec<String> {
    let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
    let stem = name.strip_suffix(".rs").unwrap_or(name);
    let lines: Vec<&str> = text.lines().collect();
    let modules = (0..lines.len())
        .filter_map(|index| test_module_at(&lines, index))
        .filter(|module| !module.inline);
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

/// Whether a statement may begin after these lines: the last one that says something opened or closed a block, or ended
/// a statement.
fn begins_a_statement(before: &[&str]) -> bool {
    let last = before.iter().rev().find(|line| !line.trim().is_empty());
    last.is_some_and(|line| line.ends_with(['{', '}', ';']))
}

/// The name of the function that holds the line, empty if none does.
fn function_around<'a>(lines: &[&'a str], index: usize) -> &'a str {
    let mut inside = indentation(lines[index]);
    for line in lines[..index].iter().rev() {
        if line.trim().is_empty() || indentation(line) >= inside {
            continue;
        }
        // The end of a signature over several lines has the indentation of its beginning.
        let ends_a_signature = [")", "{", "where"].iter().any(|end| line.trim().starts_with(end));
        inside = indentation(line) + usize::from(ends_a_signature);
        let (before, after) = line.trim().split_once("fn ").unwrap_or(("no", ""));
        if before.is_empty() || before.ends_with(' ') {
            return after.split(['(', '<']).next().unwrap_or_default();
        }
    }
    ""
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

mod self_test;
