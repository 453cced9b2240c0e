//! Results of changes of collections and values of reads, compared with a check that tries every order of the calls.

use std::collections::BTreeSet;

use super::*;
use crate::testing::model::{CollectionMembers, apply_collection_change};
use crate::testing::oracle::FoundRead;
use crate::testing::oracle::linearization::ChangeResult;
use crate::testing::workload::{Random, STANDARD_NOW_MS, with_a_fresh_seed};

/// A call of a random history.
#[derive(Debug, Clone)]
struct TimedCall {
    operation: Operation,
    begin: usize,
    end: usize,
    result: ChangeResult,
}

/// The id of a call, its time of begin, its operation, and its result if it took effect.
type RunningCall = (OpId, usize, Operation, Option<ChangeResult>);

/// A read of all members of a random history.
#[derive(Debug, Clone)]
struct TimedRead {
    begin: usize,
    end: usize,
    found: CollectionMembers,
}

/// Calls of three threads, and the oracle that recorded them.
#[derive(Debug)]
struct ResultHistory {
    calls: Vec<TimedCall>,
    reads: Vec<TimedRead>,
    /// The state after each effect, in order. Wrong results do not change it.
    states: Vec<CollectionMembers>,
    oracle: Oracle,
}

/// The result of a change in this state. Applies the change.
fn make(collections: &mut CollectionMembers, operation: &Operation) -> ChangeResult {
    let before = collections.clone();
    apply_collection_change(collections, operation);
    let exists = |name: &Vec<u8>| before.contains_key(name);
    match operation {
        Operation::CreateCollection(name) if exists(name) => ChangeResult::Exists,
        Operation::DeleteCollection(name)
        | Operation::AddToCollection(name, _)
        | Operation::RemoveFromCollection(name, _)
            if !exists(name) =>
        {
            ChangeResult::Unknown
        }
        _ if before == *collections => ChangeResult::Unchanged,
        _ => ChangeResult::Changed,
    }
}

fn error_of(result: ChangeResult) -> Result<Option<crate::Receipt>, Error> {
    match result {
        ChangeResult::Changed | ChangeResult::Unchanged => Ok(None),
        ChangeResult::Exists | ChangeResult::Unknown => Err(Error::Closed),
    }
}

/// A read of `entity` without events.
fn read_of(collections: &CollectionMembers) -> FoundRead {
    let ids = |members: &BTreeSet<u64>| members.iter().copied().map(EntityId).collect();
    FoundRead {
        entity: EntityId(1),
        signal: SignalId(0),
        now_ms: STANDARD_NOW_MS,
        score: 0.0,
        related: Vec::new(),
        related_len_max: 3,
        names: collections.keys().cloned().collect(),
        members: collections
            .iter()
            .map(|(name, members)| (name.clone(), Some(ids(members))))
            .collect(),
    }
}

fn random_change(random: &mut Random) -> Operation {
    let name = b"a".to_vec();
    let entity = EntityId(1 + random.below(2));
    match random.below(6) {
        0 | 1 => Operation::CreateCollection(name),
        2 => Operation::DeleteCollection(name),
        3 | 4 => Operation::AddToCollection(name, entity),
        _ => Operation::RemoveFromCollection(name, entity),
    }
}

impl ResultHistory {
    /// Each call takes effect when it begins or when it ends. With `is_wrong` one result differs.
    fn new(seed: u64, is_wrong: bool) -> Self {
        let mut random = Random::new(seed);
        let mut oracle = new_oracle(Guarantee::Synced);
        let mut states = vec![CollectionMembers::new()];
        let make_next = |states: &mut Vec<CollectionMembers>, operation: &Operation| {
            let mut state = states[states.len() - 1].clone();
            let result = make(&mut state, operation);
            states.push(state);
            result
        };
        let (mut calls, mut reads) = (Vec::<TimedCall>::new(), Vec::<TimedRead>::new());
        let calls_len = 2 + random.below(4) as usize;
        let wrong = random.below(calls_len as u64) as usize;
        let mut threads: [Option<RunningCall>; 3] = [None, None, None];
        let mut begun_len = 0;
        for time in 1.. {
            let thread = random.below(3) as usize;
            match threads[thread].take() {
                None if begun_len == calls_len => {
                    if threads.iter().all(Option::is_none) {
                        break;
                    }
                }
                None => {
                    begun_len += 1;
                    let operation = random_change(&mut random);
                    let id = oracle.begin(&operation);
                    let result = random.chance(1, 2).then(|| make_next(&mut states, &operation));
                    threads[thread] = Some((id, time, operation, result));
                }
                Some((id, begin, operation, result)) => {
                    let mut result = result.unwrap_or_else(|| make_next(&mut states, &operation));
                    if is_wrong && calls.len() == wrong {
                        let all = [
                            ChangeResult::Changed,
                            ChangeResult::Unchanged,
                            ChangeResult::Exists,
                            ChangeResult::Unknown,
                        ];
                        result = *random.pick(&all);
                    }
                    oracle.ended_with(id, &error_of(result), Some(result));
                    calls.push(TimedCall {
                        operation,
                        begin,
                        end: time,
                        result,
                    });
                    if random.chance(1, 4) {
                        // Time does not pass for the other threads, so the read sees this state.
                        let begin = oracle.begin_read();
                        oracle.read_ended(begin, &Arc::new(read_of(&states[states.len() - 1])));
                        let found = states[states.len() - 1].clone();
                        let (begin, end) = (time, time);
                        reads.push(TimedRead { begin, end, found });
                    }
                }
            }
        }
        Self {
            calls,
            reads,
            states,
            oracle,
        }
    }

    /// The states after every order of the calls and of `reads` that gives each result.
    fn legal(&self, reads: &[TimedRead]) -> BTreeSet<CollectionMembers> {
        let mut legal = BTreeSet::new();
        let (calls, reads): (Vec<_>, Vec<_>) = (self.calls.iter().collect(), reads.iter().collect());
        add_orders(&CollectionMembers::new(), &calls, &reads, &mut legal);
        legal
    }
}

/// Adds the states after each order of `calls` and `reads` that begins in `state` and gives each result.
fn add_orders(
    state: &CollectionMembers,
    calls: &[&TimedCall],
    reads: &[&TimedRead],
    legal: &mut BTreeSet<CollectionMembers>,
) {
    if calls.is_empty() && reads.is_empty() {
        legal.insert(state.clone());
    }
    let is_first = |begin: usize, is_read: bool| {
        // A read comes after the call that ended at the same time.
        let call = |call: &&TimedCall| call.end > begin || call.end == begin && !is_read;
        calls.iter().all(call) && reads.iter().all(|read| read.end >= begin)
    };
    for (at, call) in calls
        .iter()
        .enumerate()
        .filter(|(_, call)| is_first(call.begin, false))
    {
        let mut after = state.clone();
        if make(&mut after, &call.operation) == call.result {
            add_orders(&after, &[&calls[..at], &calls[at + 1..]].concat(), reads, legal);
        }
    }
    for (at, read) in reads
        .iter()
        .enumerate()
        .filter(|(_, read)| is_first(read.begin, true))
    {
        if read.found == *state {
            add_orders(state, calls, &[&reads[..at], &reads[at + 1..]].concat(), legal);
        }
    }
}

fn export(collections: &CollectionMembers) -> Export {
    let mut model = Model::new(&standard_schema());
    for (name, members) in collections {
        model.apply(&Operation::CreateCollection(name.clone()));
        for &member in members {
            model.apply(&Operation::AddToCollection(name.clone(), EntityId(member)));
        }
    }
    model.export()
}

#[test]
fn a_result_is_wrong_exactly_if_no_order_of_the_calls_gives_every_result() {
    let (mut right, mut wrong, mut narrow) = (0, 0, 0);
    let contents: [Option<&[u64]>; 5] = [None, Some(&[]), Some(&[1]), Some(&[2]), Some(&[1, 2])];
    for seed in with_a_fresh_seed(0..150) {
        for is_wrong in [false, true] {
            let history = ResultHistory::new(seed, is_wrong);
            let is_explained = !history.legal(&history.reads).is_empty();
            let found = history.oracle.wrong_result();
            assert_eq!(
                found.is_none(),
                is_explained,
                "seed {seed}: {found:?}\n{history:#?}"
            );
            assert!(is_wrong || found.is_none(), "seed {seed}: {found:?}");
            if found.is_some() {
                wrong += 1;
                continue;
            }
            right += 1;
            // The legal states after a crash do not depend on the values of reads.
            let legal = history.legal(&[]);
            narrow += usize::from(legal.len() == 1);
            for content in contents {
                let members = content.map(|members| (b"a".to_vec(), members.iter().copied().collect()));
                let state: CollectionMembers = members.into_iter().collect();
                let verdict = history
                    .oracle
                    .check_export(CrashKind::ProcessCrash, &export(&state), 0);
                assert_eq!(
                    verdict.is_ok(),
                    legal.contains(&state),
                    "seed {seed}, {state:?}: {verdict}\n{history:#?}"
                );
            }
            // No change is synced, so a power loss leaves the state after any of the effects.
            for state in history.states.iter().filter(|_| !is_wrong) {
                let verdict = history
                    .oracle
                    .check_export(CrashKind::PowerLoss, &export(state), 0);
                assert!(verdict.is_ok(), "seed {seed}, {state:?}: {verdict}\n{history:#?}");
            }
        }
    }
    assert!(
        right > 100 && wrong > 30 && narrow > 100,
        "{right} {wrong} {narrow}"
    );
}

/// An oracle after the calls of one thread with these results.
fn oracle_of(calls: &[(Operation, ChangeResult)]) -> Oracle {
    let mut oracle = new_oracle(Guarantee::Acknowledged);
    for (operation, result) in calls {
        let id = oracle.begin(operation);
        oracle.ended_with(id, &error_of(*result), Some(*result));
    }
    oracle
}

fn create() -> Operation {
    Operation::CreateCollection(b"a".to_vec())
}

#[track_caller]
fn assert_wrong_result(oracle: &Oracle, text: &str) {
    let found = oracle.wrong_result().expect("a wrong result");
    assert!(found.contains(text), "{found}");
}

#[test]
fn the_message_names_the_call_its_result_and_the_possible_contents() {
    let oracle = oracle_of(&[(create(), ChangeResult::Changed), (add(1), ChangeResult::Unknown)]);
    assert_wrong_result(&oracle, "add:a,1 returned UnknownCollection");
    assert_wrong_result(&oracle, "the collection \"a\" is empty");
    let oracle = oracle_of(&[(create(), ChangeResult::Exists)]);
    assert_wrong_result(&oracle, "create:a returned CollectionExists");
    assert_wrong_result(&oracle, "the collection \"a\" does not exist");
}

#[test]
fn two_overlapping_calls_cannot_both_add_the_same_member() {
    let mut oracle = oracle_of(&[(create(), ChangeResult::Changed)]);
    let ids = [add(1), add(1)].map(|operation| oracle.begin(&operation));
    oracle.ended_with(ids[0], &Ok(None), Some(ChangeResult::Changed));
    let mut legal = oracle.clone();
    legal.ended_with(ids[1], &Ok(None), Some(ChangeResult::Unchanged));
    assert_eq!(legal.wrong_result(), None);
    oracle.ended_with(ids[1], &Ok(None), Some(ChangeResult::Changed));
    assert_wrong_result(&oracle, "add:a,1 returned Ok(true)");
    assert_wrong_result(&oracle, "has the members [1]");
}

#[test]
fn the_order_of_overlapping_changes_follows_from_their_results() {
    let mut oracle = oracle_of(&[(create(), ChangeResult::Changed)]);
    let remove = Operation::RemoveFromCollection(b"a".to_vec(), EntityId(1));
    let ids = [add(1), remove].map(|operation| oracle.begin(&operation));
    for id in ids {
        oracle.ended_with(id, &Ok(None), Some(ChangeResult::Changed));
    }
    assert_ok(&verdict_after_process_crash(&oracle, &[create()], 0));
    let verdict = verdict_after_process_crash(&oracle, &[create(), add(1)], 0);
    assert_eq!(
        verdict.differences[0].structure,
        Structure::Collection,
        "{verdict}"
    );
}

#[test]
fn a_change_with_an_unknown_outcome_explains_both_results() {
    for result in [ChangeResult::Changed, ChangeResult::Exists] {
        let mut oracle = new_oracle(Guarantee::Acknowledged);
        let failed = oracle.begin(&create());
        oracle.ended_with(failed, &Err(Error::Closed.with_unknown_outcome(None)), None);
        let id = oracle.begin(&create());
        oracle.ended_with(id, &error_of(result), Some(result));
        assert_eq!(oracle.wrong_result(), None);
    }
}

/// A record of one event of entity 1 for signal 0 with a related item, by one user.
fn view(weight: f64) -> Operation {
    let event = |entity, signal| Event {
        entity: EntityId(entity),
        signal: SignalId(signal),
        weight,
        at_ms: STANDARD_NOW_MS,
        user: Some(UserId(1)),
        cohorts: Vec::new(),
    };
    Operation::record(vec![event(1, 0), event(1, 1), event(2, 1)])
}

fn read_with(score: f64, related: &[(u64, f64)]) -> Arc<FoundRead> {
    let related = related.iter().map(|&(item, weight)| (EntityId(item), weight));
    Arc::new(FoundRead {
        score,
        related: related.collect(),
        ..read_of(&CollectionMembers::new())
    })
}

#[test]
fn a_read_sees_each_acknowledged_frame_and_may_see_each_overlapping_one() {
    let sum = 1.0 + 4.0;
    let overlapping = [
        (1.0, &[(2, 1.0)][..], true),
        (sum, &[(2, 1.0)], true),
        (1.0, &[(2, sum)], false),
        (0.0, &[(2, 1.0)], false),
        (12345.0, &[(2, 1.0)], false),
        (1.0, &[], false),
        (f64::NAN, &[(2, 1.0)], false),
    ];
    for (score, related, is_legal) in overlapping {
        let mut oracle = new_oracle(Guarantee::Acknowledged);
        acknowledge(&mut oracle, &[view(1.0)], 0);
        let begin = oracle.begin_read();
        let other = oracle.begin(&view(4.0));
        oracle.read_ended(begin, &read_with(score, related));
        oracle.acknowledged(other, Some(2));
        // The user engaged with both items before, so the second frame adds no weight to their edge.
        assert_eq!(
            oracle.wrong_result().is_none(),
            is_legal,
            "{score} {related:?}: {:?}",
            oracle.wrong_result()
        );
    }
    let mut oracle = new_oracle(Guarantee::Acknowledged);
    acknowledge(&mut oracle, &[view(1.0), view(4.0)], 0);
    let begin = oracle.begin_read();
    oracle.read_ended(begin, &read_with(1.0, &[(2, 1.0)]));
    assert_wrong_result(&oracle, "returned the score 1,");
}

#[test]
fn a_read_sees_a_call_that_forgets_and_the_records_after_it() {
    for (score, related, is_legal) in [
        (4.0, &[][..], true),
        (1.0 + 4.0, &[], false),
        (4.0, &[(2, 1.0)], false),
        (0.0, &[], false),
    ] {
        let mut oracle = new_oracle(Guarantee::Acknowledged);
        let later = Operation::record(vec![Event {
            user: None,
            ..event_of(&view(4.0))
        }]);
        acknowledge(
            &mut oracle,
            &[view(1.0), Operation::ForgetEntity(EntityId(1)), later],
            0,
        );
        let begin = oracle.begin_read();
        oracle.read_ended(begin, &read_with(score, related));
        assert_eq!(
            oracle.wrong_result().is_none(),
            is_legal,
            "{score} {related:?}: {:?}",
            oracle.wrong_result()
        );
    }
}

fn event_of(operation: &Operation) -> Event {
    match operation {
        Operation::Record { events, .. } => events[0].clone(),
        _ => unreachable!("the operation records"),
    }
}

#[test]
fn a_read_may_see_a_state_before_or_after_an_overlapping_call_that_forgets() {
    for (score, related, is_legal) in [
        (1.0, &[(2, 1.0)][..], true),
        (0.0, &[], true),
        (0.0, &[(2, 1.0)], true),
        (2.0, &[], false),
    ] {
        let mut oracle = new_oracle(Guarantee::Acknowledged);
        acknowledge(&mut oracle, &[view(1.0)], 0);
        let forget = oracle.begin(&Operation::ForgetEntity(EntityId(1)));
        let begin = oracle.begin_read();
        oracle.read_ended(begin, &read_with(score, related));
        oracle.acknowledged(forget, Some(2));
        assert_eq!(
            oracle.wrong_result().is_none(),
            is_legal,
            "{score} {related:?}: {:?}",
            oracle.wrong_result()
        );
    }
}
