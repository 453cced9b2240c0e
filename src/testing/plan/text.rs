//! The text form of plans. The parent [module](super) has the table of keys.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use super::{CRASHES_MAX, Crash, CrashMode, FaultEnd, Plan, REPLAY_PREFIX, Site, Work};
use crate::testing::sim_disk::{IoFault, Side, SimDiskOptions};
use crate::testing::workload::{Operation, PolicyText, Workload};

/// The largest number of operations of a standard workload in a text. A plan with more would run too long.
const OPERATIONS_LEN_MAX: usize = 1_000_000;

/// The error for a text that is not a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsePlanError {
    /// The part that is wrong.
    pub part: String,
    /// The reason why the part is wrong.
    pub reason: String,
}

impl ParsePlanError {
    fn new(part: &str, reason: impl fmt::Display) -> Self {
        Self {
            part: part.to_owned(),
            reason: reason.to_string(),
        }
    }
}

impl fmt::Display for ParsePlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a valid part of a plan: {}",
            self.part, self.reason
        )
    }
}

impl Error for ParsePlanError {}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard { seed, operations_len } => write!(f, "standard:{seed}:{operations_len}"),
            Self::Sessions { seed, operations_len } => write!(f, "sessions:{seed}:{operations_len}"),
            Self::Operations(workload) => {
                f.write_str("ops:")?;
                for (index, operation) in workload.operations.iter().enumerate() {
                    write!(f, "{}{operation}", if index == 0 { "" } else { ";" })?;
                }
                Ok(())
            }
            Self::Driven(name) => {
                f.write_str("driven:")?;
                // Bytes that could end the word are escaped, so that the line parses to the same plan.
                for byte in name.bytes() {
                    match byte {
                        b'%' | 0..=b' ' | 0x7f.. => write!(f, "%{byte:02x}")?,
                        _ => write!(f, "{}", char::from(byte))?,
                    }
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "work={} durability={}", self.work, PolicyText(self.durability))?;
        if self.sector_bytes != SimDiskOptions::default().sector_bytes {
            write!(f, " sectors={}", self.sector_bytes)?;
        }
        for Crash { site, mode } in &self.crashes {
            write!(f, " crash={site} mode={mode}")?;
        }
        Ok(())
    }
}

impl FromStr for Site {
    type Err = ParsePlanError;

    fn from_str(text: &str) -> Result<Self, ParsePlanError> {
        let no_site = || {
            ParsePlanError::new(
                text,
                "a site is POINT#N, disk#ORDINAL:SIDE, disk#ORDINAL:FAULT with or without :end, or end",
            )
        };
        if text == "end" {
            return Ok(Self::End);
        }
        let (name, number) = text.split_once('#').ok_or_else(no_site)?;
        if name == "disk" {
            let (ordinal, side) = number.split_once(':').ok_or_else(no_site)?;
            let ordinal = ordinal.parse().map_err(|_| no_site())?;
            if let Some(side) = Side::named(side) {
                return Ok(Self::Disk { ordinal, side });
            }
            let (fault, after) = match side.strip_suffix(":end") {
                Some(fault) => (fault, FaultEnd::Run),
                None => (side, FaultEnd::Call),
            };
            return Ok(Self::Fault {
                ordinal,
                fault: IoFault::named(fault).ok_or_else(no_site)?,
                after,
            });
        }
        Ok(Self::Point {
            point: name.parse().map_err(|error| ParsePlanError::new(text, error))?,
            crossing: number.parse().map_err(|_| no_site())?,
        })
    }
}

impl FromStr for CrashMode {
    type Err = ParsePlanError;

    fn from_str(text: &str) -> Result<Self, ParsePlanError> {
        match text {
            "panic" => Ok(Self::Panic),
            "abort" => Ok(Self::Abort),
            "kill" => Ok(Self::Kill),
            _ => {
                let image = text.strip_prefix("power-loss:").ok_or_else(|| {
                    ParsePlanError::new(text, "a mode is panic, abort, kill or power-loss:IMAGE")
                })?;
                let image = image.parse().map_err(|error| ParsePlanError::new(image, error))?;
                Ok(Self::PowerLoss(image))
            }
        }
    }
}

impl FromStr for Work {
    type Err = ParsePlanError;

    fn from_str(text: &str) -> Result<Self, ParsePlanError> {
        let no_work = || {
            ParsePlanError::new(
                text,
                "work is standard:SEED:LEN, sessions:SEED:LEN, ops:..., or driven:NAME",
            )
        };
        match text.split_once(':').ok_or_else(no_work)? {
            (kind @ ("standard" | "sessions"), rest) => {
                let (seed, len) = rest.split_once(':').ok_or_else(no_work)?;
                let seed = seed.parse().map_err(|_| no_work())?;
                let operations_len = len.parse().map_err(|_| no_work())?;
                if operations_len > OPERATIONS_LEN_MAX {
                    let reason = format_args!("the work has more than {OPERATIONS_LEN_MAX} operations");
                    return Err(ParsePlanError::new(text, reason));
                }
                Ok(if kind == "standard" {
                    Self::Standard { seed, operations_len }
                } else {
                    Self::Sessions { seed, operations_len }
                })
            }
            ("ops", tokens) => {
                let tokens = tokens.split(';').filter(|_| !tokens.is_empty());
                let operations = tokens
                    .map(|token| {
                        token
                            .parse::<Operation>()
                            .map_err(|error| ParsePlanError::new(token, error))
                    })
                    .collect::<Result<_, _>>()?;
                Ok(Self::Operations(Workload { operations }))
            }
            ("driven", name) => unescape(name).map(Self::Driven).ok_or_else(no_work),
            _ => Err(no_work()),
        }
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend(rest.bytes());
    }
    String::from_utf8(bytes).ok()
}

impl FromStr for Plan {
    type Err = ParsePlanError;

    /// Parses a plan, or a replay line. Any text before [`REPLAY_PREFIX`] is ignored.
    fn from_str(text: &str) -> Result<Self, ParsePlanError> {
        let text = text.split_once(REPLAY_PREFIX).map_or(text, |(_, plan)| plan);
        let mut words = text.split_ascii_whitespace().peekable();
        let is_optional = |key: &str, word: &str| key == "sectors" && !word.starts_with("sectors");
        let mut next = |key: &str| match words.next_if(|word| !is_optional(key, word)) {
            None => Ok(None),
            Some(word) => match word.strip_prefix(key).and_then(|rest| rest.strip_prefix('=')) {
                Some(value) => Ok(Some(value)),
                None => Err(ParsePlanError::new(word, format_args!("{key}= is expected here"))),
            },
        };
        let missing = |key: &str| ParsePlanError::new("", format_args!("{key}= is missing"));
        let work = next("work")?.ok_or_else(|| missing("work"))?.parse()?;
        let policy = next("durability")?.ok_or_else(|| missing("durability"))?;
        let PolicyText(durability) = policy
            .parse()
            .map_err(|reason: &str| ParsePlanError::new(policy, reason))?;
        let sector_bytes = match next("sectors")? {
            None => SimDiskOptions::default().sector_bytes,
            Some(text) => match text.parse() {
                Ok(bytes) if bytes > 0 => bytes,
                _ => {
                    return Err(ParsePlanError::new(
                        text,
                        "sectors is a number of bytes, at least 1",
                    ));
                }
            },
        };
        let mut crashes = Vec::new();
        while let Some(site) = next("crash")? {
            let mode = next("mode")?.ok_or_else(|| missing("mode"))?;
            crashes.push(Crash {
                site: site.parse()?,
                mode: mode.parse()?,
            });
        }
        if crashes.len() > CRASHES_MAX {
            return Err(ParsePlanError::new(
                text,
                format_args!("the plan has more than {CRASHES_MAX} crashes"),
            ));
        }
        Ok(Self {
            work,
            durability,
            sector_bytes,
            crashes,
        })
    }
}
