//! The events of a file, without a schema: the file declares the signals. It is read once, so it may be a pipe.

use std::collections::BTreeMap;
use std::io::BufRead;

use super::{LineError, Lines, schema_for};
use crate::limits::{NAME_BYTES_MAX, SIGNALS_MAX};
use crate::testing::workload::Event;
use crate::{Schema, SignalId};

/// Milliseconds of a year of the Gregorian calendar, on average.
const YEAR_MS: i64 = 31_556_952_000;
/// Years in which event times usually lie. Times in other years may be in another unit than milliseconds.
const LIKELY_YEARS: std::ops::Range<i64> = 1990..2100;

/// The events of a file, up to the first line that is no event.
#[derive(Debug, Default)]
pub struct OwnEvents {
    /// In the order of the file.
    pub events: Vec<Event>,
    /// The names of the signals, in the order of their first events.
    pub names: Vec<Vec<u8>>,
    /// The first line that is no event. The lines after it are not read.
    pub refused: Option<LineError>,
    /// True if `goes_on` ended the reading.
    pub is_cut: bool,
}

impl OwnEvents {
    /// Reads events until a line is no event or `goes_on` returns false. It calls `goes_on` before each line with the number of
    /// events so far. Memory and time grow with the number of events. A line is refused if its signal's name is too long, or if
    /// the name is new and there are as many names as a schema can have.
    pub fn read(reader: impl BufRead, mut goes_on: impl FnMut(usize) -> bool) -> Self {
        let mut lines = Lines::new(reader);
        let mut read = Self::default();
        let mut ids: BTreeMap<Vec<u8>, SignalId> = BTreeMap::new();
        loop {
            if !goes_on(read.events.len()) {
                read.is_cut = true;
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
                        "the name of the signal has {len} bytes; at most {NAME_BYTES_MAX} are possible"
                    ));
                }
                if names.len() == SIGNALS_MAX {
                    let name = name.escape_ascii();
                    return Err(format!(
                        "the signal \"{name}\" is one too many: at most {SIGNALS_MAX} names are possible"
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

    /// A text with the years in which the times lie. If these years are unlikely, the text says that `at_ms` is in milliseconds.
    pub fn years(&self) -> String {
        let times = self.events.iter().map(|event| event.at_ms);
        let (Some(first), Some(last)) = (times.clone().min(), times.max()) else {
            return "there are no times".to_owned();
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
