//! The figures of all engines, and the table that compares them.

use std::collections::BTreeMap;

use crate::args::PeerArgs;
use crate::board::{Figure, FigureUnit, markdown};
use crate::figures::{FIGURES, Spec};
use crate::peers::ENGINES;

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
            "no figure is named {figure}"
        );
        self.values.entry((figure, engine)).or_default().push(value);
    }

    /// The median of a figure of an engine. `None` if it was not measured.
    pub(crate) fn median(&self, figure: &'static str, engine: &'static str) -> Option<f64> {
        let values = self.values.get(&(figure, engine))?;
        Some(crate::board::median(values))
    }

    /// The best median among the stores other than tidaldb, with the name of the store.
    pub(crate) fn best_peer(&self, spec: &Spec) -> Option<(&'static str, f64)> {
        let peers = ENGINES
            .iter()
            .filter(|engine| engine.name != "tidaldb" && !engine.is_skeleton);
        let medians = peers.filter_map(|engine| Some((engine.name, self.median(spec.id, engine.name)?)));
        medians.min_by(|(_, left), (_, right)| match spec.unit {
            FigureUnit::PerSecond => right.total_cmp(left),
            _ => left.total_cmp(right),
        })
    }

    /// The ratio of tidaldb's median to `other`: more than 1 means that tidaldb is better.
    fn ratio(&self, spec: &Spec, other: f64) -> Option<f64> {
        let own = self.median(spec.id, "tidaldb")?;
        Some(match spec.unit {
            FigureUnit::PerSecond => own / other,
            _ => other / own,
        })
    }

    /// The ratio of tidaldb's median to the best peer.
    pub(crate) fn ratio_to_best(&self, figure: &'static str) -> Option<f64> {
        let spec = FIGURES.iter().find(|spec| spec.id == figure)?;
        self.ratio(spec, self.best_peer(spec)?.1)
    }

    /// One row for each figure that was measured.
    pub(crate) fn table(&self, args: &PeerArgs) -> String {
        let engines: Vec<_> = ENGINES
            .iter()
            .filter(|engine| args.has_engine(engine.name))
            .collect();
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
        head.extend(engines.iter().skip(1).map(|engine| engine.name.to_owned()));
        let mut rows = vec![head];
        for spec in FIGURES {
            if self.median(spec.id, "tidaldb").is_none() {
                continue;
            }
            let best = self.best_peer(spec);
            let mut row = vec![
                (spec.name)(args),
                spec.target.to_owned(),
                (spec.is_met)(self)
                    .map_or("", |is_met| if is_met { "yes" } else { "no" })
                    .to_owned(),
                self.cell(spec, "tidaldb"),
                best.map_or(String::new(), |(name, _)| name.to_owned()),
                self.ratio_text(spec, best.map(|(_, best)| best)),
                self.ratio_text(spec, self.median(spec.id, "fjall")),
            ];
            row.extend(engines.iter().skip(1).map(|engine| self.cell(spec, engine.name)));
            rows.push(row);
        }
        markdown(&rows)
    }

    /// The median with its spread, or an empty text.
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

    /// The ratio of tidaldb's median to `other` in two or three digits, or an empty text.
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
