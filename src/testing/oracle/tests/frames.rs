//! Frames by several threads, compared with a check that tries every place of every frame in flight.

use std::collections::BTreeMap;

use super::*;
use crate::testing::workload::{Random, with_a_fresh_seed};

/// The largest number of frames in a random history.
const FRAMES_LEN_MAX: u64 = 4;
/// The number of random orders that are checked at each crash.
const ANY_ORDERS_LEN: usize = 2;

/// A frame in a history.
#[derive(Debug, Clone)]
struct TimedFrame {
    operation: Operation,
    id: OpId,
    /// The number in the log. The oracle gets it at the acknowledgement only.
    number: Option<u64>,
    /// The greatest acknowledged number before the frame began.
    begun_after: u64,
    /// The time of the acknowledgement.
    acknowledged: Option<usize>,
}

/// A random history of frames and syncs by three threads, and the oracle that recorded it. The numbers of frames leave
/// gaps for markers.
#[derive(Debug)]
struct FrameHistory {
    frames: Vec<TimedFrame>,
    /// The last number of the log, with markers.
    last: u64,
    /// Every state contains the frames up to this number, after a process crash and after a power loss.
    guaranteed: [u64; 2],
    oracle: Oracle,
}

impl FrameHistory {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let guarantee = *random.pick(&[Guarantee::Acknowledged, Guarantee::Synced]);
        let mut oracle = new_oracle(guarantee);
        let (mut frames, mut last, mut synced, mut noted): (Vec<TimedFrame>, _, _, _) = (Vec::new(), 0, 0, 0);
        let frames_len = 1 + random.below(FRAMES_LEN_MAX) as usize;
        let mut sync = None;
        for time in 1..24 {
            let mut waiting: Vec<usize> = (0..frames.len()).collect();
            waiting.retain(|&at| frames[at].acknowledged.is_none());
            match random.below(10) {
                0 if random.chance(1, 2) => last += 1,
                0 | 1 => match sync.take() {
                    None => sync = Some((oracle.begin(&Operation::Sync), time)),
                    Some((id, begin)) => {
                        oracle.ended(id, &Ok(None));
                        synced = begin;
                    }
                },
                2 if random.chance(1, 4) => {
                    noted = last;
                    oracle.note_durable(last);
                }
                3..6 if frames.len() < frames_len && waiting.len() < 3 => {
                    let acknowledged = frames.iter().filter(|it| it.acknowledged.is_some());
                    let begun_after = acknowledged.filter_map(|it| it.number).max().unwrap_or(0);
                    // All events are of one user, so that co-engagement depends on their order.
                    let operation = record(2 * frames.len() as u32 + 1, 2);
                    frames.push(TimedFrame {
                        id: oracle.begin(&operation),
                        operation,
                        number: None,
                        begun_after,
                        acknowledged: None,
                    });
                }
                _ if !waiting.is_empty() => {
                    let frame = &mut frames[*random.pick(&waiting)];
                    match frame.number {
                        None => {
                            last += 1;
                            frame.number = Some(last);
                        }
                        Some(number) => {
                            frame.acknowledged = Some(time);
                            oracle.acknowledged(frame.id, Some(number));
                        }
                    }
                }
                _ => {}
            }
        }
        let last_number = |before: usize| {
            let acknowledged = frames
                .iter()
                .filter(|it| it.acknowledged.is_some_and(|time| time < before));
            acknowledged.filter_map(|it| it.number).max().unwrap_or(0)
        };
        let after_power_loss = last_number(match guarantee {
            Guarantee::Acknowledged => usize::MAX,
            Guarantee::Synced => synced,
        });
        // A note of a number promises no frame in flight: its number is not known.
        let known = |number: u64| {
            let known = frames.iter().filter(|it| it.acknowledged.is_some());
            let numbers = known.filter_map(|it| it.number);
            numbers.filter(|&it| it <= number).max().unwrap_or(0)
        };
        Self {
            last,
            guaranteed: [last_number(usize::MAX), after_power_loss].map(|number| number.max(known(noted))),
            frames,
            oracle,
        }
    }

    /// The orders of frames that a log with this last number may contain.
    fn legal(&self, crash: CrashKind, last: u64) -> Vec<Vec<usize>> {
        let guaranteed = self.guaranteed[usize::from(crash == CrashKind::PowerLoss)];
        if last < guaranteed {
            return Vec::new();
        }
        let is_numbered = |frame: &TimedFrame| frame.acknowledged.is_some();
        let mut logs = vec![BTreeMap::new()];
        for (at, frame) in self.frames.iter().enumerate() {
            if is_numbered(frame) {
                for log in &mut logs {
                    log.insert(frame.number.unwrap(), at);
                }
            }
        }
        for (at, frame) in self
            .frames
            .iter()
            .enumerate()
            .filter(|(_, frame)| !is_numbered(frame))
        {
            let with: Vec<_> = logs
                .iter()
                .flat_map(|log| {
                    let free = (frame.begun_after + 1..=last).filter(|number| !log.contains_key(number));
                    free.map(|number| {
                        let mut log = log.clone();
                        log.insert(number, at);
                        log
                    })
                })
                .collect();
            logs.extend(with);
        }
        logs.iter()
            .map(|log| log.range(..=last).map(|(_, &at)| at).collect())
            .collect()
    }

    /// The order of the frames up to this number in the log.
    fn log(&self, last: u64) -> Vec<usize> {
        let mut log: Vec<usize> = (0..self.frames.len()).collect();
        log.retain(|&at| self.frames[at].number.is_some_and(|number| number <= last));
        log.sort_by_key(|&at| self.frames[at].number);
        log
    }

    fn state(&self, order: &[usize]) -> Export {
        let operations: Vec<_> = order
            .iter()
            .map(|&at| self.frames[at].operation.clone())
            .collect();
        state(&operations)
    }
}

/// Every order of every subset of `len` frames.
fn all_orders(len: usize) -> Vec<Vec<usize>> {
    let mut orders = vec![Vec::new()];
    let mut at = 0;
    while let Some(order) = orders.get(at).cloned() {
        let others = (0..len).filter(|frame| !order.contains(frame));
        orders.extend(others.map(|frame| [&order[..], &[frame]].concat()));
        at += 1;
    }
    orders
}

#[test]
fn exactly_the_frames_of_a_possible_log_of_overlapping_calls_are_accepted() {
    let (mut legal_len, mut illegal_len) = (0, 0);
    for seed in with_a_fresh_seed(0..40) {
        let history = FrameHistory::new(seed);
        let orders = all_orders(history.frames.len());
        let mut random = Random::new(seed);
        for crash in [CrashKind::ProcessCrash, CrashKind::PowerLoss] {
            for last in 0..=history.last + 1 {
                let legal_orders = history.legal(crash, last);
                let legal: Vec<_> = legal_orders.iter().map(|order| history.state(order)).collect();
                let any = std::iter::repeat_with(|| random.pick(&orders).clone()).take(ANY_ORDERS_LEN);
                let checked = legal_orders.iter().cloned().chain([history.log(last)]).chain(any);
                for order in checked {
                    let found = history.state(&order);
                    let verdict = history.oracle.check_export(crash, &found, last);
                    let is_legal = legal.contains(&found);
                    assert_eq!(
                        verdict.is_ok(),
                        is_legal,
                        "seed {seed}, {crash}, {order:?} up to {last}: {verdict}\n{history:#?}"
                    );
                    *(if is_legal {
                        &mut legal_len
                    } else {
                        &mut illegal_len
                    }) += 1;
                }
            }
        }
    }
    assert!(
        legal_len > 200 && illegal_len > 200,
        "{legal_len} legal, {illegal_len} illegal"
    );
}
