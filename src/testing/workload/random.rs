//! Pseudo-random numbers. The same seed gives the same numbers on every platform.

/// The generator `SplitMix64` (Steele, Lea, Flood, OOPSLA 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator with this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number of the sequence.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound
    }

    /// A number from `begin` up to and excluding `end`.
    #[cfg(test)]
    pub(crate) fn between(&mut self, begin: i64, end: i64) -> i64 {
        begin + self.below(begin.abs_diff(end)) as i64
    }

    /// `len` random bytes, which do not compress.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
        bytes
    }

    /// Returns true in `times` of `of` calls on average.
    pub fn chance(&mut self, times: u64, of: u64) -> bool {
        self.below(of) < times
    }

    /// A random element, each with the same probability.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }

    /// Puts the elements into a random order.
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

/// These seeds and a fresh seed, which differs from run to run. The fresh seed is printed, so that a failing test shows
/// it.
#[cfg(test)]
pub(crate) fn with_a_fresh_seed(seeds: impl IntoIterator<Item = u64>) -> impl Iterator<Item = u64> {
    use std::hash::{BuildHasher, RandomState};
    let fresh = RandomState::new().hash_one(0_u8);
    println!("fresh seed {fresh:#x}");
    seeds.into_iter().chain([fresh])
}
