//! Iterations of a row of the table on trained networks, counted as in the paper, and residuals.

use std::time::Instant;

use anyhow::Result;
use burn::tensor::{Int, Tensor, TensorData};
use hvae_data::images::Images;
use hvae_device::download;
use hvae_model::chn_ham::{Dynamics, Form, LayeredNetwork};
use hvae_runtime::{interrupt, terminal::Progress};
use hvae_solver::{Anderson, FixedPointMap, Memory, Method, Picard, Safeguard, State};

use crate::converge::paper::{self, Row};
use crate::converge::plots;
use crate::converge::results::{Curve, SeedResult};

const BATCH: usize = 500;
/// Test images whose residuals are averaged into a curve.
const CURVE_IMAGES: usize = 256;
/// Length of a curve relative to the mean number of iterations.
const CURVE_LENGTH: f64 = 2.0;

/// A row of the table on the network that was trained for it.
pub(crate) struct TrainedRow<'n> {
    pub(crate) network: &'n LayeredNetwork,
    pub(crate) row: &'n Row,
}

impl<'n> TrainedRow<'n> {
    /// Iteration limit.
    pub(super) fn limit(&self) -> usize {
        paper::limit(self.row.layers, self.row.form, self.row.solver)
    }

    /// The dynamics on a batch of images.
    pub(super) fn dynamics(&self, images: Tensor<2>) -> Result<Dynamics<'n>> {
        let dynamics = Dynamics::new(self.network, images, self.row.solver.order())?;
        let is_damped = self.row.form == Form::Chn;
        Ok(if is_damped { dynamics.damped(paper::DAMPING)? } else { dynamics })
    }

    /// Counts the iterations on the test images; `None` if interrupted.
    pub(crate) fn iterations(&self, seed: u64, test: &Images) -> Result<Option<SeedResult>> {
        let (row, limit) = (self.row, self.limit());
        let (mut counts, mut default): (Vec<SampleCount>, Vec<SampleCount>) = Default::default();
        let mut seconds = 0.0;
        let mut progress = Progress::start(row.name, test.len(), 0);
        for images in test.batches(BATCH) {
            let started = Instant::now();
            let dynamics = self.dynamics(images)?;
            if row.solver.is_accelerated() {
                counts.extend(count(&dynamics, &paper_anderson()?, limit)?);
                seconds += started.elapsed().as_secs_f64();
                let anderson = Anderson::new(paper::MEMORY)?;
                default.extend(count(&dynamics, &anderson, limit)?);
            } else {
                counts.extend(count(&dynamics, &Picard, limit)?);
                seconds += started.elapsed().as_secs_f64();
            }
            progress.update(counts.len(), String::new);
            if interrupt::requested() {
                return Ok(None);
            }
        }
        let mean =
            |c: &[SampleCount]| c.iter().map(|c| c.iterations as f64).sum::<f64>() / c.len() as f64;
        let percent = |hits: usize| 100.0 * hits as f64 / counts.len() as f64;
        let labels = test.set().labels();
        let correct =
            counts.iter().zip(labels).filter(|(c, l)| c.class == usize::from(**l)).count();
        Ok(Some(SeedResult {
            seed,
            iterations: mean(&counts),
            default_anderson: (!default.is_empty()).then(|| mean(&default)),
            max_iterations: counts.iter().map(|c| c.iterations).max().unwrap_or(0),
            converged: percent(counts.iter().filter(|c| c.converged).count()),
            accuracy: percent(correct),
            seconds,
        }))
    }

    /// Mean residuals against iterations, to a multiple of `mean_iterations`.
    pub(crate) fn curve(&self, mean_iterations: f64, test: &Images) -> Result<Curve> {
        let (row, limit) = (self.row, self.limit() - 1);
        let rows: Vec<usize> = (0..CURVE_IMAGES.min(test.len())).collect();
        let dynamics = self.dynamics(test.select(&rows))?;
        let within = |i: &usize| (*i as f64) < CURVE_LENGTH * mean_iterations;
        let length = (0..limit).take_while(within).count().clamp(2, limit);
        let residuals = if row.solver.is_accelerated() {
            residual_curves(&dynamics, &paper_anderson()?, length)?
        } else {
            residual_curves(&dynamics, &Picard, length)?
        };
        let geometric_mean = |values: &Vec<f64>| {
            // Some residuals are rounded to 0, which would dominate the mean.
            let logs = values.iter().map(|r| r.max(plots::FLOOR).ln());
            (logs.sum::<f64>() / values.len() as f64).exp()
        };
        let residuals = residuals.iter().map(geometric_mean).collect();
        Ok(Curve { layers: row.layers, name: row.name, residuals })
    }
}

pub(super) fn paper_anderson() -> Result<Anderson> {
    let anderson = Anderson::new(paper::MEMORY)?.with_ridge(paper::RIDGE)?;
    Ok(anderson.with_safeguard(Safeguard::Distance))
}

#[derive(Clone, Copy)]
struct SampleCount {
    /// Index, from 0, of the first residual `|f_(i+1) - f_i| / |f_(i+1)|` of successive outputs of
    /// the map that is below the tolerance; the number of residuals if none is.
    iterations: usize,
    /// Whether one is.
    converged: bool,
    class: usize,
}

/// Iterates `method` on `dynamics` from zero, with at most `limit` applications of the map.
/// Converged samples are removed from the batch.
fn count<M: Method>(dynamics: &Dynamics<'_>, method: &M, limit: usize) -> Result<Vec<SampleCount>> {
    let mut state = dynamics.start();
    let mut map = dynamics.clone();
    let mut memory = method.start(&map.measured(state.components().len()));
    let mut rows: Vec<usize> = (0..state.batch()).collect();
    let mut counted = vec![SampleCount { iterations: 0, converged: false, class: 0 }; rows.len()];
    let mut last: Option<State> = None;
    for application in 1..=limit {
        let image = map.apply(&state, application - 1);
        let ended: Vec<bool> = match &last {
            Some(last) => residuals(last, &image)?.iter().map(|r| *r < paper::TOLERANCE).collect(),
            None => vec![false; rows.len()],
        };
        let at_limit = application == limit;
        if at_limit || ended.contains(&true) {
            let classes = classes(&map, &image)?;
            for (row, (&sample, &ended)) in rows.iter().zip(&ended).enumerate() {
                if ended || at_limit {
                    let iterations = if ended { application - 2 } else { limit - 1 };
                    counted[sample] =
                        SampleCount { iterations, converged: ended, class: classes[row] };
                }
            }
        }
        if at_limit {
            break;
        }
        state = method.advance(state, image.clone(), &mut memory);
        last = Some(image);
        if ended.contains(&true) {
            let keep: Vec<usize> = (0..rows.len()).filter(|&r| !ended[r]).collect();
            if keep.is_empty() {
                break;
            }
            let index: Vec<i64> = keep.iter().map(|&row| row as i64).collect();
            let index = TensorData::new(index, [keep.len()]);
            let index = Tensor::<1, Int>::from_data(index, &state.component(0).device());
            state = state.select(&index);
            last = last.map(|s| s.select(&index));
            memory = memory.select(&index);
            map = map.select(&index);
            rows = keep.into_iter().map(|r| rows[r]).collect();
        }
    }
    Ok(counted)
}

/// The first `iterations` residuals of all samples: element `i` holds residual `i` of each sample.
fn residual_curves<M: Method>(
    dynamics: &Dynamics<'_>,
    method: &M,
    iterations: usize,
) -> Result<Vec<Vec<f64>>> {
    let mut state = dynamics.start();
    let mut memory = method.start(&dynamics.measured(state.components().len()));
    let mut last = dynamics.apply(&state, 0);
    state = method.advance(state, last.clone(), &mut memory);
    let mut curves = Vec::with_capacity(iterations);
    for iteration in 1..=iterations {
        let image = dynamics.apply(&state, iteration);
        curves.push(residuals(&last, &image)?);
        state = method.advance(state, image.clone(), &mut memory);
        last = image;
    }
    Ok(curves)
}

/// `|new - old| / |new|` of each sample.
fn residuals(old: &State, new: &State) -> Result<Vec<f64>> {
    let pairs = || old.components().iter().zip(new.components());
    let total = |parts: &mut dyn Iterator<Item = Tensor<2>>| parts.reduce(|a, b| a + b);
    let difference = total(&mut pairs().map(|(o, n)| (n.clone() - o.clone()).square().sum_dim(1)));
    let norm = total(&mut pairs().map(|(_, n)| n.clone().square().sum_dim(1)));
    let (Some(difference), Some(norm)) = (difference, norm) else { return Ok(Vec::new()) };
    let values = download(Tensor::cat(vec![difference, norm], 1))?;
    Ok(values.chunks_exact(2).map(|v| (f64::from(v[0]) / f64::from(v[1])).sqrt()).collect())
}

/// The class of each sample: that with the largest output.
fn classes(map: &Dynamics<'_>, state: &State) -> Result<Vec<usize>> {
    let outputs = map.layers(state).pop().expect("a network has layers");
    let width = outputs.dims()[1];
    Ok(download(outputs)?.chunks_exact(width).map(largest).collect())
}

pub(super) fn largest(values: &[f32]) -> usize {
    let best = values.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(class, _)| class)
}
