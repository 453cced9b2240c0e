//! Groups of changes by shard.

use crate::limits::GROUPED_CHANGES_LEN_MAX;
use crate::states::group::*;
use crate::states::key::{self};
use crate::{EntityId, SignalId};

#[test]
fn each_group_has_the_changes_of_its_shard_in_the_order_of_the_call() {
    for len in [0, 1, 2, 63, GROUPED_CHANGES_LEN_MAX] {
        let change = |i: usize| Change {
            key: EntityId(i as u64 % 90),
            signal: SignalId(0),
            weight: 1.0,
            at_ms: i as i64,
        };
        let changes: Vec<_> = (0..len).map(change).collect();
        let grouped = ByShard::new(&changes);
        let mut expected: Vec<_> = (0..len)
            .map(|i| (key::shard_of(changes[i].key), i as u8))
            .collect();
        expected.sort_unstable();
        let found: Vec<_> = grouped
            .groups()
            .flat_map(|(shard, group)| group.iter().map(move |&i| (shard, i)))
            .collect();
        assert_eq!(found, expected, "{len} changes");
    }
}
