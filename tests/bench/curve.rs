//! The growth of a figure with a size, and the power law that fits it.

use crate::board::{FigureUnit, median};

/// A figure with the values of all rounds at each size, ascending by size.
#[derive(Debug, Clone)]
pub(crate) struct Curve {
    pub(crate) name: &'static str,
    /// The unit of the size, such as "events".
    pub(crate) size_unit: &'static str,
    pub(crate) unit: FigureUnit,
    pub(crate) points: Vec<(usize, Vec<f64>)>,
}

impl Curve {
    pub(crate) fn new(name: &'static str, size_unit: &'static str, unit: FigureUnit) -> Self {
        Self {
            name,
            size_unit,
            unit,
            points: Vec::new(),
        }
    }

    /// Adds the value of a round.
    pub(crate) fn add(&mut self, size: usize, value: f64) {
        match self.points.binary_search_by_key(&size, |(size, _)| *size) {
            Ok(index) => self.points[index].1.push(value),
            Err(index) => self.points.insert(index, (size, vec![value])),
        }
    }

    /// The value divided by the size, as text.
    pub(crate) fn show_each(&self, size: usize, value: f64) -> String {
        let each = value / size as f64;
        match self.unit {
            FigureUnit::Milliseconds => FigureUnit::Nanoseconds.show(each * 1e6),
            FigureUnit::Megabytes => FigureUnit::Bytes.show(each * 1e6),
            unit => unit.show(each),
        }
    }
}

/// The exponents of the power laws through the medians of all sizes and of the last two sizes.
pub(crate) fn exponents(points: &[(usize, Vec<f64>)]) -> [f64; 2] {
    [points, &points[points.len().saturating_sub(2)..]].map(exponent)
}

/// The exponent of the power law through the medians: the slope of the straight line through their logarithms, by least
/// squares.
fn exponent(points: &[(usize, Vec<f64>)]) -> f64 {
    let logarithms: Vec<(f64, f64)> = points
        .iter()
        .map(|(size, values)| ((*size as f64).ln(), median(values).max(f64::MIN_POSITIVE).ln()))
        .collect();
    let len = logarithms.len() as f64;
    let mean_x = logarithms.iter().map(|(x, _)| x).sum::<f64>() / len;
    let mean_y = logarithms.iter().map(|(_, y)| y).sum::<f64>() / len;
    let covariance: f64 = logarithms.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let variance: f64 = logarithms.iter().map(|(x, _)| (x - mean_x) * (x - mean_x)).sum();
    covariance / variance
}
