//! Planted wrong states. The reported difference must name the structure, the event and the kind of the difference.

use std::collections::BTreeSet;

use crate::testing::model::{Difference, DifferenceKind, EventId, Model, Structure, Subject};
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

/// The differences between the state after `expected` and the state after `found`.
fn differences(expected: &[Operation], found: &[Operation]) -> Vec<Difference> {
    model_of(expected).compare(&model_of(found).export())
}

/// The operations, with changed events in one call.
fn with_events(operations: &[Operation], at: usize, change: impl FnOnce(&mut Vec<Event>)) -> Vec<Operation> {
    let mut operations = operations.to_vec();
    let Operation::Record { events, .. } = &mut operations[at] else {
        panic!("operation {at} is no record");
    };
    change(events);
    operations
}

/// The operations without the one at this index.
fn without(operations: &[Operation], at: usize) -> Vec<Operation> {
    [&operations[..at], &operations[at + 1..]].concat()
}

/// For each event, the index of its operation, its index in the operation, and its id in a model.
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
    let lines: Vec<String> = differences.iter().map(|it| format!("\n{it}")).collect();
    lines.concat()
}

/// Returns true if the difference is in co-engagement.
fn is_in_co_engagement(difference: &Difference) -> bool {
    use Structure::{Edges, Recency, UserRings};
    matches!(difference.structure, UserRings | Edges | Recency)
}

#[test]
fn an_event_that_is_missing_everywhere_is_lost_and_an_event_that_counts_twice_is_doubled() {
    type EventPlant = fn(&mut Vec<Event>, usize);
    let plants: [(DifferenceKind, EventPlant, usize); 2] = [
        (
            DifferenceKind::Lost,
            |events, index| drop(events.remove(index)),
            6,
        ),
        (
            DifferenceKind::Doubled,
            |events, index| events.insert(index, events[index].clone()),
            4,
        ),
    ];
    for (kind, plant, structures_len) in plants {
        let mut structures = BTreeSet::new();
        for seed in 0..4 {
            let operations = accepted(seed);
            let model = model_of(&operations);
            for (at, index, id) in events_of(&operations) {
                let planted = with_events(&operations, at, |events| plant(events, index));
                let differences = model.compare(&model_of(&planted).export());
                // Several events may explain a loss that shows in co-engagement alone.
                let is_unambiguous =
                    kind == DifferenceKind::Doubled || !differences.iter().all(is_in_co_engagement);
                for difference in &differences {
                    let text = || format!("seed {seed}, event {id}:{}", text(&differences));
                    assert_eq!(difference.kind, kind, "{}", text());
                    assert!(!is_unambiguous || difference.event == Some(id), "{}", text());
                    structures.insert(difference.structure);
                }
            }
        }
        // Every structure except collections and the log.
        assert!(structures.len() >= structures_len, "{structures:?}");
    }
}

/// Some operations, and the id of an event that shows in every structure.
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

/// The model of the sample, its state, the state without the sample's event, and the id of the event.
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
fn an_event_that_is_missing_in_one_structure_only_is_half() {
    type Plant = fn(&mut Export, &Export);
    let (model, with, without, id) = sample_states();
    let plants: [(Structure, Plant); 6] = [
        (Structure::Hot, |found, without| {
            let (state, other) = (&mut found.signals[2], &without.signals[2]);
            (state.time_ms, state.scores) = (other.time_ms, other.scores.clone());
        }),
        (Structure::Warm, |found, without| {
            found.signals[2].windows = without.signals[2].windows.clone();
        }),
        (Structure::CohortHot, |found, without| {
            let (state, other) = (&mut found.cohorts[2].state, &without.cohorts[2].state);
            (state.time_ms, state.scores) = (other.time_ms, other.scores.clone());
        }),
        (Structure::CohortWarm, |found, without| {
            found.cohorts[2].state.windows = without.cohorts[2].state.windows.clone();
        }),
        (Structure::UserRings, |found, without| {
            found.user_rings = without.user_rings.clone();
        }),
        (Structure::Edges, |found, without| {
            found.related = without.related.clone();
        }),
    ];
    for (structure, plant) in plants {
        let mut found = with.clone();
        plant(&mut found, &without);
        let differences = model.compare(&found);
        let text = text(&differences);
        assert!(
            differences.iter().any(|it| it.structure == structure),
            "{structure}:{text}"
        );
        for difference in &differences {
            let found = (difference.kind, difference.event);
            assert_eq!(found, (DifferenceKind::Half, Some(id)), "{structure}:{text}");
        }
    }
}

#[test]
fn an_event_that_is_in_one_score_and_not_in_the_other_is_half() {
    let view = |weight: f64| {
        Operation::record(vec![Event {
            entity: EntityId(1),
            signal: SignalId(0),
            weight,
            at_ms: (weight * 9000.0) as i64,
            user: None,
            cohorts: Vec::new(),
        }])
    };
    let operations = [1.0, 1.25, 1.5].map(view);
    let model = model_of(&operations);
    let mut found = model.export();
    found.signals[0].scores[1] = model_of(&without(&operations, 1)).export().signals[0].scores[1];
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
fn swapped_events_are_found_by_co_engagement() {
    let (operations, _) = sample();
    let mut swapped = operations.clone();
    swapped.swap(1, 2);
    let found = differences(&operations, &swapped);
    let is_wrong = |it: &Difference| is_in_co_engagement(it) && it.kind == DifferenceKind::Wrong;
    assert!(
        !found.is_empty() && found.iter().all(is_wrong),
        "{}",
        text(&found)
    );
    let swapped_in_call = with_events(&operations, 1, |events| events.swap(0, 1));
    let text = text(&differences(&operations, &swapped_in_call));
    assert!(text.contains("as if event 2.1 came before event 2.0"), "{text}");
}

#[test]
fn a_changed_weight_or_a_missing_node_is_a_difference_of_the_edges() {
    let mut checked = 0;
    for seed in 0..20 {
        let model = model_of(&accepted(seed));
        let with = model.export();
        for (at, related) in with.related.iter().enumerate() {
            if related.edges.is_empty() {
                continue;
            }
            let mut found = with.clone();
            found.related[at].edges[0].1 *= 1.0 + 1e-6;
            let mut dropped = with.clone();
            dropped.related.remove(at);
            for found in [found, dropped] {
                let differences = model.compare(&found);
                assert!(!differences.is_empty());
                for difference in &differences {
                    assert_eq!(difference.structure, Structure::Edges);
                    assert_eq!(difference.subject, Subject::Item(related.item));
                }
                checked += 1;
            }
        }
    }
    assert!(checked > 50);
}

#[test]
fn a_missing_forget_frame_is_named_in_the_differences() {
    let mut named = 0;
    for seed in 0..12 {
        let operations = accepted(seed);
        for at in 0..operations.len() {
            if operations[at].to_string().starts_with("forget") {
                let found = differences(&operations, &without(&operations, at));
                assert!(
                    found.iter().all(|it| it.found.contains("were missing")),
                    "{}",
                    text(&found)
                );
                named += usize::from(!found.is_empty());
            }
        }
    }
    assert!(named > 10, "{named}");
}

/// After a long gap the time of the found state was long before the event, and a score overflowed at that time. So the
/// explanation found the event in half of the scores.
#[test]
fn the_differences_of_a_lost_call_name_each_of_its_events() {
    let mut named_all = 0;
    for seed in 3..9 {
        let operations = accepted(seed);
        let model = model_of(&operations);
        let events = events_of(&operations);
        for calls in events.chunk_by(|a, b| a.0 == b.0) {
            let (at, _, EventId { sequence, .. }) = calls[0];
            let differences = model.compare(&model_of(&without(&operations, at)).export());
            for difference in &differences {
                let text = || format!("seed {seed}, frame {sequence}:{}", text(&differences));
                assert_eq!(difference.kind, DifferenceKind::Lost, "{}", text());
                // An event of another call may also explain a difference that shows in co-engagement alone.
                let is_of_call = difference.event.is_none_or(|event| event.sequence == sequence);
                assert!(is_of_call || is_in_co_engagement(difference), "{}", text());
            }
            let named: BTreeSet<_> = differences.iter().filter_map(|it| it.event).collect();
            named_all += usize::from(named.len() == calls.len());
        }
    }
    assert!(named_all > 60, "{named_all}");
}

#[test]
fn a_collection_with_a_missing_or_an_extra_member_is_named() {
    let model = model_of(&accepted(5));
    let mut found = model.export();
    let mut collections = found.collections.iter_mut();
    let collection = collections.find(|it| !it.members.is_empty()).unwrap();
    let lost = collection.members.remove(0);
    collection.members.push(EntityId(u64::MAX - 1));
    collection.members.sort_unstable();
    let name = collection.name.clone();
    let differences = model.compare(&found);
    let of = |kind| differences.iter().find(|it| it.kind == kind).unwrap();
    assert_eq!(differences.len(), 2, "{}", text(&differences));
    assert_eq!(of(DifferenceKind::Lost).subject, Subject::Collection(name));
    assert_eq!(of(DifferenceKind::Lost).expected, format!("member {lost}"));
    let added = format!("member {}", u64::MAX - 1);
    assert_eq!(of(DifferenceKind::Wrong).found, added);
}

#[test]
fn a_score_differs_if_its_deviation_is_more_than_the_rounding_of_its_sum_or_if_it_is_nan() {
    // Each entity has one or two events, all with a positive weight.
    let model = model_of(&sample().0);
    let with = model.export();
    for state in 0..with.signals.len() {
        let with_score = |change: fn(f64) -> f64| {
            let mut found = with.clone();
            let score = &mut found.signals[state].scores[0];
            *score = change(*score);
            assert_eq!(model.matches(&found), model.compare(&found).is_empty());
            model.compare(&found)
        };
        assert_eq!(with_score(|score| score * (1.0 + 2.0 * f64::EPSILON)), []);
        for change in [|score| score * (1.0 + 32.0 * f64::EPSILON), |_| f64::NAN] {
            let differences = with_score(change);
            let mut structures = differences.iter().map(|it| it.structure);
            assert!(!differences.is_empty(), "state {state}");
            assert!(
                structures.all(|it| it == Structure::Hot),
                "{}",
                text(&differences)
            );
        }
    }
}
