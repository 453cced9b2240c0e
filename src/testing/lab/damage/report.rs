//! The report of a campaign.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::judge::OpenResult;
use crate::testing::report::table::TextTable;
use crate::testing::report::text::{grouped, rate};

/// Findings of more sorts than this are counted only.
const FINDINGS_MAX: usize = 20;

/// The results of the damages of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DamageCounts {
    /// Distinct images that were opened, or were refused.
    pub cases: u64,
    /// Damages that gave an image that had been tried before, or changed nothing.
    pub duplicates: u64,
    /// Opened with the whole history.
    pub whole: u64,
    /// Opened with a beginning of the history.
    pub shorter: u64,
    /// Refused, by error.
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

    /// How many were refused.
    pub fn refused_len(&self) -> u64 {
        self.refused.values().sum()
    }
}

/// The report of a [campaign](super::DamageCampaign).
#[derive(Debug, Clone, Default)]
pub struct DamageReport {
    /// By kind of damage.
    pub kinds: BTreeMap<&'static str, DamageCounts>,
    /// The number of damages that were not tried.
    pub left_out: u64,
    /// The first finding of each sort: the damage and what is wrong.
    pub findings: Vec<String>,
    sorts: BTreeSet<String>,
    /// The number of findings.
    pub findings_len: u64,
    /// How long it took.
    pub elapsed: Duration,
}

impl DamageReport {
    pub(super) fn add_case(&mut self, kind: &'static str, outcome: Option<OpenResult>) {
        let counts = self.kinds.entry(kind).or_default();
        let Some(outcome) = outcome else {
            counts.duplicates += 1;
            return;
        };
        counts.cases += 1;
        match outcome {
            OpenResult::Whole => counts.whole += 1,
            OpenResult::Shorter => counts.shorter += 1,
            OpenResult::Refused(error) => *counts.refused.entry(error).or_default() += 1,
        }
    }

    pub(super) fn add_finding(&mut self, kind: &'static str, case: &str, what: &str) {
        self.kinds.entry(kind).or_default().cases += 1;
        self.findings_len += 1;
        // Of those that differ in numbers alone one tells enough.
        let sort = what.chars().filter(|letter| !letter.is_ascii_digit()).collect();
        if self.findings.len() < FINDINGS_MAX && self.sorts.insert(sort) {
            self.findings.push(format!("{case}: {what}"));
        }
    }

    /// The counts of all kinds together.
    pub fn total(&self) -> DamageCounts {
        let mut total = DamageCounts::default();
        self.kinds.values().for_each(|counts| total.add(counts));
        total
    }

    /// Fails if anything was found, and if nothing was tested: none opened whole, none opened shorter, none refused, or
    /// a kind of damage without a case.
    ///
    /// # Panics
    /// Then, with the report.
    pub fn expect_clean(&self) {
        let total = self.total();
        assert_eq!(self.findings_len, 0, "{self}");
        assert!(
            total.whole > 0 && total.shorter > 0 && total.refused_len() > 0,
            "tests nothing:\n{self}"
        );
        for (kind, counts) in &self.kinds {
            assert!(counts.cases > 0, "no case of kind {kind}:\n{self}");
        }
    }
}

impl fmt::Display for DamageReport {
    /// A table with a line for each kind, what was refused and why, what was left out, and the findings.
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
