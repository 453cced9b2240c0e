//! The figures of all engines, and the table that sets them side by side.

use std::collections::BTreeMap;

use crate::args::PeerArgs;
use crate::board::{Figure, FigureUnit, markdown};
use crate::figures::{FIGURES, Spec};
use crate::peers::KINDS;

/// The values of each round, by figure and engine.
#[derive(Debug, Default)]
pub(crate) struct Sheet {
    values: BTreeMap<(&'static str, &'static str), Vec<f64>>,
}

impl Sheet {
    /// Adds the value of a round. `figure` is the id of one of [`FIGURES`].
    pub(crate) fn add(&mut self, figure: &'static str, engine: &'static str, value: f64) {
        assert!(
            FIGURES.iter().any(|spec| spec.id == figure),
            "there is no figure {figure}"
        );
        self.values.entry((figure, engine)).or_default().push(value);
    }

    /// The median, if it was measured.
    pub(crate) fn median(&self, figure: &'static str, engine: &'static str) -> Option<f64> {
        let values = self.values.get(&(figure, engine))?;
        Some(crate::board::median(values))
    }

    /// The best median among the stores other than tidaldb, and whose it is.
    pub(crate) fn best_peer(&self, spec: &Spec) -> Option<(&'static str, f64)> {
        let peers = KINDS
            .iter()
            .filter(|kind| kind.name != "tidaldb" && !kind.is_skeleton);
        let medians = peers.filter_map(|kind| Some((kind.name, self.median(spec.id, kind.name)?)));
        medians.min_by(|(_, left), (_, right)| match spec.unit {
            FigureUnit::PerSecond => right.total_cmp(left),
            _ => left.total_cmp(right),
        })
    }

    /// How many times better tidaldb is than `other`, which it is compared with by one figure.
    fn ratio(&self, spec: &Spec, other: f64) -> Option<f64> {
        let own = self.median(spec.id, "tidaldb")?;
        Some(match spec.unit {
            FigureUnit::PerSecond => own / other,
            _ => other / own,
        })
    }

    /// tidaldb's ratio to the best peer.
    pub(crate) fn ratio_to_best(&self, figure: &'static str) -> Option<f64> {
        let spec = FIGURES.iter().find(|spec| spec.id == figure)?;
        self.ratio(spec, self.best_peer(spec)?.1)
    }

    /// One row for each figure that was measured.
    pub(crate) fn table(&self, args: &PeerArgs) -> String {
        let engines: Vec<_> = KINDS.iter().filter(|kind| args.wants_engine(kind.name)).collect();
        let mut head: Vec<String> = [
            "figure",
            "target",
            "met",
            "tidaldb",
            "best peer",
            "ratio to it",
            "to fjall",
        ]
        .map(str::to_owned)
        .to_vec();
        head.extend(engines.iter().skip(1).map(|kind| kind.name.to_owned()));
        let mut rows = vec![head];
        for spec in FIGURES {
            if self.median(spec.id, "tidaldb").is_none() {
                continue;
            }
            let best = self.best_peer(spec);
            let mut row = vec![
                (spec.name)(args),
                spec.target.to_owned(),
                (spec.met)(self)
                    .map_or("", |met| if met { "yes" } else { "no" })
                    .to_owned(),
                self.cell(spec, "tidaldb"),
                best.map_or(String::new(), |(name, _)| name.to_owned()),
                self.ratio_text(spec, best.map(|(_, best)| best)),
                self.ratio_text(spec, self.median(spec.id, "fjall")),
            ];
            row.extend(engines.iter().skip(1).map(|kind| self.cell(spec, kind.name)));
            rows.push(row);
        }
        markdown(&rows)
    }

    /// The median with its spread, or nothing.
    fn cell(&self, spec: &Spec, engine: &'static str) -> String {
        let Some(values) = self.values.get(&(spec.id, engine)) else {
            return String::new();
        };
        let figure = Figure {
            name: String::new(),
            unit: spec.unit,
            values: values.clone(),
        };
        format!("{} ({})", figure.show_median(), figure.show_spread())
    }

    /// tidaldb's ratio to `other` in two or three digits, or nothing.
    fn ratio_text(&self, spec: &Spec, other: Option<f64>) -> String {
        let Some(ratio) = other.and_then(|other| self.ratio(spec, other)) else {
            return String::new();
        };
        let decimals = match ratio {
            below if below < 0.1 => 3,
            below if below < 10.0 => 2,
            _ => 1,
        };
        format!("{ratio:.decimals$}")
    }
}
