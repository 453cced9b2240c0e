//! The oracle: what became of each write, and whether a content can be what these writes left.

use std::fmt::Write as _;

use super::mirrored::difference;
use super::steps::{KeyValues, MarkedWrite, Presence};

/// What the caller knows of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteFate {
    /// The call succeeded.
    Acknowledged,
    /// The call failed: it may be there.
    Failed,
    /// The call had not returned: it may be there.
    InFlight,
    /// It was seen to be there, or not, when the engine was opened after all that: so it must stay.
    Settled(Presence),
}

/// Which acknowledged writes must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// All of them.
    Acknowledged,
    /// Those before the last flush that succeeded.
    Flushed,
}

/// All writes of a run, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct WriteAccount {
    writes: Vec<(MarkedWrite, WriteFate)>,
    /// A flush of so many first writes has succeeded.
    pub(super) flushed_len: usize,
}

impl WriteAccount {
    pub(super) fn add(&mut self, step: MarkedWrite, fate: WriteFate) {
        self.writes.push((step, fate));
    }

    /// Takes note of the result of a call.
    pub(super) fn add_result<E>(&mut self, step: MarkedWrite, result: &Result<(), E>) {
        let is_ok = result.is_ok();
        self.add(
            step,
            if is_ok {
                WriteFate::Acknowledged
            } else {
                WriteFate::Failed
            },
        );
    }

    /// A flush of all writes until now has succeeded.
    pub(super) fn flushed(&mut self) {
        self.flushed_len = self.writes.len();
    }

    pub(super) fn len(&self) -> usize {
        self.writes.len()
    }

    pub(super) fn acknowledged_len(&self) -> usize {
        let fates = self.writes.iter().map(|(_, fate)| *fate);
        fates.filter(|fate| *fate == WriteFate::Acknowledged).count()
    }

    /// Which writes are in `found`; or what promise it breaks.
    pub(super) fn judge(&self, found: &KeyValues, promise: Promise) -> Result<Vec<Presence>, String> {
        let presences = self.presences(found);
        for (position, presence) in presences.iter().enumerate() {
            self.judge_one(position, *presence, promise)?;
        }
        self.find_hole(&presences)?;
        let mut expected = KeyValues::new();
        for ((step, _), presence) in self.writes.iter().zip(&presences) {
            if *presence == Presence::There {
                step.apply(&mut expected);
            }
        }
        match difference(found, &expected) {
            None => Ok(presences),
            Some(what) => Err(self.blame(&what, &presences)),
        }
    }

    /// Judges `found`, the content after a reopening. From here on the engine must keep it.
    pub(super) fn settle(&mut self, found: &KeyValues, promise: Promise) -> Result<(), String> {
        let presences = self.judge(found, promise)?;
        for ((_, fate), presence) in self.writes.iter_mut().zip(presences) {
            if presence != Presence::Unknowable {
                *fate = WriteFate::Settled(presence);
            }
        }
        Ok(())
    }

    fn presences(&self, found: &KeyValues) -> Vec<Presence> {
        let writes = self.writes.iter().scan(None, |before, (step, _)| {
            let presence = step.presence(found, *before);
            *before = Some((step.index, step.shape, presence));
            Some(presence)
        });
        writes.collect()
    }

    fn judge_one(&self, position: usize, presence: Presence, promise: Promise) -> Result<(), String> {
        let (step, fate) = &self.writes[position];
        let is_promised = promise == Promise::Acknowledged || position < self.flushed_len;
        match (fate, presence) {
            (WriteFate::Settled(Presence::There), Presence::Missing) => {
                Err(format!("{step} was there after an earlier opening and is lost"))
            }
            (WriteFate::Settled(Presence::Missing), Presence::There) => Err(format!(
                "{step} was not there after an earlier opening and now is"
            )),
            (WriteFate::Acknowledged, Presence::Missing) if is_promised => {
                let mut text = format!("{step} is lost: it was acknowledged");
                if position < self.flushed_len {
                    text += " and flushed";
                }
                let mut before = self.writes[..position].iter();
                if let Some((failed, _)) = before.rfind(|(_, fate)| *fate == WriteFate::Failed) {
                    write!(text, ", after {failed} had failed").ok();
                }
                Err(text)
            }
            _ => Ok(()),
        }
    }

    /// An acknowledged write that is missing while a later one is there.
    fn find_hole(&self, presences: &[Presence]) -> Result<(), String> {
        let mut writes = self.writes.iter().zip(presences);
        let Some(((later, _), _)) = writes.rfind(|(_, presence)| **presence == Presence::There) else {
            return Ok(());
        };
        let hole = writes.find(|((_, fate), presence)| {
            *fate == WriteFate::Acknowledged && **presence == Presence::Missing
        });
        hole.map_or(Ok(()), |((missing, _), _)| {
            Err(format!(
                "there is a hole: {missing} is missing, and the later {later} is there"
            ))
        })
    }

    fn blame(&self, what: &str, presences: &[Presence]) -> String {
        let writes = self.writes.iter().zip(presences);
        let there = writes.filter(|(_, presence)| **presence == Presence::There);
        let indices: Vec<_> = there.map(|((step, _), _)| step.index).collect();
        let indices = match &indices[..] {
            [.., last] if indices.len() > 12 => format!("{} writes up to {last}", indices.len()),
            _ => format!("writes {indices:?}"),
        };
        format!(
            "a write is half there, or what others wrote is wrong: {what}; by their marks {indices} are there"
        )
    }
}
