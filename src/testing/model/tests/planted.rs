//! Wrong states are planted, and the difference must name the structure, the event and what is wrong with it.

use std::collections::BTreeSet;

use crate::testing::model::{
    CoEngagementPart, Difference, DifferenceKind, EventId, Model, Structure, Subject, Tier,
};
use crate::testing::workload::{Event, Operation, Workload, standard_schema};
use crate::{CohortId, EntityId, Export, SignalId, UserId};

const OPERATIONS_LEN: usize = 60;

/// The calls of a standard workload that a database must not refuse.
fn accepted(seed: u64) -> Vec<Operation> {
    let mut operations = Workload::standard(seed, OPERATIONS_LEN).operations;
    operations.retain(|operation| !operation.must_be_refused());
    operations
}

fn model_of(operations: &[Operation]) -> Model {
    let mut model = Model::new(&standard_schema());
    for operation in operations {
        model.apply(operation);
    }
    model
}

/// The operations with the events of one call changed.
fn with_events(operations: &[Operation], at: usize, change: impl FnOnce(&mut Vec<Event>)) -> Vec<Operation> {
    let mut operations = operations.to_vec();
    let Operation::Record { events, .. } = &mut operations[at] else {
        panic!("{at} is no call that records");
    };
    change(events);
    operations
}

/// Every event: the index of its operation, its index there, and its id in a model.
fn events_of(operations: &[Operation]) -> Vec<(usize, usize, EventId)> {
    let mut ids = Vec::new();
    let mut sequence = 0;
    for (at, operation) in operations.iter().enumerate() {
        sequence += u64::from(operation.is_frame());
        if let Operation::Record { events, .. } = operation {
            ids.extend((0..events.len()).map(|index| (at, index, EventId { sequence, index })));
        }
    }
    ids
}

fn text(differences: &[Difference]) -> String {
    let lines: Vec<String> = differences.iter().map(ToString::to_string).collect();
    lines.join(
        "
",
    )
}

#[test]
fn an_event_that_is_missing_everywhere_is_lost() {
    let mut seen = BTreeSet::new();
    for seed in 0..4 {
        let operations = accepted(seed);
        let model = model_of(&operations);
        for (at, index, id) in events_of(&operations) {
            let without = with_events(&operations, at, |events| drop(events.remove(index)));
            let found = model_of(&without).export();
            let differences = model.compare(&found);
            // What shows in co-engagement alone may be explained by several events as well.
            let is_clear = differences
                .iter()
                .any(|difference| !matches!(difference.structure, Structure::CoEngagement(_)));
            for difference in &differences {
                assert_eq!(
                    (difference.kind, difference.event.filter(|_| is_clear)),
                    (DifferenceKind::Lost, Some(id).filter(|_| is_clear)),
                    "seed {seed}, event {id}:{}",
                    text(&differences)
                );
                seen.insert(difference.structure);
            }
        }
    }
    assert_eq!(
        seen.len(),
        6,
        "every structure but collections and the log: {seen:?}"
    );
}

#[test]
fn an_event_that_counts_twice_is_doubled() {
    let mut seen = BTreeSet::new();
    for seed in 0..4 {
        let operations = accepted(seed);
        let model = model_of(&operations);
        for (at, index, id) in events_of(&operations) {
            let twice = with_events(&operations, at, |events| {
                events.insert(index, events[index].clone());
            });
            let found = model_of(&twice).export();
            let differences = model.compare(&found);
            for difference in &differences {
                assert_eq!(
                    (difference.kind, difference.event),
                    (DifferenceKind::Doubled, Some(id)),
                    "seed {seed}, event {id}:{}",
                    text(&differences)
                );
                seen.insert(difference.structure);
            }
        }
    }
    assert!(seen.len() >= 4, "{seen:?}");
}

/// An event that shows in every structure, after some others.
fn sample() -> (Vec<Operation>, EventId) {
    let event = |entity, weight, at_ms| Event {
        entity: EntityId(entity),
        signal: SignalId(1),
        weight,
        at_ms,
        user: Some(UserId(1)),
        cohorts: vec![CohortId(4), CohortId(5)],
    };
    let anonymous = Event {
        user: None,
        ..event(3, 1.0625, 500)
    };
    let operations = vec![
        Operation::record(vec![event(1, 1.0, 1000), event(2, 1.125, 2000), anonymous]),
        Operation::record(vec![event(1, 1.25, 2500), event(3, 1.375, 3000)]),
        Operation::record(vec![event(4, 1.5, 3500)]),
    ];
    (
        operations,
        EventId {
            sequence: 2,
            index: 1,
        },
    )
}

/// The sample's state, and the one without its event.
fn sample_states() -> (Model, Export, Export, EventId) {
    let (operations, id) = sample();
    let without = with_events(&operations, id.sequence as usize - 1, |events| {
        drop(events.remove(id.index));
    });
    let model = model_of(&operations);
    let (with, without) = (model.export(), model_of(&without).export());
    (model, with, without, id)
}

#[test]
fn an_event_that_is_missing_in_one_structure_is_half() {
    type Plant = fn(&mut Export, &Export);
    let (model, with, without, id) = sample_states();
    let plants: [(Structure, Plant); 6] = [
        (Structure::Hot, |found, without| {
            let state = &mut found.signals[2];
            (state.time_ms, state.scores) = (without.signals[2].time_ms, without.signals[2].scores.clone());
        }),
        (Structure::Warm, |found, without| {
            found.signals[2].windows = without.signals[2].windows.clone();
        }),
        (Structure::Cohort(Tier::Hot), |found, without| {
            let (state, other) = (&mut found.cohorts[2].state, &without.cohorts[2].state);
            (state.time_ms, state.scores) = (other.time_ms, other.scores.clone());
        }),
        (Structure::Cohort(Tier::Warm), |found, without| {
            found.cohorts[2].state.windows = without.cohorts[2].state.windows.clone();
        }),
        (
            Structure::CoEngagement(CoEngagementPart::Ring),
            |found, without| {
                found.user_rings = without.user_rings.clone();
            },
        ),
        (
            Structure::CoEngagement(CoEngagementPart::Edges),
            |found, without| {
                found.related = without.related.clone();
            },
        ),
    ];
    for (structure, plant) in plants {
        let mut found = with.clone();
        plant(&mut found, &without);
        let differences = model.compare(&found);
        assert!(
            differences
                .iter()
                .any(|difference| difference.structure == structure),
            "{structure}:{}",
            text(&differences)
        );
        for difference in &differences {
            assert_eq!(
                (difference.kind, difference.event),
                (DifferenceKind::Half, Some(id)),
                "{structure}:{}",
                text(&differences)
            );
        }
    }
}

#[test]
fn an_event_in_one_score_and_not_in_the_other_is_half() {
    let view = |weight, at_ms| Event {
        entity: EntityId(1),
        signal: SignalId(0),
        weight,
        at_ms,
        user: None,
        cohorts: Vec::new(),
    };
    let operations =
        [1.0, 1.25, 1.5].map(|weight| Operation::record(vec![view(weight, (weight * 9000.0) as i64)]));
    let model = model_of(&operations);
    let mut found = model.export();
    let without = model_of(&[operations[0].clone(), operations[2].clone()]).export();
    found.signals[0].scores[1] = without.signals[0].scores[1];
    let differences = model.compare(&found);
    let [difference] = &differences[..] else {
        panic!("{}", text(&differences))
    };
    let id = EventId {
        sequence: 2,
        index: 0,
    };
    assert_eq!(
        (difference.structure, difference.kind, difference.event),
        (Structure::Hot, DifferenceKind::Half, Some(id))
    );
}

#[test]
fn two_events_in_the_other_order_are_told_by_co_engagement() {
    let (operations, _) = sample();
    let mut swapped = operations.clone();
    swapped.swap(1, 2);
    let found = model_of(&swapped).export();
    let differences = model_of(&operations).compare(&found);
    assert!(!differences.is_empty());
    for difference in &differences {
        assert!(
            matches!(difference.structure, Structure::CoEngagement(_)),
            "{}",
            text(&differences)
        );
        assert_eq!(difference.kind, DifferenceKind::Wrong, "{}", text(&differences));
    }
    let by_one = with_events(&operations, 1, |events| events.swap(0, 1));
    let differences = model_of(&operations).compare(&model_of(&by_one).export());
    assert!(
        text(&differences).contains("as if event 2.1 came before event 2.0"),
        "{}",
        text(&differences)
    );
}

#[test]
fn a_lost_eviction_or_takeover_is_a_difference_of_the_edges() {
    let mut checked = 0;
    for seed in 0..20 {
        let operations = accepted(seed);
        let model = model_of(&operations);
        let with = model.export();
        for at in 0..with.related.len() {
            let Some(&(_, weight)) = with.related[at].edges.first() else {
                continue;
            };
            let mut found = with.clone();
            found.related[at].edges[0].1 = weight * (1.0 + 1e-6);
            let mut dropped = with.clone();
            dropped.related.remove(at);
            for found in [found, dropped] {
                let differences = model.compare(&found);
                assert!(!differences.is_empty());
                for difference in &differences {
                    assert_eq!(
                        difference.structure,
                        Structure::CoEngagement(CoEngagementPart::Edges)
                    );
                    assert_eq!(difference.subject, Subject::Item(with.related[at].item));
                }
                checked += 1;
            }
        }
    }
    assert!(checked > 50);
}

#[test]
fn something_that_was_not_forgotten_is_told() {
    let mut told = 0;
    for seed in 0..12 {
        let operations = accepted(seed);
        let model = model_of(&operations);
        for at in 0..operations.len() {
            if !operations[at].to_string().starts_with("forget") {
                continue;
            }
            let mut without = operations.clone();
            without.remove(at);
            let differences = model.compare(&model_of(&without).export());
            assert!(
                differences
                    .iter()
                    .all(|difference| difference.found.contains("were missing"))
            );
            told += usize::from(!differences.is_empty());
        }
    }
    assert!(told > 10, "{told}");
}

/// After a long gap the explanation found an event in half of the scores where a score overflowed: at the time of the state
/// that was found, long before the event.
#[test]
fn whole_calls_that_are_lost_name_each_of_their_events() {
    let mut named_all = 0;
    for seed in 3..9 {
        let operations = accepted(seed);
        let model = model_of(&operations);
        for at in 0..operations.len() {
            let Operation::Record { events, .. } = &operations[at] else {
                continue;
            };
            let mut without = operations.clone();
            without.remove(at);
            // Its number is that of the frame, which is one less than the place in a list of frames.
            let sequence = operations[..=at]
                .iter()
                .filter(|operation| operation.is_frame())
                .count() as u64;
            let differences = model.compare(&model_of(&without).export());
            for difference in &differences {
                let text = || format!("seed {seed}, frame {sequence}:{}", text(&differences));
                assert_eq!(difference.kind, DifferenceKind::Lost, "{}", text());
                // What shows in co-engagement alone may be explained by an event of another call as well.
                let is_clear = !matches!(difference.structure, Structure::CoEngagement(_));
                let is_of_call = difference.event.is_none_or(|event| event.sequence == sequence);
                assert!(is_of_call || !is_clear, "{}", text());
            }
            let named: BTreeSet<_> = differences
                .iter()
                .filter_map(|difference| difference.event)
                .collect();
            named_all += usize::from(named.len() == events.len());
        }
    }
    assert!(named_all > 60, "{named_all}");
}

#[test]
fn a_collection_that_lacks_a_member_or_has_one_too_many_is_named() {
    let operations = accepted(5);
    let model = model_of(&operations);
    let mut found = model.export();
    let collection = found
        .collections
        .iter_mut()
        .find(|collection| !collection.members.is_empty())
        .unwrap();
    let lost = collection.members.remove(0);
    collection.members.push(EntityId(u64::MAX - 1));
    collection.members.sort_unstable();
    let name = collection.name.clone();
    let differences = model.compare(&found);
    let of = |verdict| {
        differences
            .iter()
            .find(|difference| difference.kind == verdict)
            .unwrap()
    };
    assert_eq!(differences.len(), 2, "{}", text(&differences));
    assert_eq!(of(DifferenceKind::Lost).subject, Subject::Collection(name));
    assert_eq!(of(DifferenceKind::Lost).expected, format!("member {lost}"));
    assert_eq!(
        of(DifferenceKind::Wrong).found,
        format!("member {}", u64::MAX - 1)
    );
}

#[test]
fn a_score_differs_when_it_is_off_by_more_than_the_rounding_of_its_sum() {
    // One event or two for each entity, all of positive weight.
    let (operations, _) = sample();
    let model = model_of(&operations);
    let with = model.export();
    for state in 0..with.signals.len() {
        let off_by = |units: f64| {
            let mut found = with.clone();
            found.signals[state].scores[0] *= 1.0 + units * f64::EPSILON;
            model.compare(&found)
        };
        assert_eq!(off_by(2.0), []);
        let differences = off_by(32.0);
        assert!(!differences.is_empty(), "state {state}");
        for difference in &differences {
            assert_eq!(difference.structure, Structure::Hot, "{}", text(&differences));
        }
    }
}

#[test]
fn not_a_number_is_never_a_score() {
    let (operations, _) = sample();
    let model = model_of(&operations);
    let mut found = model.export();
    found.signals[0].scores[0] = f64::NAN;
    assert!(!model.matches(&found));
    assert_eq!(model.compare(&found)[0].structure, Structure::Hot);
}
