//! The state after a recovery, and the oracle's verdict on this state.

use std::sync::OnceLock;

use super::finding::{Failure, FailureKind};
use crate::testing::oracle::{CrashKind, DifferenceKind, Oracle, Verdict};
use crate::testing::text::error_chain;
use crate::{EarlierOpening, Error, Export, RecoveryReport, TidalDb};

/// The state after a recovery.
#[derive(Debug, Clone)]
pub(crate) struct RecoveredState {
    pub(crate) export: Export,
    pub(crate) last_sequence: u64,
    /// The report of the opening. Two openings with the same state have different reports.
    pub(crate) report: RecoveryReport,
    /// The part of the export that the oracles of a case model, and a hash of the rest. `None` if they model the whole
    /// state.
    split: OnceLock<Option<(Export, u64)>>,
}

impl PartialEq for RecoveredState {
    fn eq(&self, other: &Self) -> bool {
        self.last_sequence == other.last_sequence && self.export == other.export
    }
}

impl RecoveredState {
    pub(crate) fn of(db: &TidalDb) -> Result<Self, Failure> {
        let unreadable = |error: Error| Failure::new(FailureKind::Refused, error_chain(&error));
        Ok(Self {
            export: db.export().map_err(unreadable)?,
            last_sequence: db.last_sequence(),
            report: db.recovery_report().clone(),
            split: OnceLock::new(),
        })
    }

    /// Returns true if both recoveries gave the same state. The marker of a checkpoint that `open` made may be present
    /// in only one of the logs.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.report.last_sequence <= other.last_sequence
            && other.report.last_sequence <= self.last_sequence
            && self.export == other.export
    }

    /// The id of this opening, and the earlier openings.
    pub(crate) fn openings(&self) -> (u64, &[EarlierOpening]) {
        (self.report.opening, &self.report.earlier_openings)
    }

    /// The oracle's verdict on the state, and on the receipts in the report.
    pub(crate) fn check_against(&self, oracle: &Oracle, crash_kind: CrashKind) -> Verdict {
        let split = self.split.get_or_init(|| oracle.split(&self.export)).as_ref();
        oracle.check_recovered(crash_kind, &self.export, split, self.last_sequence, &self.report)
    }
}

/// The failure that `verdict` reports.
pub(crate) fn failure_of(verdict: &Verdict) -> Failure {
    let kind = match verdict.differences.first().map(|difference| difference.kind) {
        Some(DifferenceKind::Lost) => FailureKind::Lost,
        Some(DifferenceKind::Doubled) => FailureKind::Doubled,
        Some(DifferenceKind::Half) => FailureKind::Half,
        Some(DifferenceKind::Wrong) | None => FailureKind::Wrong,
    };
    Failure::new(kind, verdict)
}
