//! The rule for hooks.
//!
//! Production modules know of test builds in their test modules and in the gated statements listed here, each once: the
//! hooks, the module `testing`, and one statement in `src/threads.rs`. So tests run the code of production.
//!
//! The reading is by lines and trusts the formatter: an item's first and last line have the same indentation.

use super::{Rule, Sources, is_of_tests};
use crate::testing::CrashPoint;

pub(super) const GATE: &str = r#"#[cfg(any(test, feature = "test-utils"))]"#;
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

/// Point, file and function of each hook; a text of a line above it in the function; a text of lines below it alone.
/// `-` is any.
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
    name: "hooks stand in their places, and no other part of a production module knows of test builds",
    findings,
    planted: &[
        // A hook that is gone, twice there, of another point, or in another function.
        "src/signals/hot.rs | CrashPoint::Signal | CrashPoint:: | on_signal of src/signals/hot.rs is there 0 times",
        "src/cohort/ledger.rs | warm.inc | <gate>\n            <hook>CohortLedgerUpdate);\nwarm.inc | 2 times",
        "src/cohort/ledger.rs | CrashPoint::Cohort | CrashPoint::Collection | not listed",
        "src/cohort/ledger.rs | fn record( | fn other<T>( | not listed",
        "src/cohort/ledger.rs | fn record( | fn other( | in record of src/cohort/ledger.rs is there 0 times",
        // Without its gate directly above, under another one, imported, or not the whole statement.
        "src/cohort/ledger.rs | <gate>\n |  | reaches into",
        "src/cohort/ledger.rs | \"))]\n | \"))]\n\n | reaches into",
        "src/cohort/ledger.rs | <gate> | #[cfg(test)] | a cfg",
        "src/cohort/ledger.rs | crate::testing::check_crash | check_crash | not listed",
        "src/cohort/ledger.rs | LedgerUpdate); | LedgerUpdate); other(); | not listed",
        // In a wrong place of its function. Steps of another function do not count.
        "src/cohort/ledger.rs | hot.on_signal(slot, weight, at_ms); | let x = | inside of another",
        "src/cohort/ledger.rs | hot.on_signal( | other( | not between",
        "src/cohort/ledger.rs | warm.increment( | other( | not between",
        "src/cohort/ledger.rs | hot.on_signal( | warm.increment(hot.on_signal( | below a step",
        "src/signals/ledger/core.rs | .append(frame | .other(frame | not between",
        "src/signals/ledger/core.rs | self.apply_cohorts(events) | self.other(events) | not between",
        // The two other statements.
        "src/lib.rs | <gate>\npub mod testing; |  | in - of src/lib.rs is there 0 times",
        "src/lib.rs | <gate>\n |  | reaches into",
        "src/threads.rs | inherit(body); |  | in spawn of src/threads.rs is there 0 times",
        "src/threads.rs | let body = crate | let other = crate | not listed",
        // Any other mention.
        "src/signals/hot.rs |  | use crate::testing::SimDisk;\n | reaches into",
        "src/signals/hot.rs |  | #[cfg(unix)]\nfn f() {}\n | a cfg",
        "src/signals/hot.rs |  | #![cfg(unix)]\n | a cfg",
        "src/signals/hot.rs |  | const TEST: bool = cfg!(test);\n | a cfg",
        "src/signals/hot.rs |  | #[cfg_attr(test, derive(Debug))]\nstruct A;\n | a cfg",
        "src/signals/hot.rs |  | #[cfg(test)]\nfn f() {}\n | a cfg",
        "src/signals/hot.rs |  | #[cfg(not(test))]\nfn f() {}\n | a cfg",
        "src/signals/hot.rs |  | <gate>\nfn f() {}\n | not listed",
        // A test module that is part of every build, or is in the file itself.
        "src/signals/mod.rs | #[cfg(test)]\nmod tests; | mod tests; | reaches into",
        "src/decay.rs |  | #[cfg(test)]\nmod tests {}\n | a cfg",
        "src/decay.rs |  | #[cfg(test)]\n#[path = \"../x.rs\"]\nmod tests;\n | a cfg",
    ],
};

/// A gated statement, by where it stands.
struct GatedPlace<'a> {
    file: &'a str,
    /// `-` outside of any.
    function: &'a str,
    statement: String,
    above: &'a str,
    below: &'a str,
}

impl<'a> GatedPlace<'a> {
    fn all() -> Vec<Self> {
        let place = |row: &'a str, statement: Option<&str>| {
            let [name, file, function, above, below] = row.split_whitespace().collect::<Vec<_>>()[..] else {
                panic!("five columns: {row}");
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
        let mut places: Vec<_> = HOOKS.trim().lines().map(|row| place(row, None)).collect();
        let inherit = "let body = crate::testing::crash_injector::inherit(body);";
        places.push(place("testing src/lib.rs - - -", Some("pub mod testing;")));
        places.push(place("inherit src/threads.rs spawn - -", Some(inherit)));
        places
    }

    /// The fault of the lines around the statement, which is the one at `index`.
    fn fault(&self, lines: &[&str], index: usize) -> Option<&'static str> {
        let mut before = lines[..index - 1]
            .iter()
            .rev()
            .filter(|line| !line.trim().is_empty());
        if before.next().is_some_and(|line| !line.ends_with(['{', '}', ';'])) {
            return Some("a gated statement inside of another one");
        }
        let first = function_around(lines, index).map_or(0, |(first, _)| first);
        let has = |lines: &[&str], text: &str| text == "-" || lines.iter().any(|line| line.contains(text));
        let (before, after) = (&lines[first..index], &lines[index..=end_of_block(lines, first)]);
        if !has(before, self.above) || !has(after, self.below) {
            return Some("a gated statement that is not between the steps that it separates");
        }
        let is_late = self.below != "-" && has(before, self.below);
        is_late.then_some("a gated statement below a step that it must come before")
    }
}

fn findings(sources: &Sources) -> Vec<String> {
    let places = GatedPlace::all();
    let mut counts = vec![0; places.len()];
    let mut findings = Vec::new();
    for (file, lines) in &production(sources) {
        for (index, line) in lines.iter().map(|line| line.trim()).enumerate() {
            let mentions = |words: &[&str]| words.iter().any(|word| line.contains(word));
            let fault = if index > 0 && lines[index - 1].trim() == GATE {
                let function = function_around(lines, index).map_or("-", |(_, name)| name);
                let here = (*file, function, line);
                match places
                    .iter()
                    .position(|it| (it.file, it.function, it.statement.as_str()) == here)
                {
                    Some(place) => {
                        counts[place] += 1;
                        places[place].fault(lines, index)
                    }
                    None => Some("a gated statement that is not listed"),
                }
            } else if line != GATE && mentions(CFG) {
                Some("a cfg in a production module")
            } else {
                mentions(TESTING).then_some("a production module reaches into `testing`")
            };
            findings.extend(fault.map(|fault| format!("{file}:{}: {fault}", index + 1)));
        }
    }
    for (place, count) in places.iter().zip(counts).filter(|(_, count)| *count != 1) {
        let GatedPlace {
            file,
            function,
            statement,
            ..
        } = place;
        findings.push(format!(
            "{statement} in {function} of {file} is there {count} times"
        ));
    }
    findings
}

/// The lines of each source of the engine, except its tests. Comments and the declarations of test modules are empty lines.
pub(super) fn production(sources: &Sources) -> Vec<(&str, Vec<&str>)> {
    let is_production = |(file, _): &(&str, &str)| !file.starts_with("src/testing/") && !is_of_tests(file);
    let files = sources.rust("src/").filter(is_production);
    files.map(|(file, text)| (file, production_lines(text))).collect()
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
fn every_point_has_a_place() {
    for point in CrashPoint::ALL {
        assert!(HOOKS.contains(&format!("\n{point} ")), "{point}");
    }
}
