//! The format of the opening record: which opening of the database this is, and how far earlier ones survived.
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
//! The header of each segment holds the id of the opening that made the segment. The record is flushed once the log is
//! repaired, and before the segment is made. So a crash leaves one of these:
//!
//! - The record and the last segment are of the opening before.
//! - The record is of this opening, the last segment of the one before, which is the first of `earlier`. The log ends at its
//!   `survived` at the latest. This opening appended nothing.
//! - Both are of this opening.
//!
//! In a new database there may be a record and no segment. Anything else is a mixture of two histories and is refused. The
//! record of the next opening leaves out an opening that made no segment, so that the same three cases hold after any number
//! of such crashes. No receipt carries the id of that opening.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::PathBuf;

use super::report::EarlierOpening;
use crate::Error;
use crate::codec::{Reader, Write};
use crate::wal::history::KnownOpenings;

const VERSION: u16 = 1;
/// How many earlier openings are remembered.
pub(crate) const EARLIER_OPENINGS_MAX: usize = 32;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpeningRecord {
    pub(crate) opening: u64,
    /// The latest first.
    pub(crate) earlier: Vec<EarlierOpening>,
}

impl OpeningRecord {
    /// The record of the first opening, see [`after`](Self::after) for its id.
    pub(crate) fn first(first: Option<u64>) -> Self {
        let earlier = Vec::new();
        let opening = first.unwrap_or_else(|| random_id(|_| false));
        Self { opening, earlier }
    }

    /// The record of the opening after this one, which found a log that goes up to `last_sequence` and whose last segment
    /// was made by `logged`; `None` without a segment. The log was read, so it is one that [`known`](Self::known) allows.
    ///
    /// `first` is the id of the first opening; each later id is higher by as much, by 1 at the least. Without `first`, ids
    /// are random.
    pub(crate) fn after(&self, logged: Option<u64>, last_sequence: u64, first: Option<u64>) -> Self {
        let is_used = |id| id == self.opening || self.earlier.iter().any(|earlier| earlier.opening == id);
        let opening = match first {
            Some(first) => {
                let mut id = self.opening.wrapping_add(first.max(1));
                while is_used(id) {
                    id = id.wrapping_add(1);
                }
                id
            }
            None => random_id(is_used),
        };
        // The openings that are no longer in the log's past made no segment.
        let mut earlier = Vec::new();
        if let Some(logged) = logged {
            earlier.push(EarlierOpening {
                opening: logged,
                survived_sequence: last_sequence,
            });
            let before = self.earlier.iter().filter(|before| before.opening != logged);
            earlier.extend(before.take(EARLIER_OPENINGS_MAX - 1));
        }
        Self { opening, earlier }
    }

    /// The openings that may have made the last segment of the log.
    pub(crate) fn known(&self) -> KnownOpenings {
        let before = self.earlier.first();
        KnownOpenings {
            last: self.opening,
            before: before.map(|before| (before.opening, before.survived_sequence)),
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

    /// Reads the bytes that [`encode`](Self::encode) made, from under `key`.
    ///
    /// # Errors
    /// `UnsupportedVersion`; `CorruptValue` for anything else.
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
        if !reader.is_empty() || record.earlier.len() > EARLIER_OPENINGS_MAX {
            return Err(corrupt("the opening record is too long"));
        }
        Ok(record)
    }
}

/// An id that is not used yet, from the randomness that the standard library gives its hash maps. The process id is part of
/// it, since a forked child begins with the same randomness as its parent.
fn random_id(is_used: impl Fn(u64) -> bool) -> u64 {
    loop {
        let id = RandomState::new().hash_one(std::process::id());
        if !is_used(id) {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn earlier(opening: u64, survived_sequence: u64) -> EarlierOpening {
        EarlierOpening {
            opening,
            survived_sequence,
        }
    }

    #[test]
    fn the_record_has_its_golden_bytes_and_every_cut_is_refused() {
        let record = OpeningRecord {
            opening: 0x0102,
            earlier: vec![earlier(3, 4)],
        };
        let bytes = record.encode();
        let mut golden = vec![1, 0, 2, 1, 0, 0, 0, 0, 0, 0, 1];
        golden.extend_from_slice(&[3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes, golden);
        assert_eq!(OpeningRecord::decode(&bytes, b"k").unwrap(), record);
        for len in 0..bytes.len() {
            assert!(
                OpeningRecord::decode(&bytes[..len], b"k").is_err(),
                "cut at {len}"
            );
        }
        assert!(OpeningRecord::decode(&[&bytes[..], &[0]].concat(), b"k").is_err());
        let newer = [&[2][..], &bytes[1..]].concat();
        let error = OpeningRecord::decode(&newer, b"k").unwrap_err();
        assert!(
            matches!(error, Error::UnsupportedVersion { found: 2, .. }),
            "{error}"
        );
        let too_many = OpeningRecord {
            opening: 1,
            earlier: vec![earlier(3, 4); EARLIER_OPENINGS_MAX + 1],
        };
        assert!(OpeningRecord::decode(&too_many.encode(), b"k").is_err());
    }

    #[test]
    fn ids_are_never_used_twice_and_as_many_as_the_record_holds_are_remembered() {
        for first in [None, Some(0), Some(1 << 63), Some(u64::MAX)] {
            let mut record = OpeningRecord::first(first);
            let mut seen = vec![record.opening];
            for sequence in 1..100 {
                record = record.after(Some(record.opening), sequence, first);
                assert!(!seen.contains(&record.opening), "{first:?}");
                seen.push(record.opening);
            }
            let remembered = record.earlier.iter().map(|earlier| earlier.opening);
            let expected = seen.iter().rev().skip(1).take(EARLIER_OPENINGS_MAX).copied();
            assert!(remembered.eq(expected));
            assert_eq!(record.earlier[0].survived_sequence, 99);
        }
    }

    #[test]
    fn an_opening_that_made_no_segment_is_left_out_and_its_id_is_not_used_again() {
        let first = OpeningRecord::first(Some(5));
        assert_eq!((first.opening, first.earlier.len()), (5, 0));
        let mut record = first.after(Some(5), 100, Some(5));
        for (dead, survived_sequence) in [(10, 100), (15, 90), (20, 80)] {
            assert_eq!(record.opening, dead);
            let known = record.known();
            assert!(known.allow(dead, u64::MAX) && known.allow(5, survived_sequence));
            assert!(!known.allow(5, survived_sequence + 1));
            assert!(dead == 10 || !known.allow(dead - 5, 0), "the one before died too");
            record = record.after(Some(5), survived_sequence - 10, Some(5));
        }
        assert_eq!(record.earlier, [earlier(5, 70)]);
        record = record.after(Some(25), 71, Some(5));
        assert_eq!(record.earlier, [earlier(25, 71), earlier(5, 70)]);
        // A new database whose first openings made no segment.
        let record = first.after(None, 0, Some(5)).after(None, 0, Some(5));
        assert_eq!((record.opening, record.earlier.len()), (15, 0));
    }

    #[test]
    fn two_copies_that_are_opened_with_different_values_get_different_ids() {
        let record = OpeningRecord::first(Some(1)).after(Some(1), 9, Some(1));
        let ids = [2, 3].map(|value| record.after(Some(2), 9, Some(value)).opening);
        assert_eq!(ids, [4, 5]);
    }
}
