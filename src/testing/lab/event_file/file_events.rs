//! The events of a file that is read without a schema: the names of the signals come from the file.
//!
//! The file is read once, so it may be a pipe.

use std::collections::BTreeMap;
use std::io::BufRead;

use super::{LineError, Lines, schema_for};
use crate::limits::{NAME_BYTES_MAX, SIGNALS_MAX};
use crate::testing::workload::Event;
use crate::{Schema, SignalId};

/// Milliseconds of an average year of the Gregorian calendar.
const YEAR_MS: i64 = 31_556_952_000;
/// The usual years of event times. Times in other years may be in another unit than milliseconds.
const LIKELY_YEARS: std::ops::Range<i64> = 1990..2100;

/// The events of a file up to the first refused line, and the names of their signals.
#[derive(Debug, Default)]
pub struct FileEvents {
    /// In the order of the file.
    pub events: Vec<Event>,
    /// The names of the signals, in the order of their first events.
    pub names: Vec<Vec<u8>>,
    /// The first refused line. The lines after it are not read.
    pub refused: Option<LineError>,
    /// True if `may_continue` stopped the reading.
    pub is_stopped: bool,
}

impl FileEvents {
    /// Reads events until a line is refused or `may_continue` returns false. Calls `may_continue` before each line with
    /// the number of events so far. Memory and time grow with the number of events.
    ///
    /// Refuses a line if the name of its signal is too long, or if the file has more names than a schema can have.
    pub fn read(reader: impl BufRead, mut may_continue: impl FnMut(usize) -> bool) -> Self {
        let mut lines = Lines::new(reader);
        let mut read = Self::default();
        let mut ids: BTreeMap<Vec<u8>, SignalId> = BTreeMap::new();
        loop {
            if !may_continue(read.events.len()) {
                read.is_stopped = true;
                return read;
            }
            let names = &mut read.names;
            let signal = |name: &[u8]| {
                if let Some(id) = ids.get(name) {
                    return Ok((*id, true));
                }
                if name.len() > NAME_BYTES_MAX {
                    let len = name.len();
                    return Err(format!(
                        "the name of the signal has {len} bytes; the limit is {NAME_BYTES_MAX}"
                    ));
                }
                if names.len() == SIGNALS_MAX {
                    let name = name.escape_ascii();
                    return Err(format!(
                        "the signal \"{name}\" is one too many: the limit is {SIGNALS_MAX} names"
                    ));
                }
                let id = SignalId(names.len() as u16);
                names.push(name.to_vec());
                ids.insert(name.to_vec(), id);
                Ok((id, true))
            };
            match lines.next_event(|fields| fields.event(signal)) {
                Some(Ok(event)) => read.events.push(event),
                Some(Err(error)) => {
                    read.refused = Some(error);
                    return read;
                }
                None => return read,
            }
        }
    }

    /// The schema of the signals.
    pub fn schema(&self) -> Schema {
        schema_for(&self.names)
    }

    /// A text with the years of the event times. If these years are unlikely, the text also names the unit of `at_ms`.
    pub fn years(&self) -> String {
        let times = self.events.iter().map(|event| event.at_ms);
        let (Some(first), Some(last)) = (times.clone().min(), times.max()) else {
            return "the file has no times".to_owned();
        };
        let year = |at_ms: i64| 1970 + at_ms.div_euclid(YEAR_MS);
        let (first, last) = (year(first), year(last));
        let mut text = if first == last {
            format!("their times lie in the year {first}")
        } else {
            format!("their times lie in the years {first} to {last}")
        };
        if !LIKELY_YEARS.contains(&first) || !LIKELY_YEARS.contains(&last) {
            text += ": at_ms counts milliseconds since 1970, not seconds, micro- or nanoseconds";
        }
        text
    }
}
