//! Tests of the ring of recent items.

use crate::entities::user_ring::UserRing;

#[test]
fn a_full_ring_drops_its_oldest_item() {
    let mut ring = UserRing::default();
    for item in 1..=5 {
        ring.push(item, 3);
    }
    assert_eq!(ring.items(), [3, 4, 5]);
}

#[test]
fn a_repeated_item_becomes_the_newest_and_no_item_is_dropped() {
    let mut ring = UserRing::from_items(vec![7, 0, u64::MAX]);
    ring.push(7, 3);
    assert_eq!(ring.items(), [0, u64::MAX, 7]);
    ring.push(7, 3);
    assert_eq!(ring.items(), [0, u64::MAX, 7]);
}

#[test]
fn a_ring_of_one_holds_the_newest_item() {
    let mut ring = UserRing::default();
    ring.push(1, 1);
    ring.push(2, 1);
    assert_eq!(ring.items(), [2]);
    ring.retain(|item| item != 2);
    assert!(ring.is_empty());
}
