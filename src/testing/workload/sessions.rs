//! The generator of standard workloads in several sessions: it inserts reopenings with changes between the operations.

use std::mem;

use super::clock::{DAY_MS, HOUR_MS, STANDARD_NOW_MS};
use super::session::{Reopening, SessionChange, SessionEnd};
use super::standard::{self, STANDARD_SKEW_MS, standard_schema};
use super::{Operation, Random, Workload};
use crate::testing::sim_disk::ImageChoice;
use crate::{Durability, SignalId};

/// The largest number of operations between two reopenings.
const SESSION_OPERATIONS_MAX: u64 = 15;

/// The largest number of appended signals.
const APPENDED_SIGNALS_MAX: u16 = 2;

const CENTURY_MS: i64 = 36_525 * DAY_MS;

/// The end of a session, without the seed of a random image.
#[derive(Clone, Copy)]
enum EndKind {
    Close,
    Drop,
    Kill,
    Synced,
    Everything,
    Random,
}

/// The ends of seven consecutive reopenings. Each seven get a new order, so every seven contain every end.
const ENDS: [EndKind; 7] = [
    EndKind::Close,
    EndKind::Drop,
    EndKind::Kill,
    EndKind::Synced,
    EndKind::Everything,
    EndKind::Random,
    EndKind::Random,
];

impl Workload {
    /// A standard workload in several sessions. Any sixteen consecutive operations contain at least one
    /// [reopening](Reopening), and sometimes two or three in a row. The reopenings use all four [ends of a
    /// session](SessionEnd) and change schema, bounds, sizes, policy and clock. The first event after a change of the
    /// clock is ahead of the clock. Only a [`Driver`](crate::testing::sweep::Driver) can make the reopenings.
    pub fn sessions(seed: u64, operations_len: usize) -> Self {
        let mut generator = SessionGenerator {
            random: Random::new(seed.rotate_left(17) ^ 0x7365_7373_696f_6e73),
            ends: Vec::new(),
            appended_signals: 0,
            shift_ms: 0,
            clock_was_moved: false,
            now_ms: STANDARD_NOW_MS,
        };
        let mut operations = Vec::with_capacity(operations_len);
        let mut remaining = generator.session_len();
        for operation in Workload::standard(seed, operations_len).operations {
            if remaining == 0 {
                for _ in 0..*generator.random.pick(&[1, 1, 1, 2, 3]) {
                    operations.push(Operation::Reopen(generator.reopening()));
                }
                remaining = generator.session_len();
            }
            operations.push(generator.adapted(operation));
            remaining -= 1;
        }
        operations.truncate(operations_len);
        Workload { operations }
    }
}

struct SessionGenerator {
    random: Random,
    /// The ends of the next reopenings in reverse order, see [`ENDS`].
    ends: Vec<EndKind>,
    appended_signals: u16,
    /// The sum of all changes of the clock.
    shift_ms: i64,
    /// True from a change of the clock until an event is set ahead of the changed clock.
    clock_was_moved: bool,
    /// The unchanged time of the last call that has a time.
    now_ms: i64,
}

impl SessionGenerator {
    fn session_len(&mut self) -> u64 {
        3 + self.random.below(SESSION_OPERATIONS_MAX - 2)
    }

    fn reopening(&mut self) -> Reopening {
        if self.ends.is_empty() {
            self.ends = ENDS.to_vec();
            self.random.shuffle(&mut self.ends);
        }
        let end = match self.ends.pop() {
            None | Some(EndKind::Close) => SessionEnd::Close,
            Some(EndKind::Drop) => SessionEnd::Drop,
            Some(EndKind::Kill) => SessionEnd::Kill,
            Some(EndKind::Synced) => SessionEnd::PowerLoss(ImageChoice::Synced),
            Some(EndKind::Everything) => SessionEnd::PowerLoss(ImageChoice::All),
            Some(EndKind::Random) => {
                let seed = self.random.next_u64();
                SessionEnd::PowerLoss(ImageChoice::Random { seed })
            }
        };
        let mut reopening = Reopening::after(end);
        if self.random.chance(1, 3) {
            reopening.changes.extend(self.clock());
        }
        if self.random.chance(1, 4) && self.appended_signals < APPENDED_SIGNALS_MAX {
            self.appended_signals += 1;
            reopening.changes.push(SessionChange::AppendSignal);
        }
        if self.random.chance(1, 4) {
            reopening.changes.push(self.bounds());
        }
        if self.random.chance(1, 3) {
            reopening.changes.push(self.sizes());
        }
        if self.random.chance(1, 8) {
            reopening.changes.push(SessionChange::Durability(self.policy()));
        }
        reopening
    }

    /// A change of the clock, forward or back.
    fn clock(&mut self) -> Option<SessionChange> {
        // One century back is before the epoch.
        let far_ms = *self.random.pick(&[40 * DAY_MS, CENTURY_MS]);
        let by_ms = *self.random.pick(&[1, HOUR_MS, far_ms, -1, -HOUR_MS, -far_ms]);
        self.shift_ms += by_ms;
        self.clock_was_moved = true;
        let now_ms = self.now_ms.checked_add(self.shift_ms)?;
        Some(SessionChange::Clock { now_ms })
    }

    /// Bounds of co-engagement, each from 1 to 2 more than that of the standard schema.
    fn bounds(&mut self) -> SessionChange {
        let standard = *standard_schema().co_engagement_config();
        let mut up_to = |max: u64| 1 + self.random.below(max + 2);
        SessionChange::CoEngagement {
            ring_len_max: up_to(standard.ring_len_max.into()) as u32,
            degree_max: up_to(standard.degree_max.into()) as u32,
            users_max: up_to(standard.users_max),
            nodes_max: up_to(standard.nodes_max),
        }
    }

    fn sizes(&mut self) -> SessionChange {
        let random = &mut self.random;
        SessionChange::Sizes {
            segment_bytes_max: *random.pick(&[512, 700, 4096, 1 << 20]),
            preallocate_bytes: *random.pick(&[0, 64, 256, 4096]),
            store_segment_bytes_max: *random.pick(&[512, 1024, 4096, 1 << 20]),
            checkpoint_log_bytes: *random.pick(&[1, 600, 2500, 1 << 20]),
            checkpoint_state_bytes: *random.pick(&[1, 4096, 1 << 29]),
        }
    }

    fn policy(&mut self) -> Durability {
        *self.random.pick(&[
            Durability::EverySynced,
            // This interval is over at each read of the clock.
            Durability::SyncedEvery { interval_ms: 1 },
            Durability::SyncedEvery {
                interval_ms: standard::STANDARD_SYNC_MS,
            },
            Durability::OperatingSystem,
        ])
    }

    /// The operation with the clock of this session, and with appended signals in some events.
    fn adapted(&mut self, mut operation: Operation) -> Operation {
        let Operation::Record { now_ms, events } = &mut operation else {
            return operation;
        };
        self.now_ms = *now_ms;
        let shifted = |time_ms: i64| time_ms.saturating_add(self.shift_ms);
        *now_ms = shifted(*now_ms);
        for event in events {
            event.at_ms = shifted(event.at_ms);
            if mem::take(&mut self.clock_was_moved) {
                let ahead_ms = *self.random.pick(&[1, 2000, STANDARD_SKEW_MS]);
                event.at_ms = now_ms.saturating_add_unsigned(ahead_ms);
            }
            if self.appended_signals > 0 && self.random.chance(1, 3) {
                let standard_len = standard_schema().signals().len() as u16;
                event.signal =
                    SignalId(standard_len + self.random.below(self.appended_signals.into()) as u16);
                event.weight = event.weight.abs();
            }
        }
        operation
    }
}
