//! The format of the opening record: the last opening of the database, and the last call of each earlier opening that
//! survived.
//!
//! Little-endian, under the storage key of tag 0x04, flushed by each opening before it makes its first segment:
//!
//! | size | field | content |
//! |---|---|---|
//! | 2 | version | 1 |
//! | 8 | opening | the id of the last opening |
//! | 1 | earlier | how many earlier openings follow, at most 32, the latest first |
//! | per earlier: 8 | opening | its id |
//! | 8 | survived | the last sequence number that the opening after it found |
//!
//! The header of each segment holds the id of the opening that made it. An opening flushes its record once the log is
//! repaired, and then makes its segment. So any crash leaves one of these states:
//!
//! 1. A new database has a record and no segment.
//! 2. The record and the last segment are of the same opening.
//! 3. The record is of a later opening, which made no segment and appended nothing. The last segment is of the first
//!    opening in `earlier`, and the log ends no later than its `survived`.
//!
//! Any other combination mixes two histories and is refused. The next record leaves out an opening that made no
//! segment, so the states are the same after any number of crashes. No receipt has the id of such an opening.

use std::path::PathBuf;

use super::report::EarlierOpening;
use crate::Error;
use crate::codec::{Reader, Write};
use crate::ids::random_u64;
use crate::limits::EARLIER_OPENINGS_LEN_MAX;
use crate::wal::history::{PreviousOpening, StoredOpenings};

pub(super) const VERSION: u16 = 1;

/// The record: see the [module](self).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpeningRecord {
    pub(crate) opening: u64,
    /// The latest first.
    pub(crate) earlier: Vec<EarlierOpening>,
}

impl OpeningRecord {
    /// The record of the first opening. Its id is `step`, or random without a step.
    pub(crate) fn first(step: Option<u64>) -> Self {
        Self {
            opening: step.unwrap_or_else(random_u64),
            earlier: Vec::new(),
        }
    }

    /// The record of the next opening. It found a log whose last sequence number is `last_sequence` and whose last
    /// segment was made by the opening `logged`; `None` for a log without a segment. Expects that
    /// [`stored_openings`](Self::stored_openings) allows this log. The record holds at most `earlier_len_max` earlier
    /// openings.
    ///
    /// The id of the next opening is higher by `step`, by 1 if `step` is 0, and by more if the record has that id.
    /// Without a step it is random.
    pub(crate) fn after(
        &self,
        logged: Option<u64>,
        last_sequence: u64,
        step: Option<u64>,
        earlier_len_max: usize,
    ) -> Self {
        let is_used = |id| id == self.opening || self.earlier.iter().any(|earlier| earlier.opening == id);
        let mut opening = step.map_or_else(random_u64, |step| self.opening.wrapping_add(step.max(1)));
        while is_used(opening) {
            opening = step.map_or_else(random_u64, |_| opening.wrapping_add(1));
        }
        // If `logged` is not `self.opening`, the opening `self.opening` made no segment. It is left out.
        let mut earlier = Vec::new();
        if let Some(logged) = logged {
            earlier.push(EarlierOpening {
                opening: logged,
                survived_sequence: last_sequence,
            });
            let before = self.earlier.iter().filter(|before| before.opening != logged);
            earlier.extend(before.take(earlier_len_max - 1));
        }
        Self { opening, earlier }
    }

    /// The openings that may have made the last segment of the log.
    pub(crate) fn stored_openings(&self) -> StoredOpenings {
        let before = self.earlier.first().map(|before| PreviousOpening {
            opening: before.opening,
            last_sequence: before.survived_sequence,
        });
        StoredOpenings {
            last: self.opening,
            before,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_u16(VERSION);
        bytes.put_u64(self.opening);
        bytes.put_u8(self.earlier.len() as u8);
        for earlier in &self.earlier {
            bytes.put_u64(earlier.opening);
            bytes.put_u64(earlier.survived_sequence);
        }
        bytes
    }

    /// Decodes the bytes that [`encode`](Self::encode) made. `key` is their storage key, for errors.
    ///
    /// # Errors
    /// `UnsupportedVersion` for another version; `CorruptValue` for other damage.
    pub(crate) fn decode(bytes: &[u8], key: &[u8]) -> Result<Self, Error> {
        let corrupt = |what| Error::CorruptValue {
            key: key.to_vec(),
            what,
        };
        let short = || corrupt("the opening record ends too early");
        let mut reader = Reader::new(bytes);
        let found = reader.u16().ok_or_else(short)?;
        if found != VERSION {
            return Err(Error::UnsupportedVersion {
                path: PathBuf::from("the opening record in storage"),
                found: found.into(),
                supported: VERSION.into(),
            });
        }
        let mut read = || {
            let opening = reader.u64()?;
            let earlier_len = reader.u8()?;
            let earlier = (0..earlier_len).map(|_| {
                Some(EarlierOpening {
                    opening: reader.u64()?,
                    survived_sequence: reader.u64()?,
                })
            });
            let earlier = earlier.collect::<Option<Vec<_>>>()?;
            Some(Self { opening, earlier })
        };
        let record = read().ok_or_else(short)?;
        if !reader.is_empty() || record.earlier.len() > EARLIER_OPENINGS_LEN_MAX {
            return Err(corrupt("the opening record is too long"));
        }
        Ok(record)
    }
}
