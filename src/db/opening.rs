//! The format of the opening record: which opening of the database this is, and how far earlier ones survived.
//!
//! Little-endian, under the storage key of tag 0x04, flushed by each opening before its first acknowledgement:
//!
//! | size | field | content |
//! |---|---|---|
//! | 2 | version | 1 |
//! | 8 | opening | the id of the last opening |
//! | 1 | earlier | how many earlier openings follow, at most 32, the latest first |
//! | per earlier: 8 | opening | its id |
//! | 8 | survived | the last sequence number that the opening after it found |
//!
//! It is written once the log is repaired and before the opening appends its first frame. A crash leaves the record of the
//! opening before, or the new one. Both are right: an opening that is not in the record appended nothing.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::PathBuf;

use super::report::EarlierOpening;
use crate::Error;
use crate::codec::{Reader, Write};

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
    /// The record of the opening after `before`, which found frames up to `last_sequence`.
    ///
    /// `first` is the id of the first opening; each later id is one higher. Without `first`, ids are random.
    pub(crate) fn next(before: Option<Self>, last_sequence: u64, first: Option<u64>) -> Self {
        let mut earlier = Vec::new();
        if let Some(before) = before {
            earlier.push(EarlierOpening {
                opening: before.opening,
                survived_sequence: last_sequence,
            });
            earlier.extend(before.earlier);
            earlier.truncate(EARLIER_OPENINGS_MAX);
        }
        let opening = match (first, earlier.first()) {
            (Some(_), Some(latest)) => latest.opening.wrapping_add(1),
            (Some(first), None) => first,
            (None, _) => random_id(&earlier),
        };
        Self { opening, earlier }
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

/// An id that none of `earlier` has, from the randomness that the standard library gives its hash maps. The process id is
/// part of it, since a forked child begins with the same randomness as its parent.
fn random_id(earlier: &[EarlierOpening]) -> u64 {
    loop {
        let id = RandomState::new().hash_one(std::process::id());
        if earlier.iter().all(|earlier| earlier.opening != id) {
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
        for first in [None, Some(0), Some(u64::MAX)] {
            let mut record = OpeningRecord::next(None, 0, first);
            let mut seen = vec![record.opening];
            for sequence in 1..100 {
                record = OpeningRecord::next(Some(record), sequence, first);
                assert!(!seen.contains(&record.opening), "{first:?}");
                seen.push(record.opening);
            }
            let remembered = record.earlier.iter().map(|earlier| earlier.opening);
            let expected = seen.iter().rev().skip(1).take(EARLIER_OPENINGS_MAX).copied();
            assert!(remembered.eq(expected));
            assert_eq!(record.earlier[0].survived_sequence, 99);
        }
    }
}
