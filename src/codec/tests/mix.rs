//! The mixing function against published values.

use crate::codec::mix::mix;

#[test]
fn mix_returns_the_published_outputs_of_splitmix64() {
    // The published first outputs of the generator that begins with state 0.
    assert_eq!(mix(0, 0), 0xe220_a839_7b1d_cdaf);
    assert_eq!(mix(0x9e37_79b9_7f4a_7c15, 0), 0x6e78_9e6a_a1b9_65f4);
}

#[test]
fn words_in_another_order_give_another_value() {
    assert_ne!(mix(mix(0, 1), 2), mix(mix(0, 2), 1));
}
