//! The defaults and the bounds of the configuration of co-engagement.

use crate::Error;
use crate::limits::{
    CO_ENGAGEMENT_DEGREE_MAX, CO_ENGAGEMENT_RECORDS_MAX, CO_ENGAGEMENT_RING_LEN_MAX, DURATION_MS_MAX,
};
use crate::schema::co_engagement::*;

#[test]
fn the_default_values_are_those_of_the_first_release() {
    // These values must never change: programs set fields from them, and the half-life of a database cannot change.
    let expected = CoEngagementConfig {
        ring_len_max: 32,
        degree_max: 64,
        half_life_ms: 604_800_000,
        users_max: 1_000_000,
        nodes_max: 1_000_000,
    };
    assert_eq!(CoEngagementConfig::default(), expected);
}

#[test]
fn the_default_and_both_ends_of_every_bound_are_valid() {
    let least = CoEngagementConfig {
        ring_len_max: 1,
        degree_max: 1,
        half_life_ms: 1,
        users_max: 1,
        nodes_max: 1,
    };
    let most = CoEngagementConfig {
        ring_len_max: CO_ENGAGEMENT_RING_LEN_MAX,
        degree_max: CO_ENGAGEMENT_DEGREE_MAX,
        half_life_ms: DURATION_MS_MAX,
        users_max: CO_ENGAGEMENT_RECORDS_MAX,
        nodes_max: CO_ENGAGEMENT_RECORDS_MAX,
    };
    for config in [CoEngagementConfig::default(), least, most] {
        assert!(config.validate().is_ok(), "{config:?}");
    }
}

#[test]
fn a_value_one_past_either_bound_is_an_error_that_names_the_field() {
    type SetBound = fn(&mut CoEngagementConfig, u64);
    let fields: [(&str, u64, SetBound); 5] = [
        ("ring_len_max", CO_ENGAGEMENT_RING_LEN_MAX.into(), |c, v| {
            c.ring_len_max = v as u32;
        }),
        ("degree_max", CO_ENGAGEMENT_DEGREE_MAX.into(), |c, v| {
            c.degree_max = v as u32;
        }),
        ("half_life_ms", DURATION_MS_MAX, |c, v| c.half_life_ms = v),
        ("users_max", CO_ENGAGEMENT_RECORDS_MAX, |c, v| c.users_max = v),
        ("nodes_max", CO_ENGAGEMENT_RECORDS_MAX, |c, v| c.nodes_max = v),
    ];
    for (name, max, set) in fields {
        let mut config = CoEngagementConfig::default();
        set(&mut config, 0);
        match config.validate() {
            Err(Error::InvalidInput { field, .. }) => assert!(field.ends_with(name), "{field}"),
            other => panic!("{name}: {other:?}"),
        }
        set(&mut config, max + 1);
        match config.validate() {
            Err(Error::LimitExceeded { what, limit, found }) => {
                assert!(what.ends_with(name), "{what}");
                assert_eq!((limit, found), (max, max + 1));
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}
