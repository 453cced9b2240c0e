//! The child process of a crash on real files: its orders, and the lines that it prints about each call.
//!
//! | line of the child | meaning |
//! |---|---|
//! | `begin N OPERATION` | the call with number N is about to be made |
//! | `ok N -` | the call succeeded without a receipt |
//! | `ok N OPENING SEQUENCE` | the call succeeded; ` LEN TO_MS` follows if events were set back |
//! | `refused N REASON` | no change; REASON is `exists` or `unknown` (a collection), or `ahead` (the time of an event) |
//! | `failed N TEXT` | the call failed with another error |
//! | `durable SEQUENCE` | every frame up to the sequence is durable |
//! | `closed SEQUENCE` | the database was closed, and every frame up to the sequence is durable |
//! | `ended-session N NOW_MS` | the reopening N ended the session; NOW_MS is the clock's time in the next session |
//! | `reopened SEQUENCE POLICY` | the database was opened again and holds every frame up to the sequence |
//! | `threads` | the work has further threads |
//! | `parked SITE` | a thread is at the site and waits for the kill of the process |
//! | `ended TEXT` | the work ended without the planned crash, or failed |

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::finding::{Failure, FailureKind};
use super::journal::{CallLog, CallResult, Journal};
use crate::testing::oracle::CrashKind;
use crate::testing::plan::Plan;
use crate::testing::process::ChildSide;
use crate::testing::text::error_chain;
use crate::testing::workload::{Operation, PolicyText, Session, is_ahead_of_clock};
use crate::{Durability, Error, Receipt, SetBack, TidalDb};

/// The first word of the orders.
const CRASH: &str = "tidaldb-crash";

/// The orders of a child: a directory for its files, and the plan.
#[derive(Debug, PartialEq)]
pub(crate) struct Orders {
    pub(crate) dir: PathBuf,
    pub(crate) plan: Plan,
}

impl Orders {
    /// The text of the orders. The parent starts the child with this text.
    pub(crate) fn to_text(&self) -> String {
        format!("{CRASH}\n{}\n{}", self.dir.display(), self.plan)
    }

    /// The orders of this process, if this process is the child of a crash on real files.
    pub(crate) fn of_this_process() -> Option<Self> {
        let text = ChildSide::orders()?;
        let mut lines = text.splitn(3, '\n');
        if lines.next() != Some(CRASH) {
            return None;
        }
        Some(Self {
            dir: PathBuf::from(lines.next()?),
            plan: lines.next()?.parse().ok()?,
        })
    }
}

/// Reports each call to the parent.
#[derive(Debug, Default)]
pub(crate) struct CallReporter {
    calls_len: AtomicUsize,
}

impl CallLog for CallReporter {
    fn begin(&self, operation: &Operation) -> usize {
        let call = self.calls_len.fetch_add(1, Ordering::Relaxed);
        ChildSide::answer(&format!("begin {call} {operation}"));
        call
    }

    fn ended(&self, call: usize, result: &CallResult, durable_sequence: u64) {
        let line = match result {
            Ok(None) => format!("ok {call} -"),
            Ok(Some(Receipt {
                opening,
                sequence,
                set_back: None,
                ..
            })) => format!("ok {call} {opening} {sequence}"),
            Ok(Some(Receipt {
                opening,
                sequence,
                set_back: Some(SetBack { events_len, to_ms }),
                ..
            })) => format!("ok {call} {opening} {sequence} {events_len} {to_ms}"),
            Err(Error::CollectionExists { .. }) => format!("refused {call} exists"),
            Err(Error::UnknownCollection { .. }) => format!("refused {call} unknown"),
            Err(error) if is_ahead_of_clock(error) => format!("refused {call} ahead"),
            Err(error) => format!("failed {call} {}", error_chain(error)),
        };
        ChildSide::answer(&line);
        self.note_durable(durable_sequence);
    }

    fn note_durable(&self, durable_sequence: u64) {
        ChildSide::answer(&format!("durable {durable_sequence}"));
    }

    fn closed(&self, last_sequence: u64) {
        ChildSide::answer(&format!("closed {last_sequence}"));
    }

    fn note_threads(&self) {
        ChildSide::answer("threads");
    }

    fn fail(&self, kind: FailureKind, message: &dyn fmt::Display) {
        ChildSide::answer(&format!("ended {}", Failure::new(kind, message)));
    }

    fn session_ended(&self, call: usize, next: &Session) {
        ChildSide::answer(&format!("ended-session {call} {}", next.now_ms));
    }

    fn reopened(&self, db: &TidalDb, _: CrashKind, durability: Durability) {
        let sequence = db.last_sequence();
        ChildSide::answer(&format!("reopened {sequence} {}", PolicyText(durability)));
    }
}

/// The kind of a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ChildMessage {
    /// A line about a call. The reader has noted it in the journal.
    Call,
    /// A thread of the child is at this site and waits for the kill.
    Parked(String),
    /// The work ended without the planned crash.
    Ended(String),
}

/// Reads the lines of a child, and notes the calls in a journal.
#[derive(Debug)]
pub(crate) struct ChildLineReader<'a> {
    journal: &'a Journal,
    /// For the child's number of each call in flight: the number of the call in the journal.
    in_flight: BTreeMap<usize, usize>,
}

impl<'a> ChildLineReader<'a> {
    pub(crate) fn new(journal: &'a Journal) -> Self {
        Self {
            journal,
            in_flight: BTreeMap::new(),
        }
    }

    /// Reads a line of the child.
    pub(crate) fn read_line(&mut self, line: &str) -> Result<ChildMessage, Failure> {
        let message = self.parse_line(line);
        message.ok_or_else(|| {
            let message = format_args!("the child printed {line:?}, which is not a line of the protocol");
            Failure::new(FailureKind::NeverReached, message)
        })
    }

    fn parse_line(&mut self, line: &str) -> Option<ChildMessage> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "begin" => {
                let (call, operation) = rest.split_once(' ')?;
                let journal_call = self.journal.begin(&operation.parse().ok()?);
                self.in_flight.insert(call.parse().ok()?, journal_call);
            }
            "ok" | "refused" | "failed" => {
                let (call, outcome) = rest.split_once(' ')?;
                let call = self.in_flight.remove(&call.parse().ok()?)?;
                self.journal.ended(call, &result_of(word, outcome)?, 0);
            }
            "durable" => self.journal.note_durable(rest.parse().ok()?),
            "closed" => self.journal.closed(rest.parse().ok()?),
            "ended-session" => {
                let (call, now_ms) = rest.split_once(' ')?;
                let call = *self.in_flight.get(&call.parse().ok()?)?;
                let (reopening, session) = self.journal.reopening(call)?;
                let next = session.next(&reopening.changes).at(now_ms.parse().ok()?);
                self.journal.session_ended(call, &next);
            }
            "reopened" => {
                let (sequence, policy) = rest.split_once(' ')?;
                let PolicyText(durability) = policy.parse().ok()?;
                self.journal.reopened_in_child(sequence.parse().ok()?, durability);
            }
            "threads" => self.journal.note_threads(),
            "parked" => return Some(ChildMessage::Parked(rest.to_owned())),
            "ended" => return Some(ChildMessage::Ended(rest.to_owned())),
            _ => return None,
        }
        Some(ChildMessage::Call)
    }
}

/// The result of a call, from its line.
fn result_of(word: &str, outcome: &str) -> Option<CallResult> {
    let name = String::new();
    Some(match (word, outcome) {
        ("ok", "-") => Ok(None),
        ("ok", receipt) => Ok(Some(receipt_of(receipt)?)),
        ("refused", "exists") => Err(Error::CollectionExists { name }),
        ("refused", "unknown") => Err(Error::UnknownCollection { name }),
        ("refused", "ahead") => Err(Error::InvalidInput {
            field: "at_ms",
            value: "too far ahead of the clock".to_owned(),
            reason: "the child process reported this error",
        }),
        ("failed", text) => Err(Error::storage("call of a child process", text.to_owned())),
        _ => return None,
    })
}

fn receipt_of(text: &str) -> Option<Receipt> {
    let mut numbers = text.split(' ');
    let (opening, sequence) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    let set_back = match numbers.next() {
        None => None,
        Some(len) => Some(SetBack {
            events_len: len.parse().ok()?,
            to_ms: numbers.next()?.parse().ok()?,
        }),
    };
    Some(Receipt {
        opening,
        sequence,
        set_back,
    })
}

/// Reports to the parent that the calling thread is at `site`, and waits for the kill of the process.
pub(crate) fn park_at(site: &str) -> ! {
    ChildSide::park(&format!("parked {site}"))
}

/// Reports to the parent that the work ended without the planned crash, and ends the process.
pub(crate) fn end_without_crash(reason: &str) -> ! {
    ChildSide::answer(&format!("ended {reason}"));
    ChildSide::end()
}
