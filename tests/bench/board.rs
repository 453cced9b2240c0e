//! The figures: the value of each round, and the table of medians with their spread.

use crate::table::TextTable;

/// The unit of a figure. More is better for `PerSecond`, less is better for all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FigureUnit {
    PerSecond,
    Nanoseconds,
    Microseconds,
    Milliseconds,
    Megabytes,
    Bytes,
    Count,
}

impl FigureUnit {
    pub(crate) fn show(self, value: f64) -> String {
        let (scale, name) = self.scale(value);
        digits(value / scale) + name
    }

    /// The divisor for the display of a value of about this size, and the name of the resulting unit.
    fn scale(self, value: f64) -> (f64, &'static str) {
        match self {
            Self::PerSecond if value >= 1e6 => (1e6, " M/s"),
            Self::PerSecond if value >= 1e3 => (1e3, " k/s"),
            Self::PerSecond => (1.0, "/s"),
            Self::Nanoseconds => (1.0, " ns"),
            Self::Microseconds => (1.0, " us"),
            Self::Milliseconds => (1.0, " ms"),
            Self::Megabytes => (1.0, " MB"),
            Self::Bytes => (1.0, " B"),
            Self::Count => (1.0, ""),
        }
    }
}

/// The value with three significant digits, or with all digits before the point.
fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        below if below < 10.0 => 2,
        below if below < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

/// One figure, with a value for each round.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: FigureUnit,
    pub(crate) values: Vec<f64>,
}

impl Figure {
    pub(crate) fn median(&self) -> f64 {
        median(&self.values)
    }

    pub(crate) fn show_median(&self) -> String {
        self.unit.show(self.median())
    }

    /// The smallest and the largest value, in the median's unit.
    pub(crate) fn show_spread(&self) -> String {
        let least = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (scale, _) = self.unit.scale(self.median());
        format!("{} to {}", digits(least / scale), digits(most / scale))
    }
}

/// The middle value, or the mean of the two values in the middle. Expects at least one value.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

/// The figures, in the order of their first values.
#[derive(Debug, Clone, Default)]
pub(crate) struct FigureBoard {
    pub(crate) figures: Vec<Figure>,
}

impl FigureBoard {
    /// Adds the value of a round.
    pub(crate) fn add(&mut self, name: impl Into<String>, unit: FigureUnit, value: f64) {
        let name = name.into();
        if let Some(figure) = self.figures.iter_mut().find(|figure| figure.name == name) {
            figure.values.push(value);
        } else {
            self.figures.push(Figure {
                name,
                unit,
                values: vec![value],
            });
        }
    }

    /// A Markdown table of all figures.
    pub(crate) fn table(&self) -> String {
        let head = ["figure", "median", "min to max"].map(str::to_owned).to_vec();
        let rows = self.figures.iter();
        let rows = rows.map(|figure| vec![figure.name.clone(), figure.show_median(), figure.show_spread()]);
        let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
        markdown(&rows)
    }
}

/// The rows as a Markdown table. The first row is the head. All columns except the first are aligned to the right.
pub(crate) fn markdown(rows: &[Vec<String>]) -> String {
    let columns_len = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut table = TextTable::of_numbers(0, vec![0; columns_len.saturating_sub(1)]);
    for row in rows {
        table.row(row.iter().map(String::as_str));
    }
    table.markdown()
}
