//! The fields of one line.

use std::borrow::Cow;
use std::str::FromStr;

use crate::limits::{EVENT_COHORTS_MAX, WEIGHT_ABS_MAX};
use crate::testing::workload::Event;
use crate::{CohortId, EntityId, Schema, SignalId, UserId};

/// The fault of a line, without the number of the line.
pub(super) type LineFault = (Option<usize>, String);

/// The meaning of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    AtMs,
    Signal,
    Entity,
    Weight,
    User,
    Cohorts,
}

/// The columns and their names, in the order of a file without a header.
const COLUMNS: [(Column, &str); 6] = [
    (Column::AtMs, "at_ms"),
    (Column::Signal, "signal"),
    (Column::Entity, "entity"),
    (Column::Weight, "weight"),
    (Column::User, "user"),
    (Column::Cohorts, "cohorts"),
];

impl Column {
    fn name(self) -> &'static str {
        COLUMNS[self as usize].1
    }
}

/// The separator of the fields, and their meanings.
#[derive(Debug)]
pub(super) struct Layout {
    separator: u8,
    columns: Vec<Column>,
}

impl Layout {
    /// The layout that follows from the first line, and true if this line is a header.
    pub(super) fn of_first_line(line: &[u8]) -> Result<(Self, bool), LineFault> {
        let separator = if line.contains(&b'\t') { b'\t' } else { b',' };
        let fields = split(line, separator)?;
        let is_header = fields.iter().any(|field| field.eq_ignore_ascii_case(b"at_ms"));
        let columns = if is_header {
            named_columns(&fields)?
        } else if number::<i64>(1, Column::AtMs, &fields[0]).is_err() && is_name(&fields[0]) {
            let first = fields[0].escape_ascii();
            return Err((
                None,
                format!(
                    "\"{first}\" begins neither an event nor a header: an event begins with a number, and a header \
                     must name a column at_ms; the columns are at_ms, signal, entity, weight, user and cohorts, \
                     separated by commas or tabs"
                ),
            ));
        } else {
            COLUMNS.map(|(column, _)| column).to_vec()
        };
        Ok((Self { separator, columns }, is_header))
    }

    pub(super) fn fields<'a>(&'a self, line: &'a [u8]) -> Result<LineFields<'a>, LineFault> {
        let values = split(line, self.separator)?;
        if values.len() > self.columns.len() {
            let reason = format!("the file has only {} columns", self.columns.len());
            return Err((Some(self.columns.len() + 1), reason));
        }
        Ok(LineFields {
            columns: &self.columns,
            values,
        })
    }
}

/// Returns true if a field may be the name of a column: it begins with a letter.
fn is_name(field: &[u8]) -> bool {
    field.first().is_some_and(u8::is_ascii_alphabetic)
}

fn named_columns(fields: &[Cow<'_, [u8]>]) -> Result<Vec<Column>, LineFault> {
    let mut columns = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let named = COLUMNS
            .into_iter()
            .find(|(_, name)| field.eq_ignore_ascii_case(name.as_bytes()));
        let fault = |problem| (Some(index + 1), format!("{problem} \"{}\"", field.escape_ascii()));
        let (column, _) = named.ok_or_else(|| fault("unknown column"))?;
        if columns.contains(&column) {
            return Err(fault("second column"));
        }
        columns.push(column);
    }
    for required in [Column::Signal, Column::Entity] {
        if !columns.contains(&required) {
            return Err((None, format!("the column {} is missing", required.name())));
        }
    }
    Ok(columns)
}

/// The values of a line by column.
pub(super) struct LineFields<'a> {
    columns: &'a [Column],
    values: Vec<Cow<'a, [u8]>>,
}

/// The number of a declared signal, and true if it allows negative weights.
pub(super) fn declared_signal(schema: &Schema, name: &[u8]) -> Result<(SignalId, bool), String> {
    let signal = schema.signal_id(name).map_err(|error| error.to_string())?;
    let allows_negative = schema
        .get(signal)
        .is_some_and(crate::Signal::allows_negative_weights);
    Ok((signal, allows_negative))
}

impl LineFields<'_> {
    /// The event. `signal` returns the number of the signal with this name, and true if the signal allows negative
    /// weights.
    pub(super) fn event(
        &self,
        signal: impl FnOnce(&[u8]) -> Result<(SignalId, bool), String>,
    ) -> Result<Event, LineFault> {
        let (at, name) = self.required(Column::Signal)?;
        let (signal, allows_negative) = signal(name).map_err(|reason| (Some(at), reason))?;
        let (_, at_ms) = self.required_number(Column::AtMs)?;
        let (_, entity) = self.required_number(Column::Entity)?;
        Ok(Event {
            entity: EntityId(entity),
            signal,
            weight: self.weight(allows_negative)?,
            at_ms,
            user: self.number(Column::User)?.map(|(_, user)| UserId(user)),
            cohorts: self.cohorts()?,
        })
    }

    fn weight(&self, allows_negative: bool) -> Result<f64, LineFault> {
        let Some((at, weight)) = self.number::<f64>(Column::Weight)? else {
            return Ok(1.0);
        };
        let refused = |reason: &str| Err((Some(at), format!("weight {weight}: {reason}")));
        if !weight.is_finite() {
            return refused("a weight must be a finite number");
        }
        if weight.abs() > WEIGHT_ABS_MAX {
            return refused("the absolute value is above the engine's limit");
        }
        if weight < 0.0 && !allows_negative {
            return refused("the signal does not allow negative weights");
        }
        Ok(weight)
    }

    fn cohorts(&self) -> Result<Vec<CohortId>, LineFault> {
        let Some((at, list)) = self.value(Column::Cohorts) else {
            return Ok(Vec::new());
        };
        let cohorts = list.split(|byte| b"|;".contains(byte));
        let cohort = |text: &[u8]| number(at, Column::Cohorts, text.trim_ascii()).map(CohortId);
        let cohorts = cohorts.map(cohort).collect::<Result<Vec<_>, _>>()?;
        if cohorts.len() > EVENT_COHORTS_MAX {
            let reason = format!("an event can have at most {EVENT_COHORTS_MAX} cohorts");
            return Err((Some(at), reason));
        }
        Ok(cohorts)
    }

    /// The column's number, from 1, and its value; `None` if the value is missing or empty.
    fn value(&self, column: Column) -> Option<(usize, &[u8])> {
        let index = self.columns.iter().position(|&other| other == column)?;
        let value = self.values.get(index).filter(|value| !value.is_empty())?;
        Some((index + 1, value))
    }

    fn required(&self, column: Column) -> Result<(usize, &[u8]), LineFault> {
        self.value(column).ok_or_else(|| {
            let index = self.columns.iter().position(|&other| other == column);
            (
                index.map(|index| index + 1),
                format!("{} is missing", column.name()),
            )
        })
    }

    fn number<T: FromStr>(&self, column: Column) -> Result<Option<(usize, T)>, LineFault> {
        let value = self.value(column);
        value
            .map(|(at, value)| Ok((at, number(at, column, value)?)))
            .transpose()
    }

    fn required_number<T: FromStr>(&self, column: Column) -> Result<(usize, T), LineFault> {
        let (at, value) = self.required(column)?;
        Ok((at, number(at, column, value)?))
    }
}

fn number<T: FromStr>(at: usize, column: Column, value: &[u8]) -> Result<T, LineFault> {
    let parsed = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| {
        let (name, value) = (column.name(), value.escape_ascii());
        (
            Some(at),
            format!("{name} \"{value}\" is not a number in its range"),
        )
    })
}

/// The fields between separators, without the spaces around them. A quoted field is without its quotes.
fn split(line: &[u8], separator: u8) -> Result<Vec<Cow<'_, [u8]>>, LineFault> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let spaces = rest
            .iter()
            .take_while(|byte| **byte != separator && byte.is_ascii_whitespace());
        let trimmed = &rest[spaces.count()..];
        if trimmed.starts_with(b"\"") {
            let (field, after) = quoted(&trimmed[1..], separator).ok_or_else(|| {
                let reason = "a quoted field has no end, or something follows it".to_owned();
                (Some(fields.len() + 1), reason)
            })?;
            fields.push(Cow::Owned(field));
            match after {
                Some(after) => rest = after,
                None => return Ok(fields),
            }
            continue;
        }
        let Some(end) = rest.iter().position(|&byte| byte == separator) else {
            fields.push(Cow::Borrowed(rest.trim_ascii()));
            return Ok(fields);
        };
        fields.push(Cow::Borrowed(rest[..end].trim_ascii()));
        rest = &rest[end + 1..];
    }
}

/// The field whose opening quote is before `rest`, and the rest of the line after the next separator, if the line has
/// one.
fn quoted(rest: &[u8], separator: u8) -> Option<(Vec<u8>, Option<&[u8]>)> {
    let mut field = Vec::new();
    let mut at = 0;
    loop {
        match (*rest.get(at)?, rest.get(at + 1)) {
            (b'"', Some(b'"')) => {
                field.push(b'"');
                at += 2;
            }
            (b'"', _) => break,
            (byte, _) => {
                field.push(byte);
                at += 1;
            }
        }
    }
    let after = &rest[at + 1..];
    let spaces = after
        .iter()
        .take_while(|byte| **byte != separator && byte.is_ascii_whitespace());
    match after[spaces.count()..].split_first() {
        None => Some((field, None)),
        Some((end, after)) if *end == separator => Some((field, Some(after))),
        Some(_) => None,
    }
}
