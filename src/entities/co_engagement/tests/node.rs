//! Decay and eviction of the edges of one item.

use crate::decay::HalfLife;
use crate::entities::co_engagement::node::*;

/// A half-life of one second.
fn second() -> HalfLife {
    HalfLife::new(1000)
}

fn node(edges: &[(u64, f64)]) -> Node {
    Node {
        time_ms: 0,
        edges: edges.iter().map(|&(id, weight)| Edge { id, weight }).collect(),
    }
}

fn edges(node: &Node) -> Vec<(u64, f64)> {
    node.sorted_edges()
        .iter()
        .map(|edge| (edge.id, edge.weight))
        .collect()
}

fn gain(weight: f64, at_ms: i64) -> Gain {
    Gain::new(&second(), weight, at_ms).unwrap()
}

#[test]
fn moving_the_landmark_by_whole_half_lives_is_exact() {
    let weight = 1.0 + f64::EPSILON;
    let mut halved = node(&[(1, weight)]);
    for cell in 1..=1000 {
        halved.link(&second(), 2, gain(1.0, cell * 1000), 10);
    }
    let mut doubled = edges(&halved)[0].1;
    for _ in 0..1000 {
        doubled *= 2.0;
    }
    assert_eq!(doubled.to_bits(), weight.to_bits());
}

#[test]
fn the_order_of_gains_changes_no_weight_if_sums_are_exact() {
    // Whole half-lives and small integers: every sum is exact, so every order gives the same bits.
    let gains = [(1.0, 0), (2.0, 5000), (4.0, 2000), (8.0, -3000), (16.0, 5000)];
    let apply = |order: &mut dyn Iterator<Item = &(f64, i64)>| {
        let mut node = Node::new(i64::MIN);
        order.for_each(|&(weight, at_ms)| node.link(&second(), 1, gain(weight, at_ms), 10));
        node
    };
    assert_eq!(apply(&mut gains.iter()), apply(&mut gains.iter().rev()));
}

#[test]
fn a_sum_saturates_below_infinity() {
    let mut full = node(&[(1, f64::MAX)]);
    full.link(&second(), 1, gain(f64::INFINITY, 999), 10);
    full.link(&second(), 2, gain(f64::MAX, 999), 10);
    full.evict(1);
    assert_eq!(edges(&full), [(2, f64::MAX)]);
}

#[test]
fn a_new_edge_takes_over_the_weight_of_the_lightest_edge() {
    let mut full = node(&[(1, 5.0), (2, 3.0), (3, 4.0), (9, 1.0)]);
    full.evict(3);
    assert_eq!(edges(&full), [(1, 5.0), (3, 4.0), (9, 4.0)]);
}

#[test]
fn of_equally_light_edges_the_one_with_the_largest_id_is_replaced() {
    let mut full = node(&[(1, 3.0), (7, 3.0), (5, 3.0), (2, 1.0)]);
    full.evict(3);
    assert_eq!(edges(&full), [(1, 3.0), (2, 4.0), (5, 3.0)]);
}

#[test]
fn several_new_edges_replace_edges_in_the_order_of_insertion() {
    // 10 replaces 3 and gets the weight 6. Then 11 replaces 2, because 6 is not the lightest, and gets 5.75. Then 12
    // replaces 11 and gets 6.75.
    let mut full = node(&[(1, 9.0), (2, 5.5), (3, 5.0), (10, 1.0), (11, 0.25), (12, 1.0)]);
    full.evict(3);
    assert_eq!(edges(&full), [(1, 9.0), (10, 6.0), (12, 6.75)]);
}

#[test]
fn no_edge_is_evicted_up_to_the_bound() {
    let mut full = node(&[(1, 1.0), (2, 2.0)]);
    for degree_max in [2, 3] {
        full.evict(degree_max);
        assert_eq!(edges(&full), [(1, 1.0), (2, 2.0)]);
    }
}
