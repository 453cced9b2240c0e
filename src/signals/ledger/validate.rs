//! The checks of events before their append to the log. No later step can fail because of the content of an event.

use crate::limits::{BATCH_EVENTS_MAX, EVENT_COHORTS_MAX, FRAME_PAYLOAD_BYTES_MAX, WEIGHT_ABS_MAX};
use crate::wal::payload::events_len;
use crate::{Error, Schema, SignalEvent};

/// Checks the events of a call. Returns the number of events that are ahead of the clock: later than `now_ms`. An event
/// may be at most `skew_ms_max` ahead.
///
/// # Errors
/// `InvalidInput`, `LimitExceeded` or `UnknownSignal`; wrapped in `InBatch` with the index if there are several events.
pub(crate) fn events(
    schema: &Schema,
    events: &[SignalEvent<'_>],
    now_ms: i64,
    skew_ms_max: u64,
) -> Result<u32, Error> {
    let latest_ms = now_ms.saturating_add_unsigned(skew_ms_max);
    let mut ahead_len = 0;
    if events.is_empty() {
        return Err(Error::invalid(
            "events",
            "empty",
            "a batch holds at least one event",
        ));
    }
    if events.len() > BATCH_EVENTS_MAX {
        let (limit, found) = (BATCH_EVENTS_MAX as u64, events.len() as u64);
        return Err(Error::LimitExceeded {
            what: "events of a batch",
            limit,
            found,
        });
    }
    for (index, event) in events.iter().enumerate() {
        if let Err(error) = check(schema, event, latest_ms) {
            return Err(if events.len() == 1 {
                error
            } else {
                Error::InBatch {
                    index,
                    source: Box::new(error),
                }
            });
        }
        ahead_len += u32::from(event.at_ms > now_ms);
    }
    let payload_bytes = events_len(events);
    if payload_bytes > FRAME_PAYLOAD_BYTES_MAX {
        let (limit, found) = (FRAME_PAYLOAD_BYTES_MAX as u64, payload_bytes as u64);
        return Err(Error::LimitExceeded {
            what: "bytes of a frame",
            limit,
            found,
        });
    }
    Ok(ahead_len)
}

fn check(schema: &Schema, event: &SignalEvent<'_>, latest_ms: i64) -> Result<(), Error> {
    let Some(signal) = schema.get(event.signal) else {
        return Err(Error::UnknownSignal {
            signal: event.signal.to_string(),
        });
    };
    let weight = event.weight;
    if !weight.is_finite() {
        return Err(Error::invalid("weight", weight, "a weight is a finite number"));
    }
    if weight.abs() > WEIGHT_ABS_MAX {
        return Err(Error::invalid(
            "weight",
            weight,
            "it is above the cap WEIGHT_ABS_MAX",
        ));
    }
    if weight < 0.0 && !signal.allows_negative_weights() {
        return Err(Error::invalid(
            "weight",
            weight,
            "the signal does not allow negative weights",
        ));
    }
    if event.at_ms > latest_ms {
        return Err(Error::invalid(
            "at_ms",
            event.at_ms,
            "it is further ahead of the clock than the allowed skew",
        ));
    }
    if event.cohorts.len() > EVENT_COHORTS_MAX {
        let (limit, found) = (EVENT_COHORTS_MAX as u64, event.cohorts.len() as u64);
        return Err(Error::LimitExceeded {
            what: "cohorts of an event",
            limit,
            found,
        });
    }
    Ok(())
}
