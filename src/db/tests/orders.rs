//! The order of events, through the whole handle: every order gives the same counts, and the same scores within the
//! bound of the rounding.

use super::*;
use crate::SignalStateExport;
use crate::limits::WEIGHT_ABS_MAX;
use crate::testing::threads;
use crate::testing::workload::{Random, with_a_fresh_seed};

#[derive(Debug, Clone)]
struct OrderedEvent {
    signal: SignalId,
    entity: EntityId,
    weight: f64,
    at_ms: i64,
    cohorts: Vec<CohortId>,
}

impl OrderedEvent {
    fn random(random: &mut Random, spread_ms: u64, weight_max: f64) -> Self {
        Self {
            signal: SignalId(random.below(2) as u16),
            entity: EntityId(random.below(4)),
            weight: weight_max * (random.below(2001) as f64 / 1000.0 - 1.0),
            at_ms: NOW_MS - random.below(spread_ms) as i64,
            cohorts: (0..random.below(3)).map(|_| CohortId(random.below(2))).collect(),
        }
    }

    fn as_signal_event(&self) -> SignalEvent<'_> {
        SignalEvent::new(self.signal, self.entity, self.at_ms)
            .with_weight(self.weight)
            .with_cohorts(&self.cohorts)
    }
}

fn signed_schema() -> Schema {
    Schema::new()
        .signal(
            Signal::new("a")
                .half_life_ms(60_000)
                .half_life_ms(86_400_000)
                .allow_negative_weights(),
        )
        .signal(Signal::new("b").half_life_ms(1000).allow_negative_weights())
}

/// Records the events by two threads in batches of random lengths, with checkpoints and a reopening at random places.
fn state_of(events: &[OrderedEvent], random: &mut Random) -> Export {
    let disk = SimDisk::new();
    let open = || {
        let mut options = options(&disk, Durability::OperatingSystem);
        options.schema = signed_schema();
        Arc::new(TidalDb::open(PATH, options).unwrap())
    };
    let mut db = open();
    let (first, second) = events.split_at(random.below(events.len() as u64 + 1) as usize);
    let workers: Vec<_> = [first, second]
        .map(|part| (part.to_vec(), random.next_u64()))
        .into_iter()
        .map(|(part, seed)| {
            let db = Arc::clone(&db);
            threads::spawn("recorder", move || {
                let mut random = Random::new(seed);
                let mut rest = &part[..];
                while !rest.is_empty() {
                    let (batch, later) = rest.split_at(rest.len().min(1 + random.below(4) as usize));
                    let batch: Vec<_> = batch.iter().map(OrderedEvent::as_signal_event).collect();
                    db.record_batch(&batch).unwrap();
                    if random.chance(1, 8) {
                        db.checkpoint().unwrap();
                    }
                    rest = later;
                }
            })
            .unwrap()
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    if random.chance(1, 2) {
        drop(db);
        db = open();
    }
    db.export().unwrap()
}

/// The same keys and windows, and scores that differ by no more than the bound. `bound` is that of a score.
fn assert_agree(
    found: &SignalStateExport,
    expected: &SignalStateExport,
    bound: impl Fn(usize) -> f64,
    context: &str,
) {
    assert_eq!(
        (found.entity, found.signal, found.time_ms, &found.windows),
        (
            expected.entity,
            expected.signal,
            expected.time_ms,
            &expected.windows
        ),
        "{context}"
    );
    for (index, (found, expected)) in found.scores.iter().zip(&expected.scores).enumerate() {
        assert!(found.is_finite(), "{context}: {found}");
        assert!(
            (found - expected).abs() <= bound(index) + f64::MIN_POSITIVE,
            "{context}: {found} and {expected}"
        );
    }
}

#[test]
fn the_order_of_events_changes_no_count_and_changes_scores_at_most_by_the_bound() {
    let schema = signed_schema();
    for seed in with_a_fresh_seed([0x0bde_0001, 0x0bde_0002]) {
        let mut random = Random::new(seed);
        for round in 0..6 {
            let spread_ms = *random.pick(&[10, 100_000, 10_000_000, 40 * 86_400_000]);
            let weight_max = *random.pick(&[1.0, WEIGHT_ABS_MAX]);
            let mut events: Vec<_> = (0..=random.below(80))
                .map(|_| OrderedEvent::random(&mut random, spread_ms, weight_max))
                .collect();
            let expected = state_of(&events, &mut random);
            for _ in 0..3 {
                random.shuffle(&mut events);
                let found = state_of(&events, &mut random);
                let context = format!("seed {seed:#x}, round {round}");
                let bound = |state: &SignalStateExport, cohort: Option<CohortId>, index: usize| {
                    let half_lives = schema.get(state.signal).unwrap().half_lives_ms();
                    let of_state = events
                        .iter()
                        .filter(|event| (event.entity, event.signal) == (state.entity, state.signal));
                    let times = |event: &OrderedEvent| match cohort {
                        None => 1,
                        Some(cohort) => event.cohorts.iter().filter(|named| **named == cohort).count(),
                    };
                    let (mut additions_len, mut absolute) = (0, 0.0);
                    for event in of_state.filter(|event| times(event) > 0) {
                        let age_ms = (state.time_ms - event.at_ms) as f64;
                        let decayed = event.weight.abs() * (-age_ms / half_lives[index] as f64).exp2();
                        additions_len += times(event);
                        absolute += times(event) as f64 * decayed;
                    }
                    additions_len as f64 * f64::EPSILON * absolute
                };
                assert_eq!(found.signals.len(), expected.signals.len(), "{context}");
                for (found, expected) in found.signals.iter().zip(&expected.signals) {
                    assert_agree(found, expected, |index| bound(found, None, index), &context);
                }
                assert_eq!(found.cohorts.len(), expected.cohorts.len(), "{context}");
                for (found, expected) in found.cohorts.iter().zip(&expected.cohorts) {
                    assert_eq!(found.cohort, expected.cohort, "{context}");
                    let cohort = Some(found.cohort);
                    assert_agree(
                        &found.state,
                        &expected.state,
                        |index| bound(&found.state, cohort, index),
                        &context,
                    );
                }
            }
        }
    }
}
