//! Parts of a state. Each place of the state is in the part or in the rest, and the events of a part do not change the
//! rest.

use std::sync::Arc;

use crate::testing::model::{Model, StatePart};
use crate::testing::oracle::{CrashKind, Oracle};
use crate::testing::workload::{Event, Operation, Workload, standard_schema};
use crate::{CoEngagementConfig, EntityId, Export, Schema, UserId};

fn operations() -> Vec<Operation> {
    let mut operations = Workload::standard(11, 120).operations;
    operations.retain(|operation| !operation.must_be_refused());
    operations
}

/// The standard schema, with room for every user and item.
fn schema() -> Schema {
    standard_schema().co_engagement(CoEngagementConfig {
        users_max: 1000,
        nodes_max: 1000,
        ..*standard_schema().co_engagement_config()
    })
}

fn model_after(operations: &[Operation]) -> Model {
    let mut model = Model::new(&schema());
    for operation in operations {
        model.apply_without_history(operation);
    }
    model
}

fn events_of(operations: &[Operation]) -> impl Iterator<Item = &Event> {
    let recorded = operations.iter().filter_map(|operation| match operation {
        Operation::Record { events, .. } => Some(events),
        _ => None,
    });
    recorded.flatten()
}

/// Exports that differ from `export` in one place each, with the names of the places.
fn changes(export: &Export) -> Vec<(&'static str, Export)> {
    let mut changed = Vec::new();
    let mut change = |name, change: &dyn Fn(&mut Export)| {
        let mut other = export.clone();
        change(&mut other);
        assert_ne!(other, *export, "{name}");
        changed.push((name, other));
    };
    change("time", &|it| it.signals[1].time_ms += 1);
    change("entity", &|it| it.signals[0].entity.0 += 1);
    change("signal", &|it| it.signals[2].signal.0 ^= 64);
    change("score", &|it| it.signals[1].scores[0] += 1e-12);
    change("bucket", &|it| it.signals[1].windows[0].buckets[0].1 += 1);
    change("bucket's number", &|it| {
        it.signals[1].windows[0].buckets[0].0 += 1;
    });
    change("missing key", &|it| drop(it.signals.pop()));
    change("cohort", &|it| it.cohorts[0].cohort.0 += 1);
    change("a cohort's score", &|it| it.cohorts[1].state.scores[0] += 1e-12);
    change("missing key of a cohort", &|it| drop(it.cohorts.pop()));
    change("ring", &|it| it.user_rings[0].items[0].0 += 1);
    change("user", &|it| it.user_rings[0].user.0 += 1);
    change("missing ring", &|it| drop(it.user_rings.pop()));
    change("edge", &|it| it.related[0].edges[0].1 += 0.5);
    change("edge's item", &|it| it.related[0].edges[0].0.0 += 1);
    change("node's time", &|it| it.related[0].time_ms += 1);
    change("missing node", &|it| drop(it.related.pop()));
    // The calls contain the last two users and the last two items.
    change("users by recency", &|it| {
        let last = it.users_by_recency.len() - 1;
        it.users_by_recency.swap(last - 1, last);
    });
    change("items by recency", &|it| {
        let last = it.items_by_recency.len() - 1;
        it.items_by_recency.swap(last - 1, last);
    });
    changed
}

#[test]
fn every_place_is_in_the_compared_part_or_in_the_hashed_remainder() {
    let model = model_after(&operations());
    let export = model.export();
    let nothing = StatePart::default();
    let (part, rest) = nothing.split(&export);
    let collections = export.collections.clone();
    assert_eq!(
        part,
        Export {
            collections,
            ..Export::default()
        }
    );
    let all = events_of(&operations()).cloned().collect::<Vec<_>>();
    let everything = StatePart::of(&model, all.iter());
    assert_eq!(everything.split(&export), (export.clone(), 0));
    for (name, other) in changes(&export) {
        assert_ne!(nothing.split(&other).1, rest, "{name}");
        assert_ne!(everything.split(&other), (export.clone(), 0), "{name}");
    }
}

/// Returns an oracle of the part that `next` can change, after all calls; the whole model after `before`; and the whole
/// model after all calls.
fn oracle_and_models(before: &[Operation], next: &[Operation]) -> (Oracle, Model, Model) {
    let mut model = model_after(before);
    let part = Arc::new(StatePart::of(&model, events_of(next)));
    let (_, rest) = part.split(&model.export());
    let mut oracle = Oracle::of_part(Arc::clone(&part), model.part(&part), rest, 100);
    let start = model.clone();
    for operation in next {
        let id = oracle.begin(operation);
        oracle.acknowledged(id, None);
        model.apply_without_history(operation);
    }
    (oracle, start, model)
}

#[test]
fn an_oracle_finds_each_change_of_the_compared_part_and_of_the_hashed_remainder() {
    let operations = operations();
    let is_record = |operation: &&Operation| matches!(operation, Operation::Record { .. });
    let (before, next) = operations.split_at(90);
    let next: Vec<_> = next.iter().filter(is_record).take(3).cloned().collect();
    let (oracle, start, end) = oracle_and_models(before, &next);
    let last = 100 + next.len() as u64;
    let verdict = oracle.check_export(CrashKind::ProcessCrash, &end.export(), last);
    assert!(verdict.is_ok(), "{verdict}");
    assert_eq!(verdict.prefix.frames, next.len());
    for (name, changed) in changes(&end.export()) {
        let verdict = oracle.check_export(CrashKind::ProcessCrash, &changed, last);
        assert!(!verdict.is_ok(), "{name}");
    }
    // A state with the calls, but without the operations before them.
    let lost = model_after(&next).export();
    assert!(!oracle.check_export(CrashKind::ProcessCrash, &lost, last).is_ok());
    // A state with the operations before the calls, but without the calls.
    let verdict = oracle.check_export(CrashKind::ProcessCrash, &start.export(), 100);
    assert!(!verdict.is_ok());
    assert_eq!(verdict.counts.recovered, 0, "{verdict}");
}

#[test]
fn the_loss_of_all_earlier_operations_is_found_even_if_the_hashed_remainder_was_empty() {
    // The hashed remainder was empty, so only the compared part can show the loss.
    let event = |entity, user| {
        Event {
            user: Some(UserId(user)),
            ..events_of(&operations()).next().expect("an event").clone()
        }
        .with_entity(entity)
    };
    let (before, next) = (
        Operation::record(vec![event(1, 1)]),
        Operation::record(vec![event(1, 1)]),
    );
    let (oracle, ..) = oracle_and_models(&[before], std::slice::from_ref(&next));
    let lost = model_after(&[next]).export();
    assert!(!oracle.check_export(CrashKind::ProcessCrash, &lost, 101).is_ok());
}

impl Event {
    fn with_entity(self, entity: u64) -> Self {
        Self {
            entity: EntityId(entity),
            ..self
        }
    }
}
