//! The report of a damage campaign.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::check::OpenResult;
use crate::testing::report::table::TextTable;
use crate::testing::report::text::{grouped, rate};

/// The largest number of sorts of findings with text. Further findings are only counted.
const FINDINGS_MAX: usize = 20;

/// The results of the damages of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DamageCounts {
    /// Distinct images, opened or refused.
    pub cases: u64,
    /// Damages that changed nothing or gave the image of an earlier case.
    pub duplicates: u64,
    /// Images that opened with the whole history.
    pub whole: u64,
    /// Images that opened with a prefix of the history.
    pub shorter: u64,
    /// Refused images, by error.
    pub refused: BTreeMap<&'static str, u64>,
}

impl DamageCounts {
    fn add(&mut self, other: &Self) {
        self.cases += other.cases;
        self.duplicates += other.duplicates;
        self.whole += other.whole;
        self.shorter += other.shorter;
        for (error, count) in &other.refused {
            *self.refused.entry(error).or_default() += count;
        }
    }

    /// The number of refused images.
    pub fn refused_len(&self) -> u64 {
        self.refused.values().sum()
    }
}

/// The report of a [campaign](super::DamageCampaign).
#[derive(Debug, Clone, Default)]
pub struct DamageReport {
    /// The counts of each kind of damage.
    pub kinds: BTreeMap<&'static str, DamageCounts>,
    /// The number of damages that were not tested.
    pub left_out: u64,
    /// The first finding of each sort: the damage and the failure.
    pub findings: Vec<String>,
    sorts: BTreeSet<String>,
    /// The number of findings.
    pub findings_len: u64,
    /// The duration of the campaign.
    pub elapsed: Duration,
}

impl DamageReport {
    pub(super) fn add_case(&mut self, kind: &'static str, result: Option<OpenResult>) {
        let counts = self.kinds.entry(kind).or_default();
        let Some(result) = result else {
            counts.duplicates += 1;
            return;
        };
        counts.cases += 1;
        match result {
            OpenResult::Whole => counts.whole += 1,
            OpenResult::Shorter => counts.shorter += 1,
            OpenResult::Refused(error) => *counts.refused.entry(error).or_default() += 1,
        }
    }

    pub(super) fn add_finding(&mut self, kind: &'static str, case: &str, failure: &str) {
        self.kinds.entry(kind).or_default().cases += 1;
        self.findings_len += 1;
        // Findings that differ only in numbers are of one sort.
        let sort = failure
            .chars()
            .filter(|letter| !letter.is_ascii_digit())
            .collect();
        if self.findings.len() < FINDINGS_MAX && self.sorts.insert(sort) {
            self.findings.push(format!("{case}: {failure}"));
        }
    }

    /// The counts of all kinds together.
    pub fn total(&self) -> DamageCounts {
        let mut total = DamageCounts::default();
        self.kinds.values().for_each(|counts| total.add(counts));
        total
    }

    /// Asserts that the campaign has no finding and tested every result: the whole history, a shorter history, and a
    /// refusal, with at least one case of each kind of damage.
    ///
    /// # Panics
    /// With the report, if one of these conditions is false.
    pub fn expect_clean(&self) {
        let total = self.total();
        assert_eq!(self.findings_len, 0, "{self}");
        assert!(
            total.whole > 0 && total.shorter > 0 && total.refused_len() > 0,
            "no case opened whole, opened shorter, or was refused:\n{self}"
        );
        for (kind, counts) in &self.kinds {
            assert!(counts.cases > 0, "no case of kind {kind}:\n{self}");
        }
    }
}

impl fmt::Display for DamageReport {
    /// Writes a table with a line for each kind of damage, the counts of refusals by error, the number of damages left
    /// out, and the findings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = TextTable::of_numbers(22, [10, 10, 10, 10, 11]);
        table.row(["damage", "distinct", "whole", "shorter", "refused", "duplicate"]);
        let total = self.total();
        for (kind, counts) in self.kinds.iter().chain([(&"all", &total)]) {
            let numbers = [
                counts.cases,
                counts.whole,
                counts.shorter,
                counts.refused_len(),
                counts.duplicates,
            ];
            table.row([(*kind).to_owned()].into_iter().chain(numbers.map(grouped)));
        }
        write!(f, "{table}")?;
        for (error, count) in &total.refused {
            writeln!(f, "refused as {error}: {}", grouped(*count))?;
        }
        let seconds = self.elapsed.as_secs_f64();
        writeln!(
            f,
            "left out: {}; {:.1} s, {} images/s",
            grouped(self.left_out),
            seconds,
            rate(total.cases as f64 / seconds.max(1e-3))
        )?;
        writeln!(f, "findings: {}", grouped(self.findings_len))?;
        self.findings
            .iter()
            .try_for_each(|finding| writeln!(f, "  {finding}"))
    }
}
