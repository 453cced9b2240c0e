//! The rule for hooks.
//!
//! A production module depends on test builds only in its test modules and in the statements listed here, each below the
//! cfg line of test builds. Each listed statement occurs once. The listed statements are the hooks and `pub mod testing`.
//! The lines of the seam in `src/sync.rs` have a rule of their own. So tests run the production code.
//!
//! The rule reads lines and relies on the formatter: the first and the last line of an item have the same indentation.

use super::code::{code_of, is_part_of_word};
use super::{Rule, Sources, is_of_tests, seam};
use crate::testing::CrashPoint;

/// The cfg line of test builds.
pub(super) const TEST_CFG: &str = r#"#[cfg(any(test, feature = "test-utils"))]"#;
/// The beginning of a hook's call statement.
pub(super) const HOOK: &str = "crate::testing::check_crash_point(crate::testing::CrashPoint::";
const CFG: &[&str] = &["#[cfg", "#![cfg", "cfg!(", "cfg_attr", "cfg_select!"];
/// The declarations of test modules.
const TEST_MODULES: [[&str; 2]; 2] = [
    ["#[cfg(test)]", "mod tests;"],
    ["#[cfg(test)]", "pub(crate) mod tests;"],
];
const TESTING: &[&str] = &[
    "check_crash_point",
    "CrashPoint",
    "testing::",
    "mod testing",
    "mod tests",
];

/// A row for each hook. Columns: crash point; file; function; a text that occurs above the hook in this function; a text
/// that occurs only below it. `-`: no condition.
const HOOKS: &str = "
WalPreAggregate         src/signals/ledger/core.rs    record_signal          .append(            apply_signals(
WalPostAggregate        src/signals/ledger/core.rs    record_signal          apply_signals(      apply_cohorts(
CheckpointPreFlush      src/signals/checkpoint/mod.rs checkpoint             -                   write_batch(
CheckpointPostFlush     src/signals/checkpoint/mod.rs checkpoint             flush(              append_checkpoint(
SignalAggregationUpdate src/signals/hot.rs            on_signal              decay_scores[0]     decay_scores[1
CohortLedgerUpdate      src/cohort/ledger.rs          record                 hot.on_signal(      warm.increment(
CollectionIndexUpdate   src/db/collections.rs         add_to_collection      self.store(         self.change_index(
CollectionIndexUpdate   src/db/collections.rs         create_collection      self.store(         self.change_index(
CollectionIndexUpdate   src/db/collections.rs         remove_from_collection self.store(         self.change_index(
CollectionIndexUpdate   src/db/collections.rs         delete_collection      self.store(         self.change_index(
CoEngagementUpdate      src/entities/co_engagement.rs record_positive        link(               evict(
";

pub(super) const RULE: Rule = Rule {
    name: "each hook is at its listed position, and no other part of a production module depends on test builds",
    findings,
    planted: &[
        // A hook that is missing, occurs twice, has another crash point, or is in another function.
        "src/signals/hot.rs | CrashPoint::Signal | CrashPoint:: | on_signal of src/signals/hot.rs occurs 0 times",
        "src/cohort/ledger.rs | warm.inc | <cfg>\n            <hook>CohortLedgerUpdate);\nwarm.inc | 2 times",
        "src/cohort/ledger.rs | CrashPoint::Cohort | CrashPoint::Collection | not listed",
        "src/cohort/ledger.rs | fn record( | fn other<T>( | not listed",
        "src/cohort/ledger.rs | fn record( | fn other( | in record of src/cohort/ledger.rs occurs 0 times",
        // A hook without its cfg line directly above, with another cfg, with an import, or with more code in its line.
        "src/cohort/ledger.rs | <cfg>\n |  | mentions `testing`",
        "src/cohort/ledger.rs | \"))]\n | \"))]\n\n | mentions `testing`",
        "src/cohort/ledger.rs | <cfg> | #[cfg(test)] | a cfg",
        "src/cohort/ledger.rs | crate::testing::check_crash | check_crash | not listed",
        "src/cohort/ledger.rs | LedgerUpdate); | LedgerUpdate); other(); | not listed",
        // A hook at a wrong position of its function. Steps of another function do not count.
        "src/cohort/ledger.rs | hot.on_signal(slot, weight, at_ms); | let x = | inside another",
        "src/cohort/ledger.rs | hot.on_signal( | other( | not between",
        "src/cohort/ledger.rs | warm.increment( | other( | not between",
        "src/cohort/ledger.rs | hot.on_signal( | warm.increment(hot.on_signal( | below a step",
        "src/signals/ledger/core.rs | .append(frame | .other(frame | not between",
        "src/signals/ledger/core.rs | self.apply_cohorts(events) | self.other(events) | not between",
        // The other statement of test builds.
        "src/lib.rs | <cfg>\npub mod testing; |  | in - of src/lib.rs occurs 0 times",
        "src/lib.rs | <cfg>\n |  | mentions `testing`",
        // A line of the seam that does not select a name of the standard library for production builds, that selects
        // other names for test builds, that has no other half, or that is in another file.
        "src/sync.rs |  | <production cfg>\npub(crate) use crate::a::B;\n<cfg>\npub(crate) use std::a::B;\n | a cfg",
        "src/sync.rs |  | <production cfg>\npub(crate) use std::a::B as C;\n<cfg>\npub(crate) use std::a::B as C;\n | a cfg",
        "src/sync.rs |  | <production cfg>\npub(crate) use std::a::*;\n<cfg>\npub(crate) use std::a::*;\n | a cfg",
        "src/sync.rs |  | <production cfg>\npub(crate) use std::a::B;\n<cfg>\npub(crate) use crate::testing::lab::B;\n | not listed",
        "src/sync.rs |  | <production cfg>\npub(crate) use std::a::B;\n<cfg>\npub(crate) use std::a::C;\n | not listed",
        "src/sync.rs |  | <production cfg>\npub(crate) use std::a::B;\n | a cfg",
        "src/sync.rs |  | <cfg>\npub(crate) use std::a::B;\n | not listed",
        "src/sync.rs | <cfg>\npub(crate) use | pub(crate) use | a cfg",
        "src/decay.rs |  | <production cfg>\npub(crate) use std::a::B;\n<cfg>\npub(crate) use std::a::B;\n | a cfg",
        "src/sync.rs | , track_caller)]\npub(crate) fn lock< | , inline)]\npub(crate) fn lock< | a cfg",
        "src/sync.rs | , track_caller)]\npub(crate) fn lock< | , track_caller)]\npub(crate) struct Lock< | a cfg",
        "src/poison.rs |  | #[cfg_attr(any(test, feature = \"test-utils\"), track_caller)]\nfn f() {}\n | a cfg",
        // Any other mention of `testing`, and any other cfg.
        "src/signals/hot.rs |  | use crate::testing as kit;\n | mentions",
        "src/signals/hot.rs |  | use crate::testing::SimDisk;\n | mentions `testing`",
        "src/signals/hot.rs |  | #[cfg(unix)]\nfn f() {}\n | a cfg",
        "src/signals/hot.rs |  | #![cfg(unix)]\n | a cfg",
        "src/signals/hot.rs |  | const TEST: bool = cfg!(test);\n | a cfg",
        "src/signals/hot.rs |  | #[cfg_attr(test, derive(Debug))]\nstruct A;\n | a cfg",
        "src/signals/hot.rs |  | #[cfg(test)]\nfn f() {}\n | a cfg",
        "src/signals/hot.rs |  | #[cfg(not(test))]\nfn f() {}\n | a cfg",
        "src/signals/hot.rs |  | <cfg>\nfn f() {}\n | not listed",
        // A test module that is part of every build, or is in the file itself.
        "src/signals/mod.rs | #[cfg(test)]\nmod tests; | mod tests; | mentions",
        "src/decay.rs |  | #[cfg(test)]\nmod tests {}\n | a cfg",
        "src/decay.rs |  | #[cfg(test)]\n#[path = \"../x.rs\"]\nmod tests;\n | a cfg",
    ],
};

/// A listed statement of test builds and its position.
struct TestStatement<'a> {
    file: &'a str,
    /// `-` outside of any function.
    function: &'a str,
    statement: String,
    above: &'a str,
    below: &'a str,
}

impl<'a> TestStatement<'a> {
    fn all() -> Vec<Self> {
        let parse = |row: &'a str, statement: Option<&str>| {
            let [name, file, function, above, below] = row.split_whitespace().collect::<Vec<_>>()[..] else {
                panic!("a row needs five columns: {row}");
            };
            let hook = format!("{HOOK}{name});");
            Self {
                file,
                function,
                statement: statement.map_or(hook, str::to_owned),
                above,
                below,
            }
        };
        let mut all: Vec<_> = HOOKS.trim().lines().map(|row| parse(row, None)).collect();
        all.push(parse("testing src/lib.rs - - -", Some("pub mod testing;")));
        all
    }

    /// The fault in the position of the statement, whose line has this index; `None` if the position is right.
    fn fault(&self, lines: &[&str], index: usize) -> Option<&'static str> {
        let mut before = lines[..index - 1]
            .iter()
            .rev()
            .filter(|line| !line.trim().is_empty());
        if before.next().is_some_and(|line| !line.ends_with(['{', '}', ';'])) {
            return Some("a statement of test builds inside another statement");
        }
        let first = function_around(lines, index).map_or(0, |(first, _)| first);
        let has = |lines: &[&str], text: &str| text == "-" || lines.iter().any(|line| line.contains(text));
        let (before, after) = (&lines[first..index], &lines[index..=end_of_block(lines, first)]);
        if !has(before, self.above) || !has(after, self.below) {
            return Some("a statement of test builds that is not between the listed steps");
        }
        let is_late = self.below != "-" && has(before, self.below);
        is_late.then_some("a statement of test builds below a step that must follow it")
    }
}

fn findings(sources: &Sources) -> Vec<String> {
    let listed = TestStatement::all();
    let mut counts = vec![0; listed.len()];
    let mut findings = Vec::new();
    for (file, lines) in &production_files(sources) {
        for (index, line) in lines.iter().map(|line| line.trim()).enumerate() {
            let mentions = |words: &[&str]| words.iter().any(|word| line.contains(word));
            let code = code_of(line);
            let has_module_name = code
                .split(|it| !is_part_of_word(it))
                .any(|word| word == "testing");
            let fault = if index > 0 && lines[index - 1].trim() == TEST_CFG {
                let function = function_around(lines, index).map_or("-", |(_, name)| name);
                let here = (*file, function, line);
                match listed
                    .iter()
                    .position(|listed| (listed.file, listed.function, listed.statement.as_str()) == here)
                {
                    Some(number) => {
                        counts[number] += 1;
                        listed[number].fault(lines, index)
                    }
                    None => Some("a statement of test builds that is not listed"),
                }
            } else if line != TEST_CFG && mentions(CFG) {
                Some("a cfg in a production module")
            } else {
                (mentions(TESTING) || has_module_name).then_some("a production module mentions `testing`")
            };
            findings.extend(fault.map(|fault| format!("{file}:{}: {fault}", index + 1)));
        }
    }
    for (statement, count) in listed.iter().zip(counts).filter(|(_, count)| *count != 1) {
        let TestStatement {
            file,
            function,
            statement,
            ..
        } = statement;
        findings.push(format!(
            "{statement} in {function} of {file} occurs {count} times"
        ));
    }
    findings
}

/// The lines of each source of the engine, except its tests. Comments, the declarations of test modules and the
/// lines of the seam are empty lines.
pub(super) fn production_files(sources: &Sources) -> Vec<(&str, Vec<&str>)> {
    let is_production = |(file, _): &(&str, &str)| !file.starts_with("src/testing/") && !is_of_tests(file);
    let files = sources.rust("src/").filter(is_production);
    let lines = |file, text| match production_lines(text) {
        lines if file == seam::FILE => seam::without_seam(lines),
        lines => lines,
    };
    files.map(|(file, text)| (file, lines(file, text))).collect()
}

fn production_lines(text: &str) -> Vec<&str> {
    let is_comment = |line: &str| line.trim_start().starts_with("//");
    let lines = text.lines().map(|line| if is_comment(line) { "" } else { line });
    let mut lines: Vec<_> = lines.collect();
    for first in 1..lines.len() {
        if TEST_MODULES.contains(&[lines[first - 1], lines[first]]) {
            lines[first - 1..=first].fill("");
        }
    }
    lines
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The first line and the name of the function around a line.
fn function_around<'a>(lines: &[&'a str], index: usize) -> Option<(usize, &'a str)> {
    let outer = |line: &&str| indentation(line) < indentation(lines[index]);
    let mut before = lines[..index]
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, line)| outer(line));
    before.find_map(|(first, line)| {
        let (modifiers, rest) = line.trim().split_once("fn ")?;
        let is_item = modifiers.is_empty() || modifiers.ends_with(' ');
        Some((first, rest.split(['(', '<']).next()?)).filter(|_| is_item)
    })
}

/// The last line of the block that this line opens.
fn end_of_block(lines: &[&str], opening: usize) -> usize {
    if lines[opening].ends_with("{}") {
        return opening;
    }
    let closes = |line: &&str| line.trim() == "}" && indentation(line) == indentation(lines[opening]);
    let below = lines[opening..].iter().position(closes);
    below.map_or(lines.len() - 1, |below| opening + below)
}

#[test]
fn every_crash_point_has_a_listed_hook() {
    for point in CrashPoint::ALL {
        assert!(HOOKS.contains(&format!("\n{point} ")), "{point}");
    }
}
