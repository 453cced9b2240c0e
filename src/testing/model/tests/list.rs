//! Tests of the list whose clones share chunks.

use crate::testing::model::list::*;
use std::sync::Arc;

#[test]
fn a_list_holds_its_items_in_order_and_a_clone_shares_all_chunks_except_the_changed_ones() {
    for len in [0, 1, CHUNK_LEN - 1, CHUNK_LEN, CHUNK_LEN + 1, 3 * CHUNK_LEN + 5] {
        let mut expected: Vec<usize> = (0..len).map(|index| index * 7).collect();
        let list: List<usize> = expected.iter().copied().collect();
        assert_eq!(list.len(), len);
        assert!((0..len).all(|index| list[index] == expected[index]));
        let mut clone = list.clone();
        clone.push(3);
        if len > 0 {
            clone[0] = 1;
        }
        assert!(
            list.iter().eq(&expected),
            "{len}: a change of a clone changed the original"
        );
        expected.push(3);
        expected[0] = if len > 0 { 1 } else { 3 };
        assert!(clone.iter().eq(&expected), "{len}");
        let shared = list.chunks.iter().zip(&clone.chunks);
        let shared = shared.filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(shared, (len / CHUNK_LEN).saturating_sub(1), "{len}");
    }
}
