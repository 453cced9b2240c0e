//! The mixing function of chained 64-bit values. A pure function: a crash leaves nothing of it.

/// The next value of a chain. About half of the bits change if `value` or `word` changes. Not cryptographic.
///
/// The formula is that of the generator `splitmix64` with `value ^ word` as its state (Steele, Lea and Flood, "Fast
/// splittable pseudorandom number generators", 2014; Vigna published the constants).
pub(crate) fn mix(value: u64, word: u64) -> u64 {
    let mixed = (value ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
