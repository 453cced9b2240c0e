//! The rule for the planted bugs of the package `tests/planted_schedules`, which the tests of the crate do not build.

use super::{Rule, Sources};
use crate::tests::source_bugs::SourceBug;

/// The files that name the kinds of findings, and the kinds of hangs.
const KIND_FILES: [&str; 2] = ["src/testing/sweep/finding.rs", "src/testing/scheduler/stuck.rs"];

pub(super) const RULE: Rule = Rule {
    name: "the old lines of each planted bug occur once in its file, and each kind that it expects exists",
    findings: |sources| {
        let bugs = SourceBug::all().into_iter();
        bugs.flat_map(|bug| findings(sources, &bug)).collect()
    },
    planted: &[
        "src/wal/log.rs | let _guard = lock(&self.syncing); | let _held = lock(&self.syncing); | overlapping-syncs",
        "src/storage/guarded.rs |  | \n        *flushed = written;\n | its old lines occur 2 times in src/storage/guarded.rs",
        "src/testing/scheduler/stuck.rs | => \"deadlock\" | => \"dead lock\" | no finding has the kind deadlock",
        "src/testing/sweep/finding.rs | => \"doubled\" | => \"double\" | no finding has the kind doubled",
    ],
};

fn findings(sources: &Sources, bug: &SourceBug) -> Vec<String> {
    let SourceBug {
        name,
        promise,
        kinds,
        file,
        ..
    } = bug;
    let places_len = bug.apply(sources.text(file)).err();
    let places =
        places_len.map(|len| format!("{name} ({promise}): its old lines occur {len} times in {file}"));
    let is_known = |kind: &str| {
        let printed = format!("=> \"{kind}\"");
        KIND_FILES
            .iter()
            .any(|file| sources.text(file).contains(&printed))
    };
    let unknown = kinds.iter().filter(|kind| !is_known(kind));
    let unknown = unknown.map(|kind| format!("{name}: no finding has the kind {kind}"));
    places.into_iter().chain(unknown).collect()
}
