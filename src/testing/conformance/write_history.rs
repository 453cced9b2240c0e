//! The oracle: the status of each write, and the check of a content against the writes. It is in memory, so a crash of
//! the engine does not change it.

use std::fmt::Write as _;

use super::engine_with_map::difference;
use super::writes::{KeyValues, MarkedWrite, Presence};

/// The status of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteStatus {
    /// The call succeeded.
    Acknowledged,
    /// The call failed. The write may be present.
    Failed,
    /// The call had not returned. The write may be present.
    InFlight,
    /// An earlier reopening found this presence, which must not change.
    Recovered(Presence),
}

/// The acknowledged writes that must be present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// All acknowledged writes.
    Acknowledged,
    /// The acknowledged writes before the last flush that succeeded.
    Flushed,
}

/// All writes of a run, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct WriteHistory {
    writes: Vec<(MarkedWrite, WriteStatus)>,
    /// The number of first writes that a successful flush covers.
    pub(super) flushed_len: usize,
}

impl WriteHistory {
    pub(super) fn add(&mut self, write: MarkedWrite, status: WriteStatus) {
        self.writes.push((write, status));
    }

    /// Adds a write with the result of its call.
    pub(super) fn add_result<E>(&mut self, write: MarkedWrite, result: &Result<(), E>) {
        let status = match result {
            Ok(()) => WriteStatus::Acknowledged,
            Err(_) => WriteStatus::Failed,
        };
        self.add(write, status);
    }

    /// Records that a flush of all writes so far has succeeded.
    pub(super) fn flushed(&mut self) {
        self.flushed_len = self.writes.len();
    }

    pub(super) fn len(&self) -> usize {
        self.writes.len()
    }

    pub(super) fn acknowledged_len(&self) -> usize {
        let statuses = self.writes.iter().map(|(_, status)| *status);
        statuses
            .filter(|status| *status == WriteStatus::Acknowledged)
            .count()
    }

    /// Checks a content. Returns the presence of each write.
    ///
    /// # Errors
    /// The broken promise, as text.
    pub(super) fn check(&self, found: &KeyValues, promise: Promise) -> Result<Vec<Presence>, String> {
        let presences = self.presences(found);
        for (position, presence) in presences.iter().enumerate() {
            self.check_write(position, *presence, promise)?;
        }
        self.check_gaps(&presences)?;
        let mut expected = KeyValues::new();
        for ((write, _), presence) in self.writes.iter().zip(&presences) {
            if *presence == Presence::Present {
                write.apply(&mut expected);
            }
        }
        match difference(found, &expected) {
            None => Ok(presences),
            Some(difference) => Err(self.partial_write_text(&difference, &presences)),
        }
    }

    /// Checks the content after a reopening. From now on the recovered writes must stay, and the missing writes must
    /// not appear.
    pub(super) fn check_reopened(&mut self, found: &KeyValues, promise: Promise) -> Result<(), String> {
        let presences = self.check(found, promise)?;
        for ((_, status), presence) in self.writes.iter_mut().zip(presences) {
            if presence != Presence::NoEffect {
                *status = WriteStatus::Recovered(presence);
            }
        }
        Ok(())
    }

    fn presences(&self, found: &KeyValues) -> Vec<Presence> {
        let writes = self.writes.iter().scan(None, |before, (write, _)| {
            let presence = write.presence(found, *before);
            *before = Some((write.index, write.shape, presence));
            Some(presence)
        });
        writes.collect()
    }

    fn check_write(&self, position: usize, presence: Presence, promise: Promise) -> Result<(), String> {
        let (write, status) = &self.writes[position];
        let is_promised = promise == Promise::Acknowledged || position < self.flushed_len;
        match (status, presence) {
            (WriteStatus::Recovered(Presence::Present), Presence::Missing) => Err(format!(
                "{write} was present after an earlier opening and is lost"
            )),
            (WriteStatus::Recovered(Presence::Missing), Presence::Present) => Err(format!(
                "{write} was missing after an earlier opening and is present now"
            )),
            (WriteStatus::Acknowledged, Presence::Missing) if is_promised => {
                let mut text = format!("{write} is lost: it was acknowledged");
                if position < self.flushed_len {
                    text += " and flushed";
                }
                let mut before = self.writes[..position].iter();
                if let Some((failed, _)) = before.rfind(|(_, status)| *status == WriteStatus::Failed) {
                    write!(text, ", after {failed} had failed").ok();
                }
                Err(text)
            }
            _ => Ok(()),
        }
    }

    /// Checks that no acknowledged write is missing while a later write is present.
    fn check_gaps(&self, presences: &[Presence]) -> Result<(), String> {
        let mut writes = self.writes.iter().zip(presences);
        let Some(((later, _), _)) = writes.rfind(|(_, presence)| **presence == Presence::Present) else {
            return Ok(());
        };
        let gap = writes.find(|((_, status), presence)| {
            *status == WriteStatus::Acknowledged && **presence == Presence::Missing
        });
        gap.map_or(Ok(()), |((missing, _), _)| {
            Err(format!(
                "the writes have a gap: {missing} is missing, and the later {later} is present"
            ))
        })
    }

    fn partial_write_text(&self, difference: &str, presences: &[Presence]) -> String {
        let writes = self.writes.iter().zip(presences);
        let present = writes.filter(|(_, presence)| **presence == Presence::Present);
        let indices: Vec<_> = present.map(|((write, _), _)| write.index).collect();
        let indices = match &indices[..] {
            [.., last] if indices.len() > 12 => format!("{} writes up to {last}", indices.len()),
            _ => format!("writes {indices:?}"),
        };
        format!(
            "a write is partly present, or another value is wrong: {difference}; by their marks {indices} are present"
        )
    }
}
