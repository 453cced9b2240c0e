//! Events from text files with one event on each line.
//!
//! Owns the format of these files. A wrong line is refused with its number, and later lines can still be read.
//!
//! | column | content | if missing or empty |
//! |---|---|---|
//! | `at_ms` | milliseconds since the Unix epoch, signed | refused |
//! | `signal` | the signal's name | refused |
//! | `entity` | 0 to 2^64 - 1 | refused |
//! | `weight` | a number, within the limits of the engine and the signal | 1 |
//! | `user` | 0 to 2^64 - 1 | no user |
//! | `cohorts` | any number of cohorts, 0 to 2^64 - 1, separated by <code>&#124;</code> or `;` | none |
//!
//! If the first line has a tab, tabs separate the fields, else commas. Spaces around a field are ignored. A field may
//! be in double quotes; a quote inside it is written twice.
//!
//! The first line can be a header with the names of the columns, in small or capital letters. One of the names must be
//! `at_ms`, and the columns are in the order of the names. Without a header they are in the order of the table.
//!
//! Empty lines and lines that begin with `#` are ignored, and so are a byte order mark and carriage returns before line
//! ends. The text is UTF-8. Compressed files and UTF-16 are recognised by their first bytes and refused.

mod file_events;
mod line;
#[cfg(test)]
mod tests;
mod workload;

pub use file_events::FileEvents;
pub use workload::{schema_for, workload_from_events};

use std::fmt;
use std::io::{BufRead, Read};

use crate::Schema;
use crate::testing::workload::Event;
use line::{Layout, LineFault, LineFields, declared_signal};

/// The largest length of a line in bytes. A longer line is refused and not read into memory.
pub const LINE_BYTES_MAX: usize = 64 << 10;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The first bytes of files that are not UTF-8 text, and the names of their formats.
const FOREIGN_BEGINNINGS: [(&[u8], &str); 8] = [
    (b"\x1f\x8b", "compressed (gzip)"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x28\xb5\x2f\xfd", "compressed (zstd)"),
    (b"\xfd7zXZ", "compressed (xz)"),
    (b"BZh", "compressed (bzip2)"),
    (b"PAR1", "a Parquet file"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
];

/// A refused line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineError {
    /// The line's number, from 1.
    pub line: u64,
    /// The number of the wrong column, from 1; `None` if the fault is not in one column.
    pub column: Option<usize>,
    /// The cause of the refusal.
    pub reason: String,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some(column) = self.column {
            write!(f, ", column {column}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for LineError {}

/// A reader of events: an iterator over the lines in order, with the event or the error of each line. It continues
/// after a refused line, and ends early only after a failed read or in a file of another format.
///
/// # Examples
/// ```
/// use tidaldb::testing::lab::event_file::{EventFile, schema_for};
/// let text = "at_ms,signal,entity,user\n1700000000000,view,7,42\n1700000000500,veiw,7,42\n";
/// let events: Vec<_> = EventFile::parse(text.as_bytes(), &schema_for(&["view"])).collect();
/// assert_eq!(events[0].as_ref().unwrap().entity.0, 7);
/// assert_eq!(events[1].as_ref().unwrap_err().to_string(), "line 3, column 2: the schema has no signal \"veiw\"");
/// ```
#[derive(Debug)]
pub struct EventFile<'a, R> {
    lines: Lines<R>,
    schema: &'a Schema,
}

impl<'a, R: BufRead> EventFile<'a, R> {
    /// Reads events with the signals of `schema`. A byte slice is a `reader` too.
    pub fn parse(reader: R, schema: &'a Schema) -> Self {
        Self {
            lines: Lines::new(reader),
            schema,
        }
    }
}

impl<R: BufRead> Iterator for EventFile<'_, R> {
    type Item = Result<Event, LineError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.lines
            .next_event(|fields| fields.event(|name| declared_signal(self.schema, name)))
    }
}

/// The lines of a file and the layout of their fields.
#[derive(Debug)]
struct Lines<R> {
    reader: R,
    /// The current line, without its end.
    line: Vec<u8>,
    number: u64,
    /// `None` until the first line that is not ignored.
    layout: Option<Layout>,
    failed: bool,
}

/// The result of reading a line.
enum LineRead {
    Whole,
    TooLong,
    /// The file has the format with this name, which is not UTF-8 text.
    Foreign(&'static str),
    /// The file has no further line.
    End,
}

impl<R: BufRead> Lines<R> {
    fn new(reader: R) -> Self {
        Self {
            reader,
            line: Vec::new(),
            number: 0,
            layout: None,
            failed: false,
        }
    }

    /// The result of `parse` for the next line that is neither ignored nor a header.
    fn next_event<T>(
        &mut self,
        parse: impl FnOnce(&LineFields<'_>) -> Result<T, LineFault>,
    ) -> Option<Result<T, LineError>> {
        loop {
            if self.failed {
                return None;
            }
            self.number += 1;
            match self.read() {
                Ok(LineRead::End) => return None,
                Ok(LineRead::TooLong) => {
                    let fault = (None, format!("the line is longer than {LINE_BYTES_MAX} bytes"));
                    return Some(Err(self.error(fault)));
                }
                Ok(LineRead::Foreign(name)) => {
                    self.failed = true;
                    let fault =
                        format!("the file is {name}; events are lines of plain UTF-8 text: convert it first");
                    return Some(Err(self.error((None, fault))));
                }
                Ok(LineRead::Whole) => {}
                Err(error) => {
                    self.failed = true;
                    return Some(Err(self.error((None, error.to_string()))));
                }
            }
            let text = self.line.trim_ascii();
            if text.is_empty() || text.starts_with(b"#") {
                continue;
            }
            let layout = match &self.layout {
                Some(layout) => layout,
                None => match Layout::of_first_line(&self.line) {
                    Ok((layout, is_header)) => {
                        let layout = self.layout.insert(layout);
                        if is_header {
                            continue;
                        }
                        layout
                    }
                    Err(fault) => return Some(Err(self.error(fault))),
                },
            };
            let parsed = layout.fields(&self.line).and_then(|fields| parse(&fields));
            return Some(parsed.map_err(|fault| self.error(fault)));
        }
    }

    fn error(&self, (column, reason): LineFault) -> LineError {
        LineError {
            line: self.number,
            column,
            reason,
        }
    }

    /// Reads the next line. Keeps at most [`LINE_BYTES_MAX`] + 1 bytes of it in memory.
    fn read(&mut self) -> std::io::Result<LineRead> {
        self.line.clear();
        if self.number == 1
            && let Some(name) = foreign_name(self.reader.fill_buf()?)
        {
            return Ok(LineRead::Foreign(name));
        }
        let mut limited = self.reader.by_ref().take(LINE_BYTES_MAX as u64 + 1);
        if limited.read_until(b'\n', &mut self.line)? == 0 {
            return Ok(LineRead::End);
        }
        if self.line.pop_if(|last| *last == b'\n').is_none() && self.line.len() > LINE_BYTES_MAX {
            self.reader.skip_until(b'\n')?;
            return Ok(LineRead::TooLong);
        }
        if self.number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
            self.line.drain(..BYTE_ORDER_MARK.len());
        }
        self.line.pop_if(|last| *last == b'\r');
        Ok(LineRead::Whole)
    }
}

/// The name of the format of a file that begins with these bytes and is not UTF-8 text. `None` if it may be text.
fn foreign_name(beginning: &[u8]) -> Option<&'static str> {
    let begins = |(bytes, _): &&(&[u8], &str)| beginning.starts_with(bytes);
    let name = FOREIGN_BEGINNINGS.iter().find(begins).map(|(_, name)| *name);
    // In UTF-16 one of the two bytes of each ASCII character is 0.
    name.or_else(|| (beginning.iter().take(2).any(|byte| *byte == 0)).then_some("UTF-16 or binary"))
}
