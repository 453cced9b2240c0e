//! The schema: the signals of a database, with the half-lives and windows of each. It is persisted, and this file is
//! also its on-disk format.
//!
//! Encoded form, little-endian, the value of the storage key `schema`:
//!
//! | field | size | content |
//! |---|---|---|
//! | version | u16 | 1 |
//! | co-engagement | 5 x varint | ring length, degree, half-life in ms, users at most, nodes at most |
//! | signals | varint | the number of signals that follow |
//! | per signal: name | varint, bytes | length 1..=255, any bytes |
//! | flags | u8 | bit 0 positive, bit 1 negative weights are legal |
//! | half-lives | varint, each varint | milliseconds |
//! | rings | varint, each 2 x varint | bucket length in milliseconds, buckets |
//!
//! A crash leaves the old schema or the new one. The schema is written in one atomic, flushed batch before the first
//! event that could need it is accepted. New bounds of co-engagement are written in the batch of a checkpoint, together
//! with the state that was reduced to them.

mod co_engagement;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use crate::codec::{Reader, Write};
use crate::limits::{
    DURATION_MS_MAX, HALF_LIVES_MAX, NAME_BYTES_MAX, RING_BUCKETS_MAX, RINGS_MAX, SIGNALS_MAX,
};
use crate::{Error, SignalId};

pub use self::co_engagement::CoEngagementConfig;

const VERSION: u16 = 1;
const FLAG_POSITIVE: u8 = 1;
const FLAG_NEGATIVE_WEIGHTS: u8 = 2;
const HOUR_MS: u64 = 3_600_000;

/// A window ring: counts of events in buckets of `bucket_ms` milliseconds. A window covers up to `buckets` of them.
///
/// The ring stores one bucket more, so a full window stays complete after an event of the next bucket. Each stored
/// bucket takes 4 bytes for each state: each pair of entity and signal, and each triple with a cohort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ring {
    /// The length of a bucket in milliseconds, 1 to [`DURATION_MS_MAX`].
    pub bucket_ms: u64,
    /// The most buckets of a window, 1 to [`RING_BUCKETS_MAX`]; the ring stores one more.
    pub buckets: u32,
}

/// The window rings of a new signal without set rings.
const RINGS_DEFAULT: [Ring; 2] = [
    Ring {
        bucket_ms: HOUR_MS,
        buckets: 24,
    },
    Ring {
        bucket_ms: 24 * HOUR_MS,
        buckets: 7,
    },
];

/// The declaration of a signal.
///
/// # Examples
/// ```
/// use tidaldb::Signal;
/// let like = Signal::new("like").half_life_ms(3_600_000).half_life_ms(86_400_000).positive();
/// # let _ = like;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    name: Vec<u8>,
    half_lives_ms: Vec<u64>,
    /// `None` if they are not set.
    rings: Option<Vec<Ring>>,
    positive: bool,
    negative_weights: bool,
}

impl Signal {
    /// A signal of this name, without a half-life yet. If [`rings`](Self::rings) sets no window rings, a signal of an
    /// existing database has its stored rings, and a new signal gets 24 buckets of an hour and 7 of a day.
    ///
    /// Any 1 to 255 bytes are a legal name.
    pub fn new(name: impl AsRef<[u8]>) -> Self {
        Self {
            name: name.as_ref().to_vec(),
            half_lives_ms: Vec::new(),
            rings: None,
            positive: false,
            negative_weights: false,
        }
    }

    /// Adds a half-life, in milliseconds. A signal needs at least one.
    #[must_use]
    pub fn half_life_ms(mut self, half_life_ms: u64) -> Self {
        self.half_lives_ms.push(half_life_ms);
        self
    }

    /// Sets the window rings. With an empty list the signal has no windows.
    #[must_use]
    pub fn rings(mut self, rings: impl Into<Vec<Ring>>) -> Self {
        self.rings = Some(rings.into());
        self
    }

    /// Marks the signal as positive: its events with a user feed co-engagement.
    #[must_use]
    pub fn positive(mut self) -> Self {
        self.positive = true;
        self
    }

    /// Makes negative weights legal.
    #[must_use]
    pub fn allow_negative_weights(mut self) -> Self {
        self.negative_weights = true;
        self
    }

    /// The name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The half-lives, in milliseconds, in the order in which scores are numbered.
    pub fn half_lives_ms(&self) -> &[u64] {
        &self.half_lives_ms
    }

    /// The window rings, in the order in which they are numbered; the default if none are set.
    pub fn window_rings(&self) -> &[Ring] {
        self.rings.as_deref().unwrap_or(&RINGS_DEFAULT)
    }

    /// Returns true if its events with a user feed co-engagement.
    pub fn is_positive(&self) -> bool {
        self.positive
    }

    /// Returns true if negative weights are legal.
    pub fn allows_negative_weights(&self) -> bool {
        self.negative_weights
    }

    fn validate(&self) -> Result<(), Error> {
        check_name("signal name", &self.name)?;
        if self.half_lives_ms.is_empty() {
            return Err(Error::invalid(
                "half_lives_ms",
                "empty",
                "a signal needs at least one half-life",
            ));
        }
        check_count("half-lives of a signal", self.half_lives_ms.len(), HALF_LIVES_MAX)?;
        check_count("window rings of a signal", self.window_rings().len(), RINGS_MAX)?;
        for &half_life_ms in &self.half_lives_ms {
            check_duration("half_life_ms", half_life_ms)?;
        }
        for ring in self.window_rings() {
            check_duration("bucket_ms", ring.bucket_ms)?;
            if ring.buckets == 0 {
                return Err(Error::invalid("buckets", 0, "a ring needs at least one bucket"));
            }
            check_count("buckets of a ring", ring.buckets as usize, RING_BUCKETS_MAX)?;
        }
        Ok(())
    }
}

/// The signals of a database, in the order of their ids, and the configuration of co-engagement.
///
/// The schema at open may have more signals than the stored schema, at its end, and other bounds of co-engagement.
/// Lower bounds remove state: see [`CoEngagementConfig`]. Any other difference is refused.
///
/// The window rings of a signal and the configuration of co-engagement may stay unset. An unset field takes the stored
/// value, or the default in a new database, so a later release with other defaults opens every database unchanged. A
/// schema with an unset field is not equal to one with the default. The result of
/// [`TidalDb::schema`](crate::TidalDb::schema) has no unset field.
///
/// # Examples
/// ```
/// use tidaldb::{Schema, Signal};
/// let schema = Schema::new()
///     .signal(Signal::new("view").half_life_ms(3_600_000))
///     .signal(Signal::new("like").half_life_ms(86_400_000).positive());
/// assert!(schema.signal_id("like").is_ok());
/// assert!(schema.signal_id("lik").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schema {
    signals: Vec<Signal>,
    /// `None` if it is not set.
    co_engagement: Option<CoEngagementConfig>,
}

impl Schema {
    /// A schema without signals and with an unset configuration of co-engagement.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a signal.
    #[must_use]
    pub fn signal(mut self, signal: Signal) -> Self {
        self.signals.push(signal);
        self
    }

    /// Sets the configuration of co-engagement. All of its fields count as set, also those that the caller took from
    /// [`CoEngagementConfig::default`], whose values never change.
    #[must_use]
    pub fn co_engagement(mut self, config: CoEngagementConfig) -> Self {
        self.co_engagement = Some(config);
        self
    }

    /// The signals, in the order of their ids.
    pub fn signals(&self) -> &[Signal] {
        &self.signals
    }

    /// The configuration of co-engagement; the default if none is set.
    pub fn co_engagement_config(&self) -> &CoEngagementConfig {
        self.co_engagement
            .as_ref()
            .unwrap_or(&CoEngagementConfig::DEFAULT)
    }

    /// The id of the signal of this name.
    ///
    /// # Errors
    /// [`Error::UnknownSignal`] if the schema has no such signal.
    pub fn signal_id(&self, name: impl AsRef<[u8]>) -> Result<SignalId, Error> {
        let name = name.as_ref();
        match self.signals.iter().position(|signal| signal.name == name) {
            Some(index) => Ok(SignalId(index as u16)),
            None => Err(Error::UnknownSignal {
                signal: String::from_utf8_lossy(name).into_owned(),
            }),
        }
    }

    /// The signal of this id, if it exists.
    pub fn get(&self, id: SignalId) -> Option<&Signal> {
        self.signals.get(usize::from(id.0))
    }

    /// Checks every limit, and that no two signals share a name.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        check_count("signals of a schema", self.signals.len(), SIGNALS_MAX)?;
        self.co_engagement_config().validate()?;
        for (index, signal) in self.signals.iter().enumerate() {
            signal.validate()?;
            if self.signals[..index]
                .iter()
                .any(|earlier| earlier.name == signal.name)
            {
                let name = String::from_utf8_lossy(&signal.name).into_owned();
                return Err(Error::invalid("signal name", name, "two signals share it"));
            }
        }
        Ok(())
    }

    /// Fills each unset field from `persisted`, or with the default if `persisted` lacks the field.
    pub(crate) fn resolved(&self, persisted: Option<&Self>) -> Self {
        let mut schema = self.clone();
        for (index, signal) in schema.signals.iter_mut().enumerate() {
            let old = persisted.and_then(|persisted| persisted.signals.get(index));
            let rings = old.map_or(&RINGS_DEFAULT[..], Signal::window_rings);
            signal.rings.get_or_insert_with(|| rings.to_vec());
        }
        let config = persisted.map_or(CoEngagementConfig::DEFAULT, |old| *old.co_engagement_config());
        schema.co_engagement.get_or_insert(config);
        schema
    }

    /// Checks that `self`, the schema at open, differs from `persisted` only by appended signals and by bounds of
    /// co-engagement. An unset field never differs.
    ///
    /// # Errors
    /// `SchemaMismatch` names the difference.
    pub(crate) fn check_extends(&self, persisted: &Self) -> Result<(), Error> {
        let differs = |signal: &Signal, what| {
            Err(Error::SchemaMismatch {
                signal: String::from_utf8_lossy(&signal.name).into_owned(),
                what,
            })
        };
        for (index, old) in persisted.signals.iter().enumerate() {
            let Some(new) = self.signals.get(index) else {
                return differs(old, "it is missing");
            };
            if new.name != old.name {
                return differs(old, "another signal has its position");
            }
            if new.half_lives_ms != old.half_lives_ms {
                return differs(old, "it has other half-lives");
            }
            if new
                .rings
                .as_deref()
                .is_some_and(|rings| rings != old.window_rings())
            {
                return differs(old, "it has other window rings");
            }
            if new.positive != old.positive {
                return differs(old, "only one of the two is positive");
            }
            if new.negative_weights != old.negative_weights {
                return differs(old, "only one of the two allows negative weights");
            }
        }
        let half_life_ms = persisted.co_engagement_config().half_life_ms;
        if self
            .co_engagement
            .is_some_and(|config| config.half_life_ms != half_life_ms)
        {
            return Err(Error::SchemaMismatch {
                signal: "(co-engagement)".to_owned(),
                what: "it has another half-life",
            });
        }
        Ok(())
    }

    /// The value to persist; unset fields are persisted as the default.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_u16(VERSION);
        let config = self.co_engagement_config();
        bytes.put_varint(u64::from(config.ring_len_max));
        bytes.put_varint(u64::from(config.degree_max));
        bytes.put_varint(config.half_life_ms);
        bytes.put_varint(config.users_max);
        bytes.put_varint(config.nodes_max);
        bytes.put_varint(self.signals.len() as u64);
        for signal in &self.signals {
            bytes.put_varint(signal.name.len() as u64);
            bytes.extend_from_slice(&signal.name);
            let positive = if signal.positive { FLAG_POSITIVE } else { 0 };
            let negative = if signal.negative_weights {
                FLAG_NEGATIVE_WEIGHTS
            } else {
                0
            };
            bytes.put_u8(positive | negative);
            bytes.put_varint(signal.half_lives_ms.len() as u64);
            for &half_life_ms in &signal.half_lives_ms {
                bytes.put_varint(half_life_ms);
            }
            let rings = signal.window_rings();
            bytes.put_varint(rings.len() as u64);
            for ring in rings {
                bytes.put_varint(ring.bucket_ms);
                bytes.put_varint(u64::from(ring.buckets));
            }
        }
        bytes
    }

    /// Decodes the bytes of [`encode`](Self::encode), the value of the storage key `key`.
    ///
    /// # Errors
    /// `UnsupportedVersion`; `CorruptValue` names the damage.
    pub(crate) fn decode(bytes: &[u8], key: &[u8]) -> Result<Self, Error> {
        let corrupt = |what| Error::CorruptValue {
            key: key.to_vec(),
            what,
        };
        let short = || corrupt("the schema ends too early");
        let mut reader = Reader::new(bytes);
        let found = reader.u16().ok_or_else(short)?;
        if found != VERSION {
            return Err(Error::UnsupportedVersion {
                path: PathBuf::from("the schema record in storage"),
                found: found.into(),
                supported: VERSION.into(),
            });
        }
        let schema = Self::read(&mut reader).map_err(corrupt)?.ok_or_else(short)?;
        if !reader.is_empty() {
            return Err(corrupt("bytes follow the schema"));
        }
        schema
            .validate()
            .map_err(|_| corrupt("the schema is outside its limits"))?;
        Ok(schema)
    }

    /// Reads the bytes after the version. Returns `Ok(None)` if the bytes end too early. Checks each count before it
    /// allocates memory for it.
    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, &'static str> {
        let Some(co_engagement) = read_co_engagement(reader) else {
            return Ok(None);
        };
        let Some(signals_len) = reader.varint() else {
            return Ok(None);
        };
        if signals_len > SIGNALS_MAX as u64 {
            return Err("the schema has too many signals");
        }
        let mut signals = Vec::new();
        for _ in 0..signals_len {
            match read_signal(reader)? {
                Some(signal) => signals.push(signal),
                None => return Ok(None),
            }
        }
        Ok(Some(Self {
            signals,
            co_engagement: Some(co_engagement),
        }))
    }
}

fn read_co_engagement(reader: &mut Reader<'_>) -> Option<CoEngagementConfig> {
    Some(CoEngagementConfig {
        ring_len_max: u32::try_from(reader.varint()?).ok()?,
        degree_max: u32::try_from(reader.varint()?).ok()?,
        half_life_ms: reader.varint()?,
        users_max: reader.varint()?,
        nodes_max: reader.varint()?,
    })
}

fn read_signal(reader: &mut Reader<'_>) -> Result<Option<Signal>, &'static str> {
    let Some(name) = reader
        .varint()
        .and_then(|len| reader.bytes(usize::try_from(len).ok()?))
    else {
        return Ok(None);
    };
    let Some(flags) = reader.u8() else { return Ok(None) };
    if flags & !(FLAG_POSITIVE | FLAG_NEGATIVE_WEIGHTS) != 0 {
        return Err("a signal has unknown flags");
    }
    let Some(half_lives_len) = reader.varint() else {
        return Ok(None);
    };
    if half_lives_len > HALF_LIVES_MAX as u64 {
        return Err("a signal has too many half-lives");
    }
    let Some(half_lives_ms) = (0..half_lives_len)
        .map(|_| reader.varint())
        .collect::<Option<Vec<u64>>>()
    else {
        return Ok(None);
    };
    let Some(rings_len) = reader.varint() else {
        return Ok(None);
    };
    if rings_len > RINGS_MAX as u64 {
        return Err("a signal has too many rings");
    }
    let ring = |reader: &mut Reader<'_>| {
        Some(Ring {
            bucket_ms: reader.varint()?,
            buckets: u32::try_from(reader.varint()?).ok()?,
        })
    };
    let Some(rings) = (0..rings_len)
        .map(|_| ring(reader))
        .collect::<Option<Vec<Ring>>>()
    else {
        return Ok(None);
    };
    Ok(Some(Signal {
        name: name.to_vec(),
        half_lives_ms,
        rings: Some(rings),
        positive: flags & FLAG_POSITIVE != 0,
        negative_weights: flags & FLAG_NEGATIVE_WEIGHTS != 0,
    }))
}

/// Checks the name of a signal or collection: 1 to 255 bytes of any value.
pub(crate) fn check_name(field: &'static str, name: &[u8]) -> Result<(), Error> {
    if name.is_empty() {
        return Err(Error::invalid(
            field,
            "empty",
            "a name must have at least one byte",
        ));
    }
    check_count(field, name.len(), NAME_BYTES_MAX)
}

fn check_count(what: &'static str, found: usize, limit: usize) -> Result<(), Error> {
    if found > limit {
        return Err(Error::LimitExceeded {
            what,
            limit: limit as u64,
            found: found as u64,
        });
    }
    Ok(())
}

fn check_duration(field: &'static str, ms: u64) -> Result<(), Error> {
    match ms {
        0 => Err(Error::invalid(
            field,
            0,
            "a duration must be at least one millisecond",
        )),
        1..=DURATION_MS_MAX => Ok(()),
        _ => Err(Error::LimitExceeded {
            what: field,
            limit: DURATION_MS_MAX,
            found: ms,
        }),
    }
}
