//! Schemas that are declared, persisted and compared.

mod co_engagement;

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
fn a_schema_reads_back_as_it_was_written_and_every_truncation_is_refused() {
    let bytes = sample().encode();
    assert_eq!(Schema::decode(&bytes, b"k").unwrap(), sample().resolved(None));
    for len in 0..bytes.len() {
        assert!(Schema::decode(&bytes[..len], b"k").is_err(), "truncated at {len}");
    }
}

#[test]
fn a_record_of_another_version_is_an_unsupported_version_and_not_corrupt() {
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
        assert_ne!(
            Schema::decode(&flipped, b"k").ok(),
            Some(sample().resolved(None)),
            "bit {bit}"
        );
    }
}

#[test]
fn appending_a_signal_is_legal_and_any_other_difference_names_the_signal() {
    let persisted = sample().resolved(None);
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
        "signal \"view\" differs from the persisted schema: it has other half-lives"
    );
    let mut other = sample();
    other.signals.swap(0, 1);
    assert!(message(other).contains("another signal has its position"));
    let mut other = sample();
    other.signals[1].positive = false;
    assert!(message(other).contains("only one of the two is positive"));
    let mut other = sample();
    other.signals[1].negative_weights = false;
    assert!(message(other).contains("only one of the two allows negative weights"));
    let mut other = sample();
    other.signals[0].rings = Some(RINGS_DEFAULT[..1].to_vec());
    assert_eq!(
        message(other),
        "signal \"view\" differs from the persisted schema: it has other window rings"
    );
    let other = sample().co_engagement(CoEngagementConfig {
        half_life_ms: 1,
        ..CoEngagementConfig::default()
    });
    assert_eq!(
        message(other),
        "signal \"(co-engagement)\" differs from the persisted schema: it has another half-life"
    );
}

#[test]
fn an_unset_field_takes_the_persisted_value_or_else_the_default() {
    let rings = [Ring {
        bucket_ms: 5,
        buckets: 3,
    }];
    let bounds = CoEngagementConfig {
        degree_max: 7,
        half_life_ms: 9,
        ..CoEngagementConfig::default()
    };
    let signal = |name: &str| Signal::new(name).half_life_ms(1);
    let unset = Schema::new().signal(signal("a")).signal(signal("b"));
    let set = Schema::new()
        .signal(signal("a").rings(RINGS_DEFAULT))
        .signal(signal("b").rings(RINGS_DEFAULT))
        .co_engagement(CoEngagementConfig::default());
    assert_eq!(unset.resolved(None), set);
    assert_eq!(unset.encode(), set.encode());
    assert_ne!(unset, set, "an open treats them differently");
    assert_eq!(unset.signals[0].window_rings(), RINGS_DEFAULT);
    assert_eq!(*unset.co_engagement_config(), CoEngagementConfig::default());

    let persisted = Schema::new()
        .signal(signal("a").rings(rings))
        .co_engagement(bounds);
    let resolved = Schema::new()
        .signal(signal("a").rings(rings))
        .signal(signal("b").rings(RINGS_DEFAULT))
        .co_engagement(bounds);
    assert_eq!(unset.resolved(Some(&persisted)), resolved);
    assert!(unset.check_extends(&persisted).is_ok());
    assert_eq!(set.resolved(Some(&persisted)), set);
    assert!(set.check_extends(&persisted).is_err());
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
