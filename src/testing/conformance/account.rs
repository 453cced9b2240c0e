//! The oracle: what became of each write, and whether a content can be what these writes left.

use std::fmt::Write as _;

use super::mirrored::{Pairs, difference};
use super::steps::{Presence, Shape, Step};

/// What the caller knows of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
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
pub(super) struct Account {
    writes: Vec<(Step, Fate)>,
    flushed_len: usize,
}

impl Account {
    pub(super) fn add(&mut self, step: Step, fate: Fate) {
        self.writes.push((step, fate));
    }

    /// Takes note of the result of a call.
    pub(super) fn add_result<E>(&mut self, step: Step, result: &Result<(), E>) {
        let fate = match result {
            Ok(()) => Fate::Acknowledged,
            Err(_) => Fate::Failed,
        };
        self.add(step, fate);
    }

    /// A flush of all writes until now has succeeded.
    pub(super) fn flushed(&mut self) {
        self.flushed_len = self.writes.len();
    }

    /// A flush of the first writes has succeeded.
    pub(super) fn set_flushed_len(&mut self, flushed_len: usize) {
        self.flushed_len = flushed_len;
    }

    pub(super) fn len(&self) -> usize {
        self.writes.len()
    }

    pub(super) fn acknowledged_len(&self) -> usize {
        let acknowledged = |(_, fate): &&(Step, Fate)| *fate == Fate::Acknowledged;
        self.writes.iter().filter(acknowledged).count()
    }

    pub(super) fn flushed_len(&self) -> usize {
        self.flushed_len
    }

    /// Which writes are in `found`; or what promise it breaks.
    pub(super) fn judge(&self, found: &Pairs, promise: Promise) -> Result<Vec<Presence>, String> {
        let presences = self.presences(found);
        for (position, presence) in presences.iter().enumerate() {
            self.judge_one(position, *presence, promise)?;
        }
        self.find_hole(&presences)?;
        let mut expected = Pairs::new();
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
    pub(super) fn settle(&mut self, found: &Pairs, promise: Promise) -> Result<(), String> {
        let presences = self.judge(found, promise)?;
        for ((_, fate), presence) in self.writes.iter_mut().zip(presences) {
            if presence != Presence::Unknowable {
                *fate = Fate::Settled(presence);
            }
        }
        Ok(())
    }

    fn presences(&self, found: &Pairs) -> Vec<Presence> {
        let mut before: Option<(usize, Shape, Presence)> = None;
        let mut presences = Vec::new();
        for (step, _) in &self.writes {
            let presence = step.presence(found, before);
            before = Some((step.index, step.shape, presence));
            presences.push(presence);
        }
        presences
    }

    fn judge_one(&self, position: usize, presence: Presence, promise: Promise) -> Result<(), String> {
        let (step, fate) = &self.writes[position];
        let is_promised = promise == Promise::Acknowledged || position < self.flushed_len;
        match (fate, presence) {
            (Fate::Settled(Presence::There), Presence::Missing) => {
                Err(format!("{step} was there after an earlier opening and is lost"))
            }
            (Fate::Settled(Presence::Missing), Presence::There) => Err(format!(
                "{step} was not there after an earlier opening and now is"
            )),
            (Fate::Acknowledged, Presence::Missing) if is_promised => {
                let mut text = format!("{step} is lost: it was acknowledged");
                if position < self.flushed_len {
                    text += " and flushed";
                }
                let failed = self.writes[..position]
                    .iter()
                    .rfind(|(_, fate)| *fate == Fate::Failed);
                if let Some((failed, _)) = failed {
                    write!(text, ", after {failed} had failed").ok();
                }
                Err(text)
            }
            _ => Ok(()),
        }
    }

    /// An acknowledged write that is missing while a later one is there.
    fn find_hole(&self, presences: &[Presence]) -> Result<(), String> {
        let Some(last) = presences
            .iter()
            .rposition(|presence| *presence == Presence::There)
        else {
            return Ok(());
        };
        let hole = (0..last).find(|position| {
            self.writes[*position].1 == Fate::Acknowledged && presences[*position] == Presence::Missing
        });
        let Some(hole) = hole else { return Ok(()) };
        let (missing, later) = (&self.writes[hole].0, &self.writes[last].0);
        Err(format!(
            "there is a hole: {missing} is missing, and the later {later} is there"
        ))
    }

    fn blame(&self, what: &str, presences: &[Presence]) -> String {
        let there = self
            .writes
            .iter()
            .zip(presences)
            .filter(|(_, presence)| **presence == Presence::There);
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
