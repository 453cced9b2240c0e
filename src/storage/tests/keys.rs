//! Sealed values, and keys that are built and parsed.

use crate::storage::keys::*;

#[test]
fn unseal_refuses_a_sealed_value_under_another_key_or_with_a_flipped_bit() {
    let sealed = seal(b"key", b"value".to_vec());
    assert_eq!(unseal(b"key", &sealed).unwrap(), b"value");
    assert!(unseal(b"kez", &sealed).is_err());
    for bit in 0..sealed.len() * 8 {
        let mut flipped = sealed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(unseal(b"key", &flipped).is_err(), "bit {bit}");
    }
    for len in 0..sealed.len() {
        assert!(unseal(b"key", &sealed[..len]).is_err(), "truncated at {len}");
    }
}

#[test]
fn the_key_of_a_name_is_no_prefix_of_another_and_parses_back() {
    let names: [&[u8]; 5] = [b"a", b"ab", b"a\0", b"\xff", &[7; 255]];
    for name in names {
        let key = collection(name);
        assert_eq!(parse_collection(&key), Some(name));
        for other in names.into_iter().filter(|other| *other != name) {
            assert!(!key.starts_with(&collection(other)), "{name:?} under {other:?}");
        }
    }
}

#[test]
fn a_truncated_or_extended_key_is_refused() {
    let keys = [collection(b"name"), block(1, 2)];
    for key in &keys {
        for len in 0..key.len() {
            assert_eq!(parse_collection(&key[..len]), None, "truncated at {len}");
            assert_eq!(parse_block(&key[..len]), None, "truncated at {len}");
        }
    }
    for longer in keys.map(|key| [&key[..], &[0]].concat()) {
        assert_eq!((parse_collection(&longer), parse_block(&longer)), (None, None));
    }
    assert_eq!(parse_collection(&[0x40, 0]), None);
}

#[test]
fn the_keys_of_blocks_sort_by_number_and_lower_bound_and_parse_back() {
    let values = [0, 1, 255, 256, 1 << 32, u64::MAX - 1, u64::MAX];
    let pairs = values
        .iter()
        .flat_map(|number| values.map(|lower| (*number, lower)));
    let pairs: Vec<_> = pairs.collect();
    assert!(pairs.is_sorted_by_key(|(number, lower)| block(*number, *lower)));
    for (number, lower) in pairs {
        assert_eq!(parse_block(&block(number, lower)), Some((number, lower)));
    }
}
