//! The distribution of minima over a sweep of `beta`.

use std::sync::Mutex;

use anyhow::Result;
use burn::tensor::Tensor;
use hvae_model::modern::{Retrieval, Space};
use hvae_solver::{Outcome, Picard, StoppingRule, Termination};
use rayon::prelude::*;
use serde::Serialize;

use crate::transition::minima::group;
use crate::transition::patterns::PatternSet;
use crate::transition::starts::{Family, Starts};
use hvae_device::host::download;
use hvae_runtime::terminal::Progress;

/// Results at one `beta`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SweepPoint {
    /// Inverse temperature.
    pub(crate) beta: f64,
    /// `beta D^2 / 2`.
    pub(crate) beta_eff: f64,
    /// Number of distinct minima reached from all initial states.
    pub(crate) distinct: usize,
    pub(crate) families: Vec<FamilySummary>,
    /// The minima, in the order in which they were found.
    #[serde(skip)]
    pub(crate) minima: Vec<Minimum>,
}

/// Results of one family of initial states.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct FamilySummary {
    pub(crate) family: Family,
    /// Number of initial states.
    pub(crate) starts: usize,
    /// Number of these that reached the iteration limit before the tolerance.
    pub(crate) at_limit: usize,
    /// Number of these whose state became non-finite.
    pub(crate) not_finite: usize,
    /// Number of distinct minima reached.
    pub(crate) distinct: usize,
    /// Iterations, mean over the initial states.
    pub(crate) mean_iterations: f64,
    /// Iterations of the slowest.
    pub(crate) max_iterations: usize,
    /// Distance to the mean pattern, relative to that of a pattern.
    pub(crate) order: Range,
    /// Distance to the nearest pattern, median.
    pub(crate) to_nearest: f64,
    /// Entropy of the weights, mean.
    pub(crate) entropy: f64,
    pub(crate) energy: Range,
}

/// Minimum, median and maximum of a quantity.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Range {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Range {
    /// Of `values`; NaN if there are none.
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let last = values.len().saturating_sub(1);
        let [min, median, max] =
            [0, last / 2, last].map(|i| values.get(i).copied().unwrap_or(f64::NAN));
        Self { min, median, max }
    }
}

/// A minimum and how many initial states reached it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Minimum {
    /// Number of initial states that ended there, by family in the order of [`Family::ALL`].
    pub(crate) reached: [usize; 3],
    pub(crate) energy: f64,
    /// Distance to the mean pattern.
    pub(crate) to_mean: f64,
    /// Distance to the nearest pattern.
    pub(crate) to_nearest: f64,
    /// Index of that pattern.
    pub(crate) nearest: usize,
    /// Entropy of the weights.
    pub(crate) entropy: f64,
}

/// Settings of a sweep.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SweepSettings {
    pub(crate) rule: StoppingRule,
    /// States closer than this fraction of the distance between patterns are the same minimum.
    pub(crate) same: f64,
}

/// `count` values from `from` to `to`, evenly spaced in their logarithm.
pub(crate) fn log_spaced(from: f64, to: f64, count: usize) -> Vec<f64> {
    let last = count.saturating_sub(1).max(1) as f64;
    (0..count).map(|i| from * (to / from).powf(i as f64 / last)).collect()
}

/// Weights per batch, about: enough for fast products, little enough memory.
const BATCH: usize = 1_000_000;

/// Iterates from all initial states at every `beta_eff`, with several of these per batch and the
/// batches in parallel; a result depends only on its own `beta`.
///
/// # Errors
///
/// If a value of `beta` is out of range or the device cannot be read.
pub(crate) fn sweep(
    set: &PatternSet,
    starts: &Starts,
    effective: &[f64],
    settings: &SweepSettings,
) -> Result<Vec<SweepPoint>> {
    let retrieval = set.network.at(&[0.0], Space::Weights)?;
    let per_batch = (BATCH / (starts.families.len() * set.count())).clamp(1, effective.len());
    let progress = Mutex::new((Progress::start("sweep", effective.len(), 0), 0));
    let chunks: Vec<Result<Vec<SweepPoint>>> = effective
        .par_chunks(per_batch)
        .map(|chunk| {
            let points = batch(set, &retrieval, starts, chunk, settings)?;
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

fn batch(
    set: &PatternSet,
    retrieval: &Retrieval<'_>,
    starts: &Starts,
    effective: &[f64],
    settings: &SweepSettings,
) -> Result<Vec<SweepPoint>> {
    let count = starts.families.len();
    let betas = set.betas(effective);
    let column: Vec<f64> = betas.iter().flat_map(|&b| std::iter::repeat_n(b, count)).collect();
    let retrieval = retrieval.with_betas(&column)?;
    let overlaps = starts.overlaps.clone().repeat_dim(0, effective.len());
    let guess = retrieval.weights(overlaps);
    let solution = retrieval.solve(guess, &Picard, &settings.rule)?;
    let samples = Samples::read(set, solution.state.component(0).clone(), &column)?;
    Ok(effective
        .iter()
        .zip(&betas)
        .enumerate()
        .map(|(i, (&beta_eff, &beta))| {
            let rows = i * count..(i + 1) * count;
            let outcomes = &solution.outcomes[rows.clone()];
            let labels = &samples.labels(rows.clone(), outcomes, settings.same, set);
            let ends = Ends { first: rows.start, outcomes, labels, families: &starts.families };
            let minima = samples.minima(ends);
            let families = Family::ALL.into_iter();
            let families = families.filter_map(|f| samples.summary(f, ends, set)).collect();
            SweepPoint { beta, beta_eff, distinct: minima.len(), families, minima }
        })
        .collect())
}

/// The final states at one `beta`.
#[derive(Clone, Copy)]
struct Ends<'a> {
    /// Index of the first in its batch.
    first: usize,
    outcomes: &'a [Outcome],
    /// The minimum that each reached.
    labels: &'a [Option<usize>],
    families: &'a [Family],
}

/// Final states of a batch on the host.
struct Samples {
    centred: Vec<f32>,
    dimension: usize,
    values: Vec<Values>,
    nearest: Vec<usize>,
}

/// Scalars of a final state.
struct Values {
    energy: f64,
    to_mean: f64,
    to_nearest: f64,
    entropy: f64,
}

impl Samples {
    fn read(set: &PatternSet, weights: Tensor<2>, betas: &[f64]) -> Result<Self> {
        let readings = set.network.read(weights, betas)?;
        let columns =
            vec![readings.energy, readings.to_mean, readings.to_nearest, readings.entropy];
        let values = download(Tensor::cat(columns, 1))?;
        let values = values.chunks_exact(4).map(|v| Values {
            energy: v[0].into(),
            to_mean: v[1].into(),
            to_nearest: v[2].into(),
            entropy: v[3].into(),
        });
        let nearest = readings.nearest.into_data();
        let nearest = nearest.iter::<i64>().map(|i| usize::try_from(i).unwrap_or(0)).collect();
        let dimension = set.network.dimension();
        let centred = download(readings.centred)?;
        Ok(Self { centred, dimension, values: values.collect(), nearest })
    }

    /// The minimum that each state reached; `None` for those that did not converge.
    fn labels(
        &self,
        rows: std::ops::Range<usize>,
        outcomes: &[Outcome],
        same: f64,
        set: &PatternSet,
    ) -> Vec<Option<usize>> {
        let converged = |i: &usize| outcomes[*i].termination == Termination::Converged;
        let kept: Vec<usize> = (0..rows.len()).filter(converged).collect();
        let states: Vec<f32> = kept
            .iter()
            .flat_map(|i| &self.centred[(rows.start + i) * self.dimension..][..self.dimension])
            .copied()
            .collect();
        let groups = group(&states, self.dimension, same * set.description.distance);
        let mut labels = vec![None; rows.len()];
        for (row, group) in kept.into_iter().zip(groups) {
            labels[row] = Some(group);
        }
        labels
    }

    /// The minima, each with the values of the first state that reached it.
    fn minima(&self, ends: Ends<'_>) -> Vec<Minimum> {
        let Ends { first, labels, families, .. } = ends;
        let mut minima: Vec<Minimum> = Vec::new();
        for (row, label) in labels.iter().enumerate() {
            let Some(label) = *label else { continue };
            if label == minima.len() {
                let Values { energy, to_mean, to_nearest, entropy } = self.values[first + row];
                let nearest = self.nearest[first + row];
                let reached = [0; 3];
                minima.push(Minimum { reached, energy, to_mean, to_nearest, nearest, entropy });
            }
            minima[label].reached[families[row] as usize] += 1;
        }
        minima
    }

    fn summary(&self, family: Family, ends: Ends<'_>, set: &PatternSet) -> Option<FamilySummary> {
        let Ends { first, outcomes, labels, families } = ends;
        let rows: Vec<usize> = (0..families.len()).filter(|&r| families[r] == family).collect();
        if rows.is_empty() {
            return None;
        }
        let ended = |t| rows.iter().filter(|&&r| outcomes[r].termination == t).count();
        let column = |pick: fn(&Values) -> f64| -> Vec<f64> {
            rows.iter().map(|&r| pick(&self.values[first + r])).collect()
        };
        let iterations = || rows.iter().map(|&r| outcomes[r].iterations);
        let mut reached: Vec<usize> = rows.iter().filter_map(|&r| labels[r]).collect();
        reached.sort_unstable();
        reached.dedup();
        Some(FamilySummary {
            family,
            starts: rows.len(),
            at_limit: ended(Termination::MaxIterations),
            not_finite: ended(Termination::NotFinite),
            distinct: reached.len(),
            mean_iterations: iterations().sum::<usize>() as f64 / rows.len() as f64,
            max_iterations: iterations().max().unwrap_or(0),
            order: Range::of(column(|v| v.to_mean).into_iter().map(|d| set.order(d)).collect()),
            to_nearest: Range::of(column(|v| v.to_nearest)).median,
            entropy: column(|v| v.entropy).iter().sum::<f64>() / rows.len() as f64,
            energy: Range::of(column(|v| v.energy)),
        })
    }
}
