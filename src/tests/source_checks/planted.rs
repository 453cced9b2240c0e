//! The rule for the planted changes of the package `tests/planted_schedules`, which the tests of the crate do not build.

use super::Rule;
use crate::tests::planted_changes::PlantedChange;

pub(super) const RULE: Rule = Rule {
    name: "the lines before each planted change occur once in its file",
    findings: |sources| {
        let changes = PlantedChange::all().into_iter();
        let wrong = |change: PlantedChange| {
            let PlantedChange {
                name, promise, file, ..
            } = &change;
            let applied = change.apply(sources.text(file));
            let places_len = applied.err()?;
            Some(format!(
                "{name} ({promise}): its lines occur {places_len} times in {file}"
            ))
        };
        changes.filter_map(wrong).collect()
    },
    planted: &[
        "src/wal/log.rs | let _guard = lock(&self.syncing); | let _held = lock(&self.syncing); | overlapping-syncs",
        "src/storage/guarded.rs |  | \n        *flushed = written;\n | its lines occur 2 times in src/storage/guarded.rs",
    ],
};
