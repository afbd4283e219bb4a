//! The minima of a learned prior at other temperatures than its own.

use hvae_model::modern::{Mixture, Thresholds, beta_eff};
use rayon::prelude::*;
use serde::Serialize;

use crate::figures::csv;
use crate::figures::plot::colour::{BLUE, VERMILION};
use crate::figures::plot::{Figure, Legend, Mark, Panel, Point, Scale, Series};
use crate::transition::sweep::log_spaced;

/// A retrieval has ended when a step moves the state by less than this share of the patterns'
/// distance.
const TOLERANCE: f64 = 1e-7;
/// Ends closer than this share of that distance are one minimum.
const SAME: f64 = 1e-2;
/// Steps of a retrieval at most.
const MAX_STEPS: usize = 20_000;
/// Patterns of a smaller weight start no retrieval.
const LEAST: f64 = 1e-6;
/// Steps of the bisection for the temperature at which all minima have become one.
const BISECTIONS: usize = 24;

/// The minima of the energy at one inverse temperature, the weights of the patterns held.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Landscape {
    pub(crate) beta: f64,
    pub(crate) beta_eff: f64,
    /// Different ends of retrievals that start at the patterns.
    pub(crate) minima: usize,
    /// The exponential of the entropy of the shares of the weight that end in each.
    pub(crate) in_use: f64,
    /// The largest of these shares.
    pub(crate) largest: f64,
}

/// What becomes of the minima of a learned prior as its inverse temperature changes.
#[derive(Debug, Serialize)]
pub(crate) struct Temperatures {
    pub(crate) patterns: usize,
    /// Patterns in use: the exponential of the entropy of their weights.
    pub(crate) in_use: f64,
    /// `D^2`, see [`Mixture::distance_squared`].
    pub(crate) distance_squared: f64,
    /// At the inverse temperature that training has found.
    pub(crate) learned: Landscape,
    /// The largest inverse temperature with a single minimum, within the sweep.
    pub(crate) merged: Option<f64>,
    /// Of as many equidistant patterns as are in use, as `beta_eff`.
    pub(crate) b1: f64,
    pub(crate) b2: f64,
    pub(crate) b3: f64,
    pub(crate) sweep: Vec<Landscape>,
}

impl Temperatures {
    /// Sweeps `mixture` over `betas` inverse temperatures between these values of `beta_eff`, by
    /// default from 1, below which two equal patterns merge, to four times the learned one.
    pub(crate) fn sweep(mixture: &Mixture, betas: usize, range: [Option<f64>; 2]) -> Self {
        let distance_squared = mixture.distance_squared();
        let scale = beta_eff(1.0, distance_squared);
        let scale = if scale > 0.0 { scale } else { 1.0 };
        let [from, to] = [range[0].unwrap_or(1.0), range[1].unwrap_or(4.0 * mixture.beta * scale)];
        let values = log_spaced(from, to.max(2.0 * from), betas);
        let sweep: Vec<Landscape> =
            values.iter().map(|&value| minima(mixture, value / scale, scale)).collect();
        let one = sweep.iter().rposition(|at| at.minima == 1);
        let merged = one.map(|i| match sweep.get(i + 1) {
            Some(above) => bisect(mixture, [sweep[i].beta, above.beta], scale),
            None => sweep[i].beta,
        });
        let in_use = mixture.in_use();
        #[allow(clippy::cast_sign_loss, reason = "at least two")]
        let thresholds = Thresholds::of((in_use.round() as usize).max(2));
        let [b1, b2, b3] = thresholds.map_or([f64::NAN; 3], |t| [t.b1, t.b2, t.b3]);
        let learned = minima(mixture, mixture.beta, scale);
        let patterns = mixture.weights.len();
        Self { patterns, in_use, distance_squared, learned, merged, b1, b2, b3, sweep }
    }

    /// Inverse temperatures worth a look: below the one at which all minima have become one, between
    /// it and the learned one, that one, and above it.
    pub(crate) fn worth_a_look(&self) -> Vec<f64> {
        let learned = self.learned.beta;
        let merged = self.merged.unwrap_or(self.sweep[0].beta);
        vec![0.5 * merged, (merged * learned).sqrt(), learned, 4.0 * learned]
    }

    /// The lines of the sweep as CSV.
    pub(crate) fn csv(&self) -> String {
        let row = |at: &Landscape| {
            let Landscape { beta, beta_eff, minima, in_use, largest } = at;
            format!("{beta},{beta_eff},{minima},{in_use},{largest}")
        };
        csv("beta,beta_eff,minima,in_use,largest", self.sweep.iter().map(row))
    }

    /// Numbers of minima and the share of the largest one, over the inverse temperature.
    pub(crate) fn figure(&self, run: &str) -> Figure {
        let learned = format!("learned {:.2}", self.learned.beta);
        let merged = self.merged.map(|merged| (merged, format!("one {merged:.2}")));
        let marks: Vec<_> = merged.into_iter().chain([(self.learned.beta, learned)]).collect();
        let line = |name, colour, y: fn(&Landscape) -> f64| {
            let points = self.sweep.iter().map(|at| Point { x: at.beta, y: y(at), size: 1.0 });
            Series::new(name, colour, Mark::Line, points.collect::<Vec<_>>())
        };
        let panel = |title: &str, y, series| Panel {
            title: title.to_owned(),
            x: Scale::logarithmic("inverse temperature"),
            y,
            series,
            marks: marks.clone(),
            level: None,
            legend: Legend::Free,
        };
        let numbers = vec![
            line("minima", BLUE, |at| at.minima as f64),
            line("in use (exp. of the entropy)", VERMILION, |at| at.in_use),
        ];
        let share = Scale::linear("share of the weight").limits(0.0, 1.05);
        let panels = vec![
            panel("Minima that patterns lead to", Scale::logarithmic("number"), numbers),
            panel("The largest one", share, vec![line("largest", BLUE, |at| at.largest)]),
        ];
        Figure { title: format!("The prior of {run} at other temperatures"), columns: 2, panels }
    }
}

/// The largest inverse temperature with a single minimum, between one that has it and one that has
/// more.
fn bisect(mixture: &Mixture, [mut one, mut more]: [f64; 2], scale: f64) -> f64 {
    for _ in 0..BISECTIONS {
        let middle = (one * more).sqrt();
        let single = minima(mixture, middle, scale).minima == 1;
        (one, more) = if single { (middle, more) } else { (one, middle) };
    }
    one
}

fn minima(mixture: &Mixture, beta: f64, scale: f64) -> Landscape {
    let mixture = mixture.at(beta);
    let distance = (2.0 * scale).sqrt();
    let starts: Vec<usize> =
        (0..mixture.weights.len()).filter(|&i| mixture.weights[i] > LEAST).collect();
    let ends: Vec<Vec<f64>> = starts
        .par_iter()
        .map(|&i| mixture.minimum(mixture.pattern(i), TOLERANCE * distance, MAX_STEPS))
        .collect();
    let mut found: Vec<(&[f64], f64)> = Vec::new();
    for (&i, end) in starts.iter().zip(&ends) {
        let near = |other: &[f64]| {
            let square: f64 = other.iter().zip(end).map(|(a, b)| (a - b).powi(2)).sum();
            square.sqrt() < SAME * distance
        };
        match found.iter_mut().find(|(other, _)| near(other)) {
            Some((_, share)) => *share += mixture.weights[i],
            None => found.push((end, mixture.weights[i])),
        }
    }
    let total: f64 = found.iter().map(|(_, share)| share).sum();
    let shares = || found.iter().map(|(_, share)| share / total);
    Landscape {
        beta,
        beta_eff: beta * scale,
        minima: found.len(),
        in_use: shares().map(|share| -share * share.ln()).sum::<f64>().exp(),
        largest: shares().fold(0.0, f64::max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two equal patterns at -1 and 1: with equal weights the mean is the only minimum up to
    /// `beta = 1`, where tanh(beta z) = z gets further solutions.
    #[test]
    fn two_patterns_merge_at_one() {
        let mixture = Mixture::new(1, vec![-1.0, 1.0], vec![0.5, 0.5], 3.0).unwrap();
        let found = Temperatures::sweep(&mixture, 40, [None, None]);
        let merged = found.merged.unwrap();
        assert!((merged - 1.0).abs() < 2e-3, "{merged}");
        assert_eq!((found.learned.minima, found.patterns), (2, 2));
        assert!((found.learned.in_use - 2.0).abs() < 1e-9);
        assert_eq!(found.sweep[0].minima, 1);
        assert!((found.sweep[0].largest - 1.0).abs() < 1e-9);
    }
}
