//! Hashes and keyed pseudo-random numbers. Invariant: they are the same on every platform and in every run.

use std::ffi::OsStr;
use std::path::Path;

const K0: u64 = 0x9e37_79b9_7f4a_7c15;
const K1: u64 = 0xd6e8_feb8_6659_fd93;

/// One pseudo-random number for `seed` and `value` (the finaliser of `SplitMix64`: Steele, Lea, Flood, OOPSLA 2014).
pub(super) fn mix(seed: u64, value: u64) -> u64 {
    let mut z = seed.rotate_left(32) ^ value.wrapping_add(1).wrapping_mul(K0);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Fills `bytes` with the pseudo-random bytes of `key`.
pub(super) fn fill_random(bytes: &mut [u8], key: u64) {
    for (index, chunk) in (0..).zip(bytes.chunks_mut(8)) {
        chunk.copy_from_slice(&mix(key, index).to_le_bytes()[..chunk.len()]);
    }
}

/// The exclusive or of the low and the high half of the product.
fn fold_product(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// A hash of `bytes`. Equal hashes of different bytes do not occur in practice. The hash is not cryptographic.
pub(super) fn hash(bytes: &[u8]) -> u128 {
    let (mut a, mut b) = (K1 ^ bytes.len() as u64, K0);
    let (words, rest) = bytes.as_chunks::<16>();
    let mut last = [0; 16];
    last[..rest.len()].copy_from_slice(rest);
    for word in words.iter().chain([&last]) {
        let word = u128::from_le_bytes(*word);
        let next = fold_product(a ^ (word as u64), K0).wrapping_add(b);
        b = fold_product(b ^ ((word >> 64) as u64), K1) ^ a.rotate_left(23);
        a = next;
    }
    (u128::from(mix(b, !a)) << 64) | u128::from(mix(a, b))
}

/// The hash of a sequence: `hash` is the hash of the previous values, `value` is the next one.
pub(super) fn combine(hash: u128, value: u128) -> u128 {
    let low = mix(mix(hash as u64, value as u64), (value >> 64) as u64);
    let high = mix(mix((hash >> 64) as u64, (value >> 64) as u64 ^ low), value as u64);
    (u128::from(high) << 64) | u128::from(low)
}

/// The hash of the path of `name` in a directory. `dir` is the hash of the directory's path.
pub(super) fn child_hash(dir: u128, name: &OsStr) -> u128 {
    combine(dir, hash(name.as_encoded_bytes()))
}

/// The key of a path for pseudo-random choices.
pub(super) fn path_key(path: &Path) -> u64 {
    hash(path.as_os_str().as_encoded_bytes()) as u64
}
