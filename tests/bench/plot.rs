//! Curves as one SVG: a small panel for each curve. Both axes are logarithmic, and a dashed line shows linear growth.
#![expect(clippy::disallowed_methods, reason = "writes the file of `--svg`")]

use std::fmt::{self, Write};
use std::io;
use std::path::Path;

use crate::board::median;
use crate::curve::{Curve, exponents};

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 220.0;
const MARGIN: f64 = 46.0;
const COLUMNS: usize = 3;

/// Writes all curves to the file.
///
/// # Errors
/// The errors of the file.
pub(crate) fn write(path: &Path, curves: &[Curve]) -> io::Result<()> {
    let rows = curves.len().div_ceil(COLUMNS);
    let (width, height) = (WIDTH * COLUMNS as f64, HEIGHT * rows as f64);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (index, curve) in curves.iter().enumerate() {
        let (x, y) = (
            (index % COLUMNS) as f64 * WIDTH,
            (index / COLUMNS) as f64 * HEIGHT,
        );
        let panel = panel(curve).map_err(io::Error::other)?;
        writeln!(svg, "<g transform=\"translate({x} {y})\">{panel}</g>").map_err(io::Error::other)?;
    }
    std::fs::write(path, svg + "</svg>\n")
}

fn panel(curve: &Curve) -> Result<String, fmt::Error> {
    let points: Vec<(f64, f64)> = curve
        .points
        .iter()
        .map(|(size, values)| ((*size as f64).log10(), median(values).max(1e-9).log10()))
        .collect();
    let (Some(&first), Some(&last)) = (points.first(), points.last()) else {
        return Ok(String::new());
    };
    let low = points.iter().map(|point| point.1).fold(f64::INFINITY, f64::min);
    // Both axes have the same number of decades, so that linear growth has the same slope in all panels.
    let decades = (last.0 - first.0).max(0.1);
    let position = |(x, y): (f64, f64)| {
        let across = MARGIN + (x - first.0) / decades * (WIDTH - 2.0 * MARGIN);
        let up = HEIGHT - MARGIN - (y - low) / decades * (HEIGHT - 2.0 * MARGIN);
        (across, up.max(0.0))
    };
    let line = |points: &[(f64, f64)]| {
        let texts = points.iter().map(|&point| {
            let (x, y) = position(point);
            format!("{x:.1},{y:.1}")
        });
        texts.collect::<Vec<_>>().join(" ")
    };
    let linear = [(first.0, low), (last.0, low + decades)];
    let mut text = format!(
        "<text x=\"12\" y=\"16\" font-weight=\"bold\">{}: exponent {:.2}</text>\
         <polyline points=\"{}\" fill=\"none\" stroke=\"#999\" stroke-dasharray=\"4 4\"/>\
         <polyline points=\"{}\" fill=\"none\" stroke=\"#06c\" stroke-width=\"2\"/>",
        curve.name,
        exponents(&curve.points)[0],
        line(&linear),
        line(&points),
    );
    for ((size, values), &point) in curve.points.iter().zip(&points) {
        let (x, y) = position(point);
        let value = curve.unit.show(median(values));
        write!(
            text,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"#06c\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{value}</text>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#666\">{size}</text>",
            y - 8.0,
            HEIGHT - 20.0,
        )?;
    }
    write!(
        text,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#666\">{}</text>",
        WIDTH / 2.0,
        HEIGHT - 6.0,
        curve.size_unit
    )?;
    Ok(text)
}
