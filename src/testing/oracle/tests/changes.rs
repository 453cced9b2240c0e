//! Changes of collections by several threads, compared with a check that tries every order of every set of changes.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::CollectionExport;
use crate::testing::workload::{Random, with_a_fresh_seed};

/// The largest number of changes in a random history.
const CHANGES_LEN_MAX: u64 = 6;

/// The collections of a state, as the slow check computes them.
type NaiveCollections = BTreeMap<Vec<u8>, BTreeSet<u64>>;

/// A change in a history with the times of its begin and its end.
#[derive(Debug, Clone)]
struct TimedChange {
    operation: Operation,
    begin: usize,
    /// `None` in flight.
    end: Option<usize>,
    is_acknowledged: bool,
    is_refused: bool,
}

/// A random history of changes and syncs by two or three threads, and the oracle that recorded it.
#[derive(Debug)]
struct RandomHistory {
    base: NaiveCollections,
    changes: Vec<TimedChange>,
    /// Changes that were acknowledged before this time are synced.
    synced: usize,
    guarantee: Guarantee,
    oracle: Oracle,
}

fn random_change(random: &mut Random) -> Operation {
    let name = random.pick(&[b"a".to_vec(), b"b".to_vec()]).clone();
    let entity = EntityId(1 + random.below(2));
    match random.below(6) {
        0 => Operation::CreateCollection(name),
        1 => Operation::DeleteCollection(name),
        2 | 3 => Operation::AddToCollection(name, entity),
        _ => Operation::RemoveFromCollection(name, entity),
    }
}

impl RandomHistory {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let guarantee = *random.pick(&[Guarantee::Acknowledged, Guarantee::Synced]);
        let before = [
            Operation::CreateCollection(b"a".to_vec()),
            add(1),
            Operation::CreateCollection(b"b".to_vec()),
        ];
        let before = &before[..random.below(4) as usize];
        let mut oracle = acknowledged(before, guarantee);
        oracle.reopened(&verdict_after_process_crash(&oracle, before, 0));
        let mut base = NaiveCollections::new();
        for change in before {
            apply(&mut base, change);
        }
        let (mut changes, mut synced): (Vec<TimedChange>, _) = (Vec::new(), 0);
        let changes_len = 1 + random.below(CHANGES_LEN_MAX) as usize;
        // The call of each thread: its id, its time of begin, and its index if it is a change.
        let mut threads: Vec<Option<(OpId, usize, Option<usize>)>> = vec![None; 2 + random.below(2) as usize];
        for time in 1.. {
            let thread = random.below(threads.len() as u64) as usize;
            match threads[thread].take() {
                None if random.chance(1, 8) => {
                    threads[thread] = Some((oracle.begin(&Operation::Sync), time, None));
                }
                None if changes.len() == changes_len => break,
                None => {
                    let operation = random_change(&mut random);
                    threads[thread] = Some((oracle.begin(&operation), time, Some(changes.len())));
                    changes.push(TimedChange {
                        operation,
                        begin: time,
                        end: None,
                        is_acknowledged: false,
                        is_refused: false,
                    });
                }
                Some((id, begin, None)) => {
                    oracle.ended(id, &Ok(None));
                    synced = synced.max(begin);
                }
                Some((id, _, Some(index))) => {
                    let change = &mut changes[index];
                    change.end = Some(time);
                    let result = match random.below(8) {
                        0 => Err(Error::Closed.with_unknown_outcome(None)),
                        1 => Err(Error::Closed),
                        _ => Ok(None),
                    };
                    change.is_acknowledged = result.is_ok();
                    change.is_refused = matches!(&result, Err(error) if !error.outcome_is_unknown());
                    oracle.ended(id, &result);
                }
            }
        }
        Self {
            base,
            changes,
            synced,
            guarantee,
            oracle,
        }
    }

    fn is_guaranteed(&self, crash: CrashKind, change: &TimedChange) -> bool {
        let is_synced = change.end.is_some_and(|end| end < self.synced);
        let survives = crash == CrashKind::ProcessCrash || self.guarantee == Guarantee::Acknowledged;
        change.is_acknowledged && (survives || is_synced)
    }

    /// The legal collections after a crash, each with the possible numbers of changes.
    fn legal(&self, crash: CrashKind) -> Vec<(NaiveCollections, BTreeSet<usize>)> {
        let mut legal: BTreeMap<NaiveCollections, BTreeSet<usize>> = BTreeMap::new();
        for set in 0..1_usize << self.changes.len() {
            let (inside, outside): (Vec<_>, Vec<_>) =
                (0..self.changes.len()).partition(|at| set >> at & 1 == 1);
            let (inside, outside): (Vec<_>, Vec<_>) = (self.pick(&inside), self.pick(&outside));
            let lacks = |absent: &&TimedChange| {
                let needed = absent.is_acknowledged && inside.iter().any(|it| precedes(absent, it));
                needed || self.is_guaranteed(crash, absent)
            };
            if inside.iter().any(|change| change.is_refused) || outside.iter().any(lacks) {
                continue;
            }
            self.add_orders(&mut Vec::new(), &inside, &mut legal);
        }
        legal.into_iter().collect()
    }

    fn pick(&self, indices: &[usize]) -> Vec<&TimedChange> {
        indices.iter().map(|&index| &self.changes[index]).collect()
    }

    /// Adds the collections after `order` and each order of `rest`.
    fn add_orders<'a>(
        &self,
        order: &mut Vec<&'a TimedChange>,
        rest: &[&'a TimedChange],
        legal: &mut BTreeMap<NaiveCollections, BTreeSet<usize>>,
    ) {
        if rest.is_empty() {
            let mut collections = self.base.clone();
            for change in &*order {
                apply(&mut collections, &change.operation);
            }
            legal.entry(collections).or_default().insert(order.len());
        }
        for (at, &next) in rest.iter().enumerate() {
            if rest.iter().all(|other| !precedes(other, next)) {
                order.push(next);
                self.add_orders(order, &[&rest[..at], &rest[at + 1..]].concat(), legal);
                order.pop();
            }
        }
    }
}

/// Returns true if the first change ended before the second one began.
fn precedes(first: &TimedChange, second: &TimedChange) -> bool {
    first.end.is_some_and(|end| end < second.begin)
}

fn apply(collections: &mut NaiveCollections, change: &Operation) {
    match change {
        Operation::CreateCollection(name) => {
            collections.entry(name.clone()).or_default();
        }
        Operation::DeleteCollection(name) => {
            collections.remove(name);
        }
        Operation::AddToCollection(name, EntityId(entity)) => {
            collections.get_mut(name).map(|members| members.insert(*entity));
        }
        Operation::RemoveFromCollection(name, EntityId(entity)) => {
            collections.get_mut(name).map(|members| members.remove(entity));
        }
        _ => unreachable!("a history has changes of collections only"),
    }
}

fn export(collections: &NaiveCollections) -> Export {
    let collections = collections.iter().map(|(name, members)| CollectionExport {
        name: name.clone(),
        members: members.iter().copied().map(EntityId).collect(),
    });
    Export {
        collections: collections.collect(),
        ..Export::default()
    }
}

/// Every state of two collections with two possible members each.
fn all_states() -> Vec<NaiveCollections> {
    let contents = [None, Some(vec![]), Some(vec![1]), Some(vec![2]), Some(vec![1, 2])];
    let states = contents
        .iter()
        .flat_map(|a| contents.iter().map(move |b| [(b"a", a), (b"b", b)]));
    let state = |contents: [(&[u8; 1], &Option<Vec<u64>>); 2]| {
        let existing = contents
            .into_iter()
            .filter_map(|(name, members)| Some((name, members.as_ref()?)));
        existing
            .map(|(name, members)| (name.to_vec(), members.iter().copied().collect()))
            .collect()
    };
    states.map(state).collect()
}

#[test]
fn exactly_the_states_after_a_legal_order_of_a_legal_set_of_overlapping_changes_are_accepted() {
    let (mut legal_len, mut illegal_len) = (0, 0);
    for seed in with_a_fresh_seed(0..200) {
        let history = RandomHistory::new(seed);
        for crash in [CrashKind::ProcessCrash, CrashKind::PowerLoss] {
            let legal: BTreeMap<_, _> = history.legal(crash).into_iter().collect();
            for found in all_states() {
                let verdict = history.oracle.check_export(crash, &export(&found), 0);
                let changes_len = legal.get(&found);
                assert_eq!(
                    verdict.is_ok(),
                    changes_len.is_some(),
                    "seed {seed}, {crash}, {found:?}: {verdict}\n{history:#?}"
                );
                let Some(changes_len) = changes_len else {
                    illegal_len += 1;
                    let differences =
                        |legal| crate::testing::model::compare_collections(legal, &export(&found)).len();
                    let nearest = legal.keys().map(differences).min().unwrap();
                    assert!(verdict.differences.len() >= nearest);
                    continue;
                };
                legal_len += 1;
                assert!(
                    changes_len.contains(&verdict.prefix.collection_changes),
                    "seed {seed}, {crash}: {verdict}"
                );
                // The recovered state is the only one after the reopening.
                let mut oracle = history.oracle.clone();
                oracle.reopened(&verdict);
                for other in all_states() {
                    let verdict = oracle.check_export(crash, &export(&other), 0);
                    assert_eq!(verdict.is_ok(), other == found, "seed {seed}, {crash}: {verdict}");
                }
            }
        }
    }
    assert!(
        legal_len > 500 && illegal_len > 500,
        "{legal_len} legal, {illegal_len} illegal"
    );
}

/// The creation changes nothing here. A search that places it last must not conclude that the collection was absent
/// before.
#[test]
fn an_addition_may_come_before_an_overlapping_removal_although_its_acknowledgement_comes_later() {
    let before = [Operation::CreateCollection(b"a".to_vec())];
    let remove = Operation::RemoveFromCollection(b"a".to_vec(), EntityId(1));
    let mut oracle = acknowledged(&before, Guarantee::Acknowledged);
    oracle.reopened(&verdict_after_process_crash(&oracle, &before, 0));
    let changes = [remove, add(1), before[0].clone()];
    let ids: Vec<OpId> = changes.iter().map(|change| oracle.begin(change)).collect();
    for id in ids {
        oracle.acknowledged(id, None);
    }
    for (adds, is_legal) in [(&[][..], true), (&[add(1)], true), (&[add(2)], false)] {
        let verdict = verdict_after_process_crash(&oracle, &[&before, adds].concat(), 0);
        assert_eq!(verdict.is_ok(), is_legal, "{adds:?}: {verdict}");
    }
}

/// A call of a thread of [`long_history`].
#[derive(Debug, Clone, Copy)]
enum ThreadCall {
    Idle,
    Begun(OpId, usize),
    /// The change took effect, or was refused if true.
    Applied(OpId, bool),
}

/// An oracle of `changes_len` changes by `threads_len` threads, and the collections after each change in the order of
/// the effects. A change takes effect between its begin and its end, and is refused as a database refuses it.
fn long_history(seed: u64, threads_len: usize, changes_len: usize) -> (Oracle, Vec<NaiveCollections>) {
    let mut random = Random::new(seed);
    let mut oracle = new_oracle(Guarantee::Synced);
    let mut states = vec![NaiveCollections::new()];
    let mut operations: Vec<Operation> = Vec::new();
    let mut threads = vec![ThreadCall::Idle; threads_len];
    while operations.len() < changes_len || threads.iter().any(|call| !matches!(call, ThreadCall::Idle)) {
        let call = &mut threads[random.below(threads_len as u64) as usize];
        *call = match *call {
            ThreadCall::Idle if operations.len() < changes_len => {
                operations.push(random_change(&mut random));
                ThreadCall::Begun(
                    oracle.begin(&operations[operations.len() - 1]),
                    operations.len() - 1,
                )
            }
            ThreadCall::Idle => ThreadCall::Idle,
            ThreadCall::Begun(id, index) => {
                let mut collections = states[states.len() - 1].clone();
                let is_refused = match &operations[index] {
                    Operation::CreateCollection(name) => collections.contains_key(name),
                    Operation::DeleteCollection(name)
                    | Operation::AddToCollection(name, _)
                    | Operation::RemoveFromCollection(name, _) => !collections.contains_key(name),
                    _ => false,
                };
                if !is_refused {
                    apply(&mut collections, &operations[index]);
                    states.push(collections);
                }
                ThreadCall::Applied(id, is_refused)
            }
            ThreadCall::Applied(id, is_refused) => {
                oracle.ended(id, &if is_refused { Err(Error::Closed) } else { Ok(None) });
                ThreadCall::Idle
            }
        };
    }
    (oracle, states)
}

#[test]
fn hundreds_of_changes_by_threads_that_always_overlap_are_checked_exactly() {
    for (threads_len, changes_len) in [(1, 600), (3, 600), (6, 300)] {
        for seed in with_a_fresh_seed(0..2) {
            let (oracle, states) = long_history(seed, threads_len, changes_len);
            let check = |crash, state| oracle.check_export(crash, &export(state), 0);
            let last = &states[states.len() - 1];
            let verdict = check(CrashKind::ProcessCrash, last);
            assert!(verdict.is_ok(), "seed {seed}: {verdict}");
            assert_eq!(verdict.prefix.collection_changes, states.len() - 1);
            // No change is synced.
            for (len, state) in states.iter().enumerate().rev().take(40) {
                let verdict = check(CrashKind::PowerLoss, state);
                assert!(verdict.is_ok(), "seed {seed}, {len}: {verdict}");
                assert!(verdict.prefix.collection_changes >= len);
            }
            let mut wrong = last.clone();
            wrong.entry(b"a".to_vec()).or_default().insert(9);
            for crash in [CrashKind::ProcessCrash, CrashKind::PowerLoss] {
                assert_wrong(&check(crash, &wrong));
            }
        }
    }
}
