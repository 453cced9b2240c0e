//! Declaring, persisting and comparing schemas.

use super::*;

fn sample() -> Schema {
    Schema::new()
        .signal(Signal::new("view").half_life_ms(1000).half_life_ms(60_000))
        .signal(
            Signal::new([0, 255])
                .half_life_ms(7)
                .rings([])
                .positive()
                .allow_negative_weights(),
        )
}

#[test]
fn a_schema_reads_back_as_it_was_written_and_every_shorter_form_is_refused() {
    let bytes = sample().encode();
    assert_eq!(Schema::decode(&bytes, b"k").unwrap(), sample());
    for len in 0..bytes.len() {
        assert!(Schema::decode(&bytes[..len], b"k").is_err(), "cut at {len}");
    }
}

#[test]
fn a_record_of_another_version_is_not_called_corrupt() {
    for version in [VERSION - 1, VERSION + 1] {
        let mut bytes = sample().encode();
        bytes[..2].copy_from_slice(&version.to_le_bytes());
        let error = Schema::decode(&bytes, b"k").unwrap_err();
        assert!(
            matches!(error, Error::UnsupportedVersion { found, .. } if found == version.into()),
            "{error}"
        );
    }
}

#[test]
fn no_flipped_bit_makes_decoding_panic() {
    let bytes = sample().encode();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(Schema::decode(&flipped, b"k").ok(), Some(sample()), "bit {bit}");
    }
}

#[test]
fn appending_a_signal_is_legal_and_any_other_difference_names_the_signal() {
    let persisted = sample();
    let appended = sample().signal(Signal::new("share").half_life_ms(5));
    assert!(appended.check_extends(&persisted).is_ok());
    let message = |schema: Schema| schema.check_extends(&persisted).unwrap_err().to_string();
    assert_eq!(
        message(Schema::new()),
        "signal \"view\" differs from the persisted schema: it is missing"
    );
    let mut other = sample();
    other.signals[0].half_lives_ms[1] += 1;
    assert_eq!(
        message(other),
        "signal \"view\" differs from the persisted schema: its half-lives"
    );
    let mut other = sample();
    other.signals.swap(0, 1);
    assert!(message(other).contains("another signal stands in its place"));
    let mut other = sample();
    other.signals[1].positive = false;
    assert!(message(other).contains("whether it is positive"));
    let mut other = sample();
    other.signals[1].negative_weights = false;
    assert!(message(other).contains("negative weights"));
    let mut other = sample();
    other.signals[0].rings.pop();
    assert!(message(other).contains("window rings"));
}

#[test]
fn a_declaration_outside_its_limits_is_refused() {
    let refused = |signal: Signal| Schema::new().signal(signal).validate().is_err();
    assert!(refused(Signal::new("").half_life_ms(1)));
    assert!(refused(Signal::new([b'n'; NAME_BYTES_MAX + 1]).half_life_ms(1)));
    assert!(!refused(Signal::new([b'n'; NAME_BYTES_MAX]).half_life_ms(1)));
    assert!(refused(Signal::new("none")));
    assert!(refused(Signal::new("zero").half_life_ms(0)));
    assert!(refused(Signal::new("long").half_life_ms(DURATION_MS_MAX + 1)));
    assert!(!refused(Signal::new("long").half_life_ms(DURATION_MS_MAX)));
    let ring = |bucket_ms, buckets| {
        Signal::new("r")
            .half_life_ms(1)
            .rings([Ring { bucket_ms, buckets }])
    };
    assert!(refused(ring(0, 1)) && refused(ring(1, 0)) && refused(ring(1, RING_BUCKETS_MAX as u32 + 1)));
    assert!(!refused(ring(1, RING_BUCKETS_MAX as u32)));
    let twice = Schema::new()
        .signal(Signal::new("a").half_life_ms(1))
        .signal(Signal::new("a").half_life_ms(2));
    assert!(twice.validate().is_err());
}
