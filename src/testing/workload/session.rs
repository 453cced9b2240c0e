//! Sessions. A workload may end a session and open the database again, with changes for the next session.
//!
//! The token of a reopening is `reopen:END`, followed by `/CHANGE` for each change:
//!
//! | part | text |
//! |---|---|
//! | end | `close`, `drop`, `kill`, `power-loss=IMAGE` |
//! | clock | `clock=NOW_MS` |
//! | one more signal | `signal` |
//! | bounds of co-engagement | `co-engagement=RING_LEN.DEGREE.USERS.NODES`, each a largest number |
//! | sizes | `sizes=SEGMENT.PREALLOCATE.STORE_SEGMENT.CHECKPOINT_LOG.CHECKPOINT_STATE`, in bytes |
//! | policy | `durability=POLICY` |

use std::cell::Cell;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;

use super::Operation;
use super::clock::{STANDARD_NOW_MS, WorkloadClock};
use crate::testing::sim_disk::ImageChoice;
use crate::{CoEngagementConfig, Durability, Options, Ring, Schema, Signal};

/// The end of a session, and the changes for the next one.
#[derive(Debug, Clone, PartialEq)]
pub struct Reopening {
    /// The end of the session.
    pub end: SessionEnd,
    /// The changes, in their order.
    pub changes: Vec<SessionChange>,
}

/// The end of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEnd {
    /// The database is closed.
    Close,
    /// The handle is dropped.
    Drop,
    /// The process is killed. On real files the handle is dropped instead, which also writes nothing.
    Kill,
    /// The power is lost, and the disk then has this image. Only a simulated disk can do this.
    PowerLoss(ImageChoice),
}

/// A change between two sessions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionChange {
    /// The [`WorkloadClock`] has this time at the opening.
    Clock {
        /// The time, in milliseconds since the Unix epoch.
        now_ms: i64,
    },
    /// The schema has [one more signal](Self::appended_signal).
    AppendSignal,
    /// Co-engagement has these bounds. Its half-life stays the same.
    CoEngagement {
        /// The largest number of items in a user's ring.
        ring_len_max: u32,
        /// The largest number of edges of an item.
        degree_max: u32,
        /// The largest number of users with a ring.
        users_max: u64,
        /// The largest number of items with edges.
        nodes_max: u64,
    },
    /// The options have these sizes, in bytes.
    Sizes {
        /// [`Options::segment_bytes_max`].
        segment_bytes_max: u64,
        /// [`Options::preallocate_bytes`].
        preallocate_bytes: u64,
        /// [`Options::store_segment_bytes_max`].
        store_segment_bytes_max: u64,
        /// [`Options::checkpoint_log_bytes`].
        checkpoint_log_bytes: u64,
        /// [`Options::checkpoint_state_bytes`].
        checkpoint_state_bytes: u64,
    },
    /// The options have this durability policy.
    Durability(Durability),
}

impl Reopening {
    /// A reopening without changes.
    pub fn after(end: SessionEnd) -> Self {
        Self {
            end,
            changes: Vec::new(),
        }
    }

    /// The schema of the next session, from the schema of this session.
    pub(crate) fn changed_schema(&self, schema: Schema) -> Schema {
        self.changes
            .iter()
            .fold(schema, |schema, change| change.changed_schema(schema))
    }

    /// Returns true if the next session has a changed schema.
    pub(crate) fn changes_schema(&self) -> bool {
        let mut changes = self.changes.iter();
        changes.any(|change| {
            matches!(
                change,
                SessionChange::AppendSignal | SessionChange::CoEngagement { .. }
            )
        })
    }
}

impl From<Reopening> for Operation {
    fn from(reopening: Reopening) -> Self {
        Self::Reopen(reopening)
    }
}

impl SessionChange {
    /// The signal that is appended to a schema of `signals_len` signals.
    pub fn appended_signal(signals_len: usize) -> Signal {
        let ring = |bucket_ms, buckets| Ring { bucket_ms, buckets };
        Signal::new(format!("appended {signals_len}"))
            .half_life_ms(20_000)
            .half_life_ms(3_600_000)
            .rings([ring(500, 3), ring(3_600_000, 2)])
            .positive()
    }

    /// The schema after this change.
    fn changed_schema(&self, schema: Schema) -> Schema {
        match *self {
            Self::AppendSignal => {
                let signal = Self::appended_signal(schema.signals().len());
                schema.signal(signal)
            }
            Self::CoEngagement {
                ring_len_max,
                degree_max,
                users_max,
                nodes_max,
            } => {
                let config = CoEngagementConfig {
                    ring_len_max,
                    degree_max,
                    users_max,
                    nodes_max,
                    ..*schema.co_engagement_config()
                };
                schema.co_engagement(config)
            }
            Self::Clock { .. } | Self::Sizes { .. } | Self::Durability(_) => schema,
        }
    }

    /// The options after this change.
    fn changed_options(&self, options: Options) -> Options {
        match *self {
            Self::Sizes {
                segment_bytes_max,
                preallocate_bytes,
                store_segment_bytes_max,
                checkpoint_log_bytes,
                checkpoint_state_bytes,
            } => options
                .segment_bytes_max(segment_bytes_max)
                .preallocate_bytes(preallocate_bytes)
                .store_segment_bytes_max(store_segment_bytes_max)
                .checkpoint_log_bytes(checkpoint_log_bytes)
                .checkpoint_state_bytes(checkpoint_state_bytes),
            Self::Durability(durability) => options.durability(durability),
            Self::AppendSignal | Self::CoEngagement { .. } | Self::Clock { .. } => {
                let schema = self.changed_schema(options.schema.clone());
                Options { schema, ..options }
            }
        }
    }
}

thread_local! {
    static SESSION_NUMBER: Cell<u32> = const { Cell::new(0) };
}

/// The number of the session that the kit last opened on the calling thread, or opens now. The session that creates the
/// database has number 1. 0 means that the thread has opened no session. A recovery is the session after the crashed
/// session.
///
/// The kit calls a closure of [`CrashSweep::files`](crate::testing::CrashSweep::files),
/// [`storage`](crate::testing::CrashSweep::storage) or [`options`](crate::testing::CrashSweep::options) for each
/// session, on the thread that opens the database. A wrapper of files or of a store may call this function when it is
/// created, and in each call from the opening thread.
pub fn session() -> u32 {
    SESSION_NUMBER.get()
}

/// Sets the number of the session of the calling thread.
pub(crate) fn enter_session(number: u32) {
    SESSION_NUMBER.set(number);
}

/// Runs `body` in the session with this number, then restores the number of the session before.
pub(crate) fn in_session<T>(number: u32, body: impl FnOnce() -> T) -> T {
    let before = SESSION_NUMBER.replace(number);
    let result = body();
    SESSION_NUMBER.set(before);
    result
}

/// A session of a run: its number, and the changes between the first opening and its opening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// 1 for the session that creates the database. A recovery is the session after the crashed session.
    pub(crate) number: u32,
    /// The time of the [`WorkloadClock`] at the opening, in milliseconds since the Unix epoch.
    pub(crate) now_ms: i64,
    /// All changes so far, without the changes of the clock.
    changes: Vec<SessionChange>,
    /// A hash of the number and the changes.
    pub(crate) key: u64,
}

impl Session {
    /// The session that creates the database.
    pub(crate) fn first() -> Self {
        Self::new(1, STANDARD_NOW_MS, Vec::new())
    }

    fn new(number: u32, now_ms: i64, changes: Vec<SessionChange>) -> Self {
        let mut hasher = DefaultHasher::new();
        (number, &changes).hash(&mut hasher);
        Self {
            number,
            now_ms,
            changes,
            key: hasher.finish(),
        }
    }

    /// The session after this one with these changes. The clock continues unless a change sets it.
    pub(crate) fn next(&self, changes: &[SessionChange]) -> Self {
        let (mut now_ms, mut all) = (WorkloadClock::time_ms(), self.changes.clone());
        for change in changes {
            match change {
                SessionChange::Clock { now_ms: changed } => now_ms = *changed,
                change => all.push(change.clone()),
            }
        }
        Self::new(self.number + 1, now_ms, all)
    }

    /// The session that recovers after a crash of this session.
    pub(crate) fn recovery(&self) -> Self {
        Self::new(self.number + 1, self.now_ms, self.changes.clone())
    }

    /// The same session, opened at another time.
    pub(crate) fn at(&self, now_ms: i64) -> Self {
        Self {
            now_ms,
            ..self.clone()
        }
    }

    /// The options of its opening, from the options of the first opening.
    pub(crate) fn options(&self, first: Options) -> Options {
        self.changes
            .iter()
            .fold(first, |options, change| change.changed_options(options))
    }

    /// The size in bytes at which a segment of the log is full, if a change sets it.
    pub(crate) fn segment_bytes_max(&self) -> Option<u64> {
        let mut changes = self.changes.iter().rev();
        changes.find_map(|change| match change {
            SessionChange::Sizes {
                segment_bytes_max, ..
            } => Some(*segment_bytes_max),
            _ => None,
        })
    }

    /// The durability policy, if a change sets it.
    pub(crate) fn durability(&self) -> Option<Durability> {
        let mut changes = self.changes.iter().rev();
        changes.find_map(|change| match change {
            SessionChange::Durability(durability) => Some(*durability),
            _ => None,
        })
    }
}

impl fmt::Display for SessionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Close => f.write_str("close"),
            Self::Drop => f.write_str("drop"),
            Self::Kill => f.write_str("kill"),
            Self::PowerLoss(image) => write!(f, "power-loss={image}"),
        }
    }
}

impl fmt::Display for SessionChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clock { now_ms } => write!(f, "clock={now_ms}"),
            Self::AppendSignal => f.write_str("signal"),
            Self::CoEngagement {
                ring_len_max,
                degree_max,
                users_max,
                nodes_max,
            } => write!(
                f,
                "co-engagement={ring_len_max}.{degree_max}.{users_max}.{nodes_max}"
            ),
            Self::Sizes {
                segment_bytes_max,
                preallocate_bytes,
                store_segment_bytes_max,
                checkpoint_log_bytes,
                checkpoint_state_bytes,
            } => write!(
                f,
                "sizes={segment_bytes_max}.{preallocate_bytes}.{store_segment_bytes_max}.{checkpoint_log_bytes}.\
                 {checkpoint_state_bytes}"
            ),
            Self::Durability(durability) => write!(f, "durability={}", PolicyText(*durability)),
        }
    }
}

impl fmt::Display for Reopening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reopen:{}", self.end)?;
        self.changes.iter().try_for_each(|change| write!(f, "/{change}"))
    }
}

/// Parses the reopening whose token is `reopen:` followed by `text`.
pub(super) fn parse_reopening(text: &str) -> Result<Reopening, &'static str> {
    let mut parts = text.split('/');
    let end = parts.next().unwrap_or_default();
    let end = match (end, end.strip_prefix("power-loss=")) {
        ("close", _) => SessionEnd::Close,
        ("drop", _) => SessionEnd::Drop,
        ("kill", _) => SessionEnd::Kill,
        (_, Some(image)) => SessionEnd::PowerLoss(image.parse().map_err(|_| "the image is unknown")?),
        _ => return Err("a session ends by close, drop, kill or power-loss=IMAGE"),
    };
    let changes = parts.map(parse_change).collect::<Result<_, _>>()?;
    Ok(Reopening { end, changes })
}

fn parse_change(text: &str) -> Result<SessionChange, &'static str> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    match key {
        "clock" => Ok(SessionChange::Clock {
            now_ms: value.parse().map_err(|_| "a time is a whole number")?,
        }),
        "signal" if value.is_empty() => Ok(SessionChange::AppendSignal),
        "co-engagement" => {
            let [ring_len_max, degree_max, users_max, nodes_max] = numbers(value)?;
            let small = |number: u64| u32::try_from(number).map_err(|_| "a bound is too large");
            Ok(SessionChange::CoEngagement {
                ring_len_max: small(ring_len_max)?,
                degree_max: small(degree_max)?,
                users_max,
                nodes_max,
            })
        }
        "sizes" => {
            let [
                segment_bytes_max,
                preallocate_bytes,
                store_segment_bytes_max,
                checkpoint_log_bytes,
                checkpoint_state_bytes,
            ] = numbers(value)?;
            Ok(SessionChange::Sizes {
                segment_bytes_max,
                preallocate_bytes,
                store_segment_bytes_max,
                checkpoint_log_bytes,
                checkpoint_state_bytes,
            })
        }
        "durability" => {
            let PolicyText(durability) = value.parse()?;
            Ok(SessionChange::Durability(durability))
        }
        _ => Err("a change is clock, signal, co-engagement, sizes or durability"),
    }
}

fn numbers<const LEN: usize>(text: &str) -> Result<[u64; LEN], &'static str> {
    let numbers: Option<Vec<u64>> = text.split('.').map(|number| number.parse().ok()).collect();
    let numbers = numbers.and_then(|numbers| numbers.try_into().ok());
    numbers.ok_or("the number of values is wrong, or a value is no number; values are joined by '.'")
}

/// A durability policy as text: `every-synced`, `synced-every:INTERVAL_MS` or `operating-system`.
pub(crate) struct PolicyText(pub(crate) Durability);

impl fmt::Display for PolicyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Durability::EverySynced => f.write_str("every-synced"),
            Durability::SyncedEvery { interval_ms } => write!(f, "synced-every:{interval_ms}"),
            Durability::OperatingSystem => f.write_str("operating-system"),
        }
    }
}

impl FromStr for PolicyText {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let durability = match text {
            "every-synced" => Durability::EverySynced,
            "operating-system" => Durability::OperatingSystem,
            _ => {
                let interval_ms = text.strip_prefix("synced-every:").and_then(|ms| ms.parse().ok());
                Durability::SyncedEvery {
                    interval_ms: interval_ms.ok_or("the durability policy is unknown")?,
                }
            }
        };
        Ok(Self(durability))
    }
}
