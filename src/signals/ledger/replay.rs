//! Replay: applying what the log holds beyond the checkpoint, each frame once, in log order.
//!
//! It comes through the same functions as recording. A crash during replay changes nothing on disk.

use super::state::{LedgerState, Positive};
use crate::wal::FrameKind;
use crate::wal::payload::{Events, decode_checkpoint, decode_forget};
use crate::wal::recovery::Frame;

const PANICKED: &str = "an aggregate refused a replayed event";

/// What replay did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Replayed {
    /// Frames that changed the state; markers do not.
    pub(crate) frames: u64,
    pub(crate) events: u64,
}

/// Applies `frame`, which lies beyond the checkpoint that covers `covered`, to `state`.
///
/// # Errors
/// What is wrong with the frame.
pub(crate) fn apply(
    state: &LedgerState,
    signals_len: usize,
    covered: u64,
    frame: Frame<'_>,
    replayed: &mut Replayed,
) -> Result<(), &'static str> {
    match frame.kind {
        FrameKind::Events => {
            replayed.frames += 1;
            let events = Events::decode(frame.payload, signals_len)?;
            replayed.events += u64::from(events.left());
            apply_events(state, events)
        }
        FrameKind::Forget => {
            replayed.frames += 1;
            state.forget(decode_forget(frame.payload)?).map_err(|_| PANICKED)
        }
        FrameKind::Checkpoint => {
            // The marker was written after its checkpoint had been flushed.
            if decode_checkpoint(frame.payload)? > covered {
                return Err("storage is behind the checkpoint that this marker confirms");
            }
            Ok(())
        }
        FrameKind::Close => Ok(()),
    }
}

fn apply_events(state: &LedgerState, events: Events<'_>) -> Result<(), &'static str> {
    let mut positives: Vec<Positive> = Vec::new();
    for event in events {
        let event = event?;
        state
            .apply_signal(event.entity, event.signal, event.weight, event.at_ms)
            .map_err(|_| PANICKED)?;
        for cohort in event.cohorts() {
            state
                .apply_cohort(cohort, event.entity, event.signal, event.weight, event.at_ms)
                .map_err(|_| PANICKED)?;
        }
        positives.extend(state.positive(event.entity, event.signal, event.user, event.weight, event.at_ms));
    }
    if !positives.is_empty() {
        state.enqueue_positives(&positives);
        state.apply_positives().map_err(|_| PANICKED)?;
    }
    Ok(())
}
