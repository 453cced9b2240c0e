//! Replay: applies the frames of the log after the checkpoint, each frame once, in log order.
//!
//! Replay and recording apply events by the same functions. Changes of the hot and warm tier commute. Replay collects
//! them across frames, so that their cache misses overlap also for small frames. A crash during replay changes nothing
//! on disk.

use super::state::{LedgerState, PositiveEvent};
use crate::states::Change;
use crate::wal::FrameKind;
use crate::wal::payload::{Events, decode_checkpoint, decode_close, decode_forget};
use crate::wal::recovery::{Frame, ReplayError};
use crate::{EntityId, Error};

/// The result of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Replayed {
    /// Frames that changed the state; markers do not.
    pub(crate) frames: u64,
    pub(crate) events: u64,
    /// The digest of the collections, if the last frame is a close marker.
    pub(crate) collections: Option<u64>,
}

/// A replay in progress.
#[derive(Debug)]
pub(crate) struct Replay<'a> {
    state: &'a LedgerState,
    signals_len: usize,
    /// The last sequence number that the checkpoint covers.
    covered: u64,
    replayed: Replayed,
    /// Changes that are not applied to the hot and warm tier yet.
    changes: Vec<Change<EntityId>>,
    changes_len_max: usize,
    /// Empty between frames.
    positives: Vec<PositiveEvent>,
}

impl<'a> Replay<'a> {
    /// A replay into `state`, which holds a checkpoint that covers `covered`, for a schema of `signals_len` signals.
    /// Changes are applied when their number reaches `changes_len_max`.
    pub(crate) fn new(
        state: &'a LedgerState,
        signals_len: usize,
        covered: u64,
        changes_len_max: usize,
    ) -> Self {
        Self {
            state,
            signals_len,
            covered,
            replayed: Replayed::default(),
            changes: Vec::new(),
            changes_len_max,
            positives: Vec::new(),
        }
    }

    /// Applies the next `frame` after the checkpoint. It is applied completely when [`finish`](Self::finish) has
    /// returned.
    ///
    /// # Errors
    /// The fault of the frame, or the error of an aggregate.
    pub(crate) fn apply(&mut self, frame: Frame<'_>) -> Result<(), ReplayError> {
        self.replayed.collections = None;
        match frame.kind {
            FrameKind::Events => {
                self.replayed.frames += 1;
                let events = Events::decode(frame.payload, self.signals_len)?;
                self.replayed.events += u64::from(events.left());
                self.apply_events(events)
            }
            FrameKind::Forget => {
                self.replayed.frames += 1;
                self.apply_changes()?;
                let forget = decode_forget(frame.payload)?;
                self.state.begin_forget(forget)?;
                Ok(self.state.finish_forget(forget)?)
            }
            FrameKind::Checkpoint => {
                // The marker was appended after the flush of its checkpoint.
                if decode_checkpoint(frame.payload)? > self.covered {
                    let what = "storage is behind the checkpoint that this marker confirms";
                    return Err(ReplayError::Frame(what));
                }
                Ok(())
            }
            FrameKind::Close => {
                self.replayed.collections = Some(decode_close(frame.payload)?);
                Ok(())
            }
        }
    }

    /// Applies the remaining changes of the last frames, and returns the result.
    ///
    /// # Errors
    /// The error of an aggregate.
    pub(crate) fn finish(mut self) -> Result<Replayed, Error> {
        self.apply_changes()?;
        Ok(self.replayed)
    }

    fn apply_events(&mut self, events: Events<'_>) -> Result<(), ReplayError> {
        let state = self.state;
        for event in events {
            let event = event?;
            self.changes.push(Change {
                key: event.entity,
                signal: event.signal,
                weight: event.weight,
                at_ms: event.at_ms,
            });
            for cohort in event.cohorts() {
                state.apply_cohort(cohort, event.entity, event.signal, event.weight, event.at_ms)?;
            }
            let positive =
                state.positive_event(event.entity, event.signal, event.user, event.weight, event.at_ms);
            self.positives.extend(positive);
        }
        if !self.positives.is_empty() {
            state.enqueue_positives(&self.positives);
            self.positives.clear();
            state.apply_positives()?;
        }
        if self.changes.len() >= self.changes_len_max {
            self.apply_changes()?;
        }
        Ok(())
    }

    fn apply_changes(&mut self) -> Result<(), Error> {
        let applied = self.state.apply_signals(&self.changes);
        self.changes.clear();
        applied
    }
}
