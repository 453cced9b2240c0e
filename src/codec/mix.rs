//! The mixing function of chained 64-bit values.

/// The next value of a chain. About half of the bits change if `value` or `word` changes. Not cryptographic.
///
/// The formula is that of the generator `splitmix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
/// 2014; the constants are Vigna's), with `value ^ word` as its state.
pub(crate) fn mix(value: u64, word: u64) -> u64 {
    let mixed = (value ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::mix;

    #[test]
    fn the_values_are_those_of_splitmix64() {
        // The first outputs of the generator that begins with state 0, as its authors publish them.
        assert_eq!(mix(0, 0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(0x9e37_79b9_7f4a_7c15, 0), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn the_order_of_words_counts() {
        assert_ne!(mix(mix(0, 1), 2), mix(mix(0, 2), 1));
    }
}
