//! The distribution of minima over a sweep of `beta`.

use std::sync::Mutex;

use anyhow::Result;
use burn::tensor::Tensor;
use hvae_model::modern::{Retrieval, Space};
use hvae_solver::{Outcome, Picard, StoppingRule, Termination};
use rayon::prelude::*;
use serde::Serialize;

use crate::transition::minima::group;
use crate::transition::set::PatternSet;
use crate::transition::starts::{Family, Starts};
use hvae_device::host::download;
use hvae_runtime::terminal::Progress;

/// All that is found at one `beta`.
#[derive(Debug, Clone, Serialize)]
pub struct Point {
    /// Inverse temperature.
    pub beta: f64,
    /// `beta D^2 / 2`.
    pub beta_eff: f64,
    /// Distinct minima that the starts of all families reached.
    pub distinct: usize,
    /// What each family of starts did.
    pub families: Vec<FamilySummary>,
    /// The minima, one after another as they were found.
    #[serde(skip)]
    pub minima: Vec<Minimum>,
}

/// What the starts of one family did.
#[derive(Debug, Clone, Serialize)]
pub struct FamilySummary {
    /// The family.
    pub family: Family,
    /// Number of starts.
    pub starts: usize,
    /// Starts that met the step limit before the tolerance.
    pub at_limit: usize,
    /// Starts whose numbers left the finite range.
    pub not_finite: usize,
    /// Distinct minima that it reached.
    pub distinct: usize,
    /// Updates, mean over the starts.
    pub mean_steps: f64,
    /// Updates of the slowest start.
    pub max_steps: usize,
    /// Distance to the mean pattern in units of a pattern's: least, median, largest.
    pub order: [f64; 3],
    /// Distance to the nearest pattern, median.
    pub to_nearest: f64,
    /// Entropy of the weights, mean.
    pub entropy: f64,
    /// Energy: least, median, largest.
    pub energy: [f64; 3],
}

/// A minimum and how many starts reached it.
#[derive(Debug, Clone, Serialize)]
pub struct Minimum {
    /// Starts of each family that ended there, in the order of [`Family::ALL`].
    pub reached: [usize; 3],
    /// Its energy.
    pub energy: f64,
    /// Its distance to the mean pattern.
    pub to_mean: f64,
    /// Its distance to the nearest pattern.
    pub to_nearest: f64,
    /// Which pattern that is.
    pub nearest: usize,
    /// Entropy of its weights.
    pub entropy: f64,
}

/// How to sweep.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// When a start has converged.
    pub rule: StoppingRule,
    /// States closer than this share of the distance between patterns are one minimum.
    pub same: f64,
}

/// About how many weights are iterated at once: enough for fast products, little enough memory.
const BATCH: usize = 1_000_000;

/// Iterates the starts at every `beta_eff`. Several of those share a batch, several batches the
/// processor; each result depends on its own `beta` alone.
///
/// # Errors
///
/// When a value of `beta` is out of range or the device cannot be read.
pub fn sweep(
    set: &PatternSet,
    starts: &Starts,
    effective: &[f64],
    settings: &Settings,
) -> Result<Vec<Point>> {
    let retrieval = set.network.at(&[0.0], Space::Weights)?;
    let together = (BATCH / (starts.families.len() * set.count())).clamp(1, effective.len());
    let progress = Mutex::new((Progress::start("sweep", effective.len(), 0), 0));
    let chunks: Vec<Result<Vec<Point>>> = effective
        .par_chunks(together)
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
    settings: &Settings,
) -> Result<Vec<Point>> {
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
            Point { beta, beta_eff, distinct: minima.len(), families, minima }
        })
        .collect())
}

/// How the starts of one `beta` ended.
#[derive(Clone, Copy)]
struct Ends<'a> {
    /// Where they stand in their batch.
    first: usize,
    outcomes: &'a [Outcome],
    /// The minimum at which each ended.
    labels: &'a [Option<usize>],
    families: &'a [Family],
}

/// Numbers of end states on the host.
struct Samples {
    centred: Vec<f32>,
    dimension: usize,
    /// Energy, distance to the mean, to the nearest pattern, entropy.
    values: Vec<[f64; 4]>,
    nearest: Vec<usize>,
}

impl Samples {
    fn read(set: &PatternSet, weights: Tensor<2>, betas: &[f64]) -> Result<Self> {
        let readings = set.network.read(weights, betas)?;
        let columns =
            vec![readings.energy, readings.to_mean, readings.to_nearest, readings.entropy];
        let values = download(Tensor::cat(columns, 1))?;
        let values = values.chunks_exact(4).map(|v| std::array::from_fn(|i| f64::from(v[i])));
        let nearest = readings.nearest.into_data();
        let nearest = nearest.iter::<i64>().map(|i| usize::try_from(i).unwrap_or(0)).collect();
        let dimension = set.network.dimension();
        let centred = download(readings.centred)?;
        Ok(Self { centred, dimension, values: values.collect(), nearest })
    }

    /// The minimum at which each start ended; `None` for those that did not converge.
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

    /// The minima, with what the first start that reached each shows.
    fn minima(&self, ends: Ends<'_>) -> Vec<Minimum> {
        let Ends { first, labels, families, .. } = ends;
        let mut minima: Vec<Minimum> = Vec::new();
        for (row, label) in labels.iter().enumerate() {
            let Some(label) = *label else { continue };
            if label == minima.len() {
                let [energy, to_mean, to_nearest, entropy] = self.values[first + row];
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
        let column = |k: usize| rows.iter().map(|&r| self.values[first + r][k]).collect::<Vec<_>>();
        let steps = || rows.iter().map(|&r| outcomes[r].steps);
        let mut reached: Vec<usize> = rows.iter().filter_map(|&r| labels[r]).collect();
        reached.sort_unstable();
        reached.dedup();
        Some(FamilySummary {
            family,
            starts: rows.len(),
            at_limit: ended(Termination::StepLimit),
            not_finite: ended(Termination::NotFinite),
            distinct: reached.len(),
            mean_steps: steps().sum::<usize>() as f64 / rows.len() as f64,
            max_steps: steps().max().unwrap_or(0),
            order: spread(column(1)).map(|d| set.order(d)),
            to_nearest: spread(column(2))[1],
            entropy: column(3).iter().sum::<f64>() / rows.len() as f64,
            energy: spread(column(0)),
        })
    }
}

/// Least, median and largest.
fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    [0, last / 2, last].map(|i| values.get(i).copied().unwrap_or(f64::NAN))
}
