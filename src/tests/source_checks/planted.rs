//! The rule for the planted bugs of the package `tests/planted_schedules`, which the tests of the crate do not build.

use super::Rule;
use crate::tests::source_bugs::SourceBug;

pub(super) const RULE: Rule = Rule {
    name: "the old lines of each planted bug occur once in its file",
    findings: |sources| {
        let wrong = |bug: SourceBug| {
            let SourceBug {
                name, promise, file, ..
            } = &bug;
            let places_len = bug.apply(sources.text(file)).err()?;
            Some(format!(
                "{name} ({promise}): its old lines occur {places_len} times in {file}"
            ))
        };
        SourceBug::all().into_iter().filter_map(wrong).collect()
    },
    planted: &[
        "src/wal/log.rs | let _guard = lock(&self.syncing); | let _held = lock(&self.syncing); | overlapping-syncs",
        "src/storage/guarded.rs |  | \n        *flushed = written;\n | its old lines occur 2 times in src/storage/guarded.rs",
    ],
};
