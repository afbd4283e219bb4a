//! The distribution of minima over a sweep of `beta`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Formatter};
use std::sync::Mutex;

use anyhow::Result;
use burn::tensor::Tensor;
use hvae_device::download;
use hvae_model::modern::{Retrieval, Space};
use hvae_runtime::terminal::Progress;
use hvae_solver::{Outcome, Picard, StoppingRule, Termination};
use rayon::prelude::*;
use serde::Serialize;

use crate::transition::patterns::PatternSet;
use crate::transition::starts::{Family, Starts};

/// Results at one `beta`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SweepPoint {
    pub(crate) beta: f64,
    /// `beta D^2 / 2`.
    pub(crate) beta_eff: f64,
    /// Number of distinct minima reached from all initial states.
    pub(crate) distinct: usize,
    pub(crate) families: Vec<FamilySummary>,
    /// In the order in which they were found.
    #[serde(skip)]
    pub(crate) minima: Vec<Minimum>,
}

impl SweepPoint {
    /// The results of one family, if it has initial states.
    pub(super) fn family(&self, family: Family) -> Option<&FamilySummary> {
        self.families.iter().find(|f| f.family == family)
    }
}

/// Results of one family of initial states.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct FamilySummary {
    pub(crate) family: Family,
    pub(crate) starts: usize,
    /// Number of these that reached the iteration limit before the tolerance.
    pub(crate) at_limit: usize,
    /// Number of these whose state became non-finite.
    pub(crate) not_finite: usize,
    pub(crate) distinct: usize,
    pub(crate) mean_iterations: f64,
    pub(crate) max_iterations: usize,
    /// Distance to the mean pattern, relative to that of a pattern.
    pub(crate) order: Range,
    /// Distance to the nearest pattern, median.
    pub(crate) to_nearest: f64,
    /// Entropy of the weights, mean.
    pub(crate) entropy: f64,
    pub(crate) energy: Range,
}

/// Minimum, median and maximum of a quantity. As text, separated by commas.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Range {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Range {
    /// Of `values`; NaN if there are none.
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let last = values.len().saturating_sub(1);
        let [min, median, max] =
            [0, last / 2, last].map(|i| values.get(i).copied().unwrap_or(f64::NAN));
        Self { min, median, max }
    }
}

impl Display for Range {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{},{},{}", self.min, self.median, self.max)
    }
}

/// A minimum and how many initial states reached it; the distances are to patterns.
#[derive(Debug, Clone)]
pub(crate) struct Minimum {
    reached: BTreeMap<Family, usize>,
    pub(crate) energy: f64,
    pub(crate) to_mean: f64,
    pub(crate) to_nearest: f64,
    pub(crate) nearest: usize,
    pub(crate) entropy: f64,
}

impl Minimum {
    /// Number of initial states of `family` that ended there.
    pub(super) fn reached(&self, family: Family) -> usize {
        self.reached.get(&family).copied().unwrap_or(0)
    }
}

/// `count` values from `from` to `to`, evenly spaced in their logarithm.
pub(crate) fn log_spaced(from: f64, to: f64, count: usize) -> Vec<f64> {
    let last = count.saturating_sub(1).max(1) as f64;
    (0..count).map(|i| from * (to / from).powf(i as f64 / last)).collect()
}

/// Weights per batch, about: enough for fast products, little enough memory.
const BATCH: usize = 1_000_000;

/// Iterations from `starts` over a range of `beta`.
pub(crate) struct Sweep<'a> {
    pub(crate) set: &'a PatternSet,
    pub(crate) starts: &'a Starts,
    pub(crate) rule: &'a StoppingRule,
    /// States closer than this fraction of the distance between patterns are the same minimum.
    pub(crate) same: f64,
}

impl Sweep<'_> {
    /// Iterates from all initial states at every `beta_eff`, with several of these per batch and the
    /// batches in parallel; a result depends only on its own `beta`.
    pub(crate) fn run(&self, effective: &[f64]) -> Result<Vec<SweepPoint>> {
        let Self { set, starts, .. } = self;
        let retrieval = set.network.at(&[0.0], Space::Weights)?;
        let per_batch = (BATCH / (starts.families.len() * set.count())).clamp(1, effective.len());
        let progress = Mutex::new((Progress::start("sweep", effective.len(), 0), 0));
        let chunks: Vec<Result<Vec<SweepPoint>>> = effective
            .par_chunks(per_batch)
            .map(|chunk| {
                let points = self.batch(&retrieval, chunk)?;
                if let Ok(mut guard) = progress.lock() {
                    guard.1 += chunk.len();
                    let done = guard.1;
                    guard.0.update(done, || format!("beta_eff {:.3}", chunk[0]));
                }
                Ok(points)
            })
            .collect();
        Ok(chunks.into_iter().collect::<Result<Vec<_>>>()?.concat())
    }

    fn batch(&self, retrieval: &Retrieval<'_>, effective: &[f64]) -> Result<Vec<SweepPoint>> {
        let Self { set, starts, rule, same } = *self;
        let count = starts.families.len();
        let betas = set.betas(effective);
        let column: Vec<f64> = betas.iter().flat_map(|&b| std::iter::repeat_n(b, count)).collect();
        let retrieval = retrieval.with_betas(&column)?;
        let overlaps = starts.overlaps.clone().repeat_dim(0, effective.len());
        let guess = retrieval.weights(overlaps);
        let solution = retrieval.solve(guess, &Picard, rule)?;
        let readings = set.network.read(solution.state.component(0).clone(), &column)?;
        let columns =
            vec![readings.energy, readings.to_mean, readings.to_nearest, readings.entropy];
        let values = download(Tensor::cat(columns, 1))?;
        let nearest = readings.nearest.into_data();
        let centred = download(readings.centred)?;
        let rows = values.chunks_exact(4).zip(nearest.iter::<i64>()).zip(&solution.outcomes);
        let mut ends: Vec<End> = rows
            .zip(starts.families.iter().cycle())
            .map(|(((values, nearest), outcome), &family)| End {
                family,
                outcome: *outcome,
                minimum: None,
                energy: values[0].into(),
                to_mean: values[1].into(),
                to_nearest: values[2].into(),
                entropy: values[3].into(),
                nearest: usize::try_from(nearest).unwrap_or(0),
            })
            .collect();
        let dimension = set.network.dimension();
        for (ends, states) in ends.chunks_mut(count).zip(centred.chunks(count * dimension)) {
            label(ends, states, dimension, same * set.description.distance);
        }
        let point = |((&beta_eff, &beta), ends): ((&f64, &f64), &[End])| {
            let minima = minima(ends);
            let families = Family::ALL.into_iter().filter_map(|f| summary(f, ends, set)).collect();
            SweepPoint { beta, beta_eff, distinct: minima.len(), families, minima }
        };
        Ok(effective.iter().zip(&betas).zip(ends.chunks(count)).map(point).collect())
    }
}

struct End {
    family: Family,
    outcome: Outcome,
    /// The minimum that it reached, if it converged.
    minimum: Option<usize>,
    energy: f64,
    to_mean: f64,
    to_nearest: f64,
    entropy: f64,
    nearest: usize,
}

/// Numbers the minima that the final states at one `beta` reached.
fn label(ends: &mut [End], states: &[f32], dimension: usize, tolerance: f64) {
    let rows = ends.iter_mut().zip(states.chunks(dimension));
    let converged = rows.filter(|(end, _)| end.outcome.termination == Termination::Converged);
    let (ends, states): (Vec<_>, Vec<_>) = converged.unzip();
    for (end, minimum) in ends.into_iter().zip(group(&states, tolerance)) {
        end.minimum = Some(minimum);
    }
}

/// The minima, each with the values of the first state that reached it.
fn minima(ends: &[End]) -> Vec<Minimum> {
    let mut minima: Vec<Minimum> = Vec::new();
    for end in ends {
        let Some(minimum) = end.minimum else { continue };
        if minimum == minima.len() {
            let End { energy, to_mean, to_nearest, nearest, entropy, .. } = *end;
            let reached = BTreeMap::new();
            minima.push(Minimum { reached, energy, to_mean, to_nearest, nearest, entropy });
        }
        *minima[minimum].reached.entry(end.family).or_default() += 1;
    }
    minima
}

fn summary(family: Family, ends: &[End], set: &PatternSet) -> Option<FamilySummary> {
    let own: Vec<&End> = ends.iter().filter(|end| end.family == family).collect();
    let starts = own.len();
    let ended = |t| own.iter().filter(|end| end.outcome.termination == t).count();
    let column = |pick: fn(&End) -> f64| own.iter().map(move |end| pick(end));
    let iterations = || own.iter().map(|end| end.outcome.iterations);
    let reached: BTreeSet<usize> = own.iter().filter_map(|end| end.minimum).collect();
    (starts > 0).then(|| FamilySummary {
        family,
        starts,
        at_limit: ended(Termination::MaxIterations),
        not_finite: ended(Termination::NotFinite),
        distinct: reached.len(),
        mean_iterations: iterations().sum::<usize>() as f64 / starts as f64,
        max_iterations: iterations().max().unwrap_or(0),
        order: Range::of(column(|end| end.to_mean).map(|distance| set.order(distance))),
        to_nearest: Range::of(column(|end| end.to_nearest)).median,
        entropy: column(|end| end.entropy).sum::<f64>() / starts as f64,
        energy: Range::of(column(|end| end.energy)),
    })
}

/// Components compared between two tests whether the distance already exceeds the tolerance.
const STRIDE: usize = 32;

/// Clusters states: a state joins the first cluster whose first member is closer than `tolerance`,
/// or else starts a new one. Returns the cluster of each state, numbered by first appearance.
pub(super) fn group(states: &[&[f32]], tolerance: f64) -> Vec<usize> {
    let limit = (tolerance * tolerance) as f32;
    let mut leaders: Vec<&[f32]> = Vec::new();
    let mut labels = Vec::new();
    for state in states {
        let found = leaders.iter().position(|leader| within(leader, state, limit));
        labels.push(found.unwrap_or(leaders.len()));
        if found.is_none() {
            leaders.push(state);
        }
    }
    labels
}

/// Whether `|a - b|^2 <= limit`; stops as soon as it is not.
fn within(a: &[f32], b: &[f32], limit: f32) -> bool {
    let mut sum = 0.0;
    for (a, b) in a.chunks(STRIDE).zip(b.chunks(STRIDE)) {
        sum += a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
        if sum > limit {
            return false;
        }
    }
    sum <= limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_states_are_one_minimum_and_far_ones_are_not() {
        let states: [&[f32]; 5] =
            [&[0.0, 0.0], &[1.0, 0.0], &[0.05, 0.0], &[1.0, 0.04], &[0.0, 1.0]];
        assert_eq!(group(&states, 0.1), [0, 1, 0, 1, 2]);
        assert_eq!(group(&states, 0.0), [0, 1, 2, 3, 4]);
        assert_eq!(group(&[states[0]; 3], 0.0), [0, 0, 0]);
        assert!(group(&[], 0.1).is_empty());
    }
}
