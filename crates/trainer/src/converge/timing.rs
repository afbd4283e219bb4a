//! Time to the tolerance, for comparison with other programs on the same weights and pixels.
//!
//! ```text
//! <out>/timing/<layers>.json   one entry for each row and batch size
//! <out>/timing/<layers>.npz    `images`, and `<row>.<batch>`: the outputs found
//! ```

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use burn::module::Param;
use burn::tensor::Tensor;
use hvae_model::chn_ham::{LayeredNetwork, Dynamics};
use hvae_solver::{Anderson, Picard, Solution, StoppingRule, solve_in_parts};
use rayon::prelude::*;
use serde::Serialize;

use crate::converge::paper;
use crate::converge::paper::Row;
use hvae_data::images::Images;
use hvae_device::host::download;
use hvae_runtime::files;
use hvae_runtime::npz;
use hvae_runtime::npz::Array;

/// Batch sizes.
pub const BATCHES: [usize; 2] = [64, 1024];

/// Iterations between two looks at the residuals. A look, and parting with the samples that have
/// converged, pass over all states several times; an even-odd iteration is worth about two others.
pub fn check_every(row: &Row) -> usize {
    if row.solver.is_even_odd() { 2 } else { 4 }
}

/// The tolerance of the paper, at the row's limit.
///
/// # Errors
///
/// None: the limits are the paper's.
pub fn rule(row: &Row) -> Result<StoppingRule> {
    let limit = paper::limit(row.layers, row.form, row.solver);
    Ok(StoppingRule::new(paper::TOLERANCE, limit)?.with_check_every(check_every(row))?)
}

/// One row at one batch size.
#[derive(Debug, Clone, Serialize)]
pub struct Timing {
    /// Which row: `HAM-EO-DEQ` and the like.
    pub row: String,
    /// Samples.
    pub batch: usize,
    /// Seconds from pixels to outputs, median over the rounds.
    pub seconds: f64,
    /// Applications of the map until the last sample ended.
    pub steps: usize,
    /// The same per sample.
    pub mean_steps: f64,
    /// Iterations at most.
    pub limit: usize,
    /// Iterations between two looks at the residuals.
    pub check_every: usize,
    /// Seconds of the matrix products alone, as a part of `seconds`.
    pub products: f64,
    /// File of the weights, under the folder of the run.
    pub weights: String,
}

/// Times `rounds` solves of the first `batch` test images, after one that is not timed; with the
/// outputs found.
///
/// # Errors
///
/// When a setting is out of range or the device cannot be read.
pub fn time<'n>(
    dynamics: impl Fn(Tensor<2>) -> Result<Dynamics<'n>>,
    anderson: Option<Anderson>,
    images: &Tensor<2>,
    rule: &StoppingRule,
    rounds: u16,
) -> Result<(f64, Solution, Vec<f32>)> {
    let once = || {
        let dynamics = dynamics(images.clone())?;
        let (start, part) = (dynamics.start(), dynamics.part_size());
        let solution = match anderson {
            Some(anderson) => solve_in_parts(dynamics.clone(), start, &anderson, rule, part)?,
            None => solve_in_parts(dynamics.clone(), start, &Picard, rule, part)?,
        };
        let outputs = dynamics.layers(&solution.state).pop().expect("a network has layers");
        Ok::<_, anyhow::Error>((solution, download(outputs)?))
    };
    let (solution, outputs) = once()?;
    let mut seconds = Vec::new();
    for _ in 0..rounds {
        let started = Instant::now();
        once()?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok((seconds[seconds.len() / 2], solution, outputs))
}

/// Seconds of the matrix products of that solve, in the same parts of `part` samples: of the pixels
/// once, and of every coupling in both directions for the samples that were still in their part.
pub fn products(network: &LayeredNetwork, images: &Tensor<2>, solution: &Solution, part: usize) -> f64 {
    let up: Vec<Tensor<2>> = network.weights[1..].iter().map(Param::val).collect();
    let down = up.iter().map(|w| Tensor::from_data(w.clone().transpose().into_data(), &w.device()));
    let pairs: Vec<_> = up.iter().cloned().zip(down).collect();
    let samples = solution.outcomes.len();
    let size = if part == 0 { samples } else { samples.div_ceil(samples.div_ceil(part)) };
    let ones = |units: usize| Tensor::<2>::ones([size, units], &images.device());
    let layers: Vec<Tensor<2>> = network.biases.iter().map(|b| ones(b.dims()[0])).collect();
    let started = Instant::now();
    let _ = images.clone().matmul(network.weights[0].val());
    solution.outcomes.par_chunks(size.max(1)).for_each(|outcomes| {
        let last = outcomes.iter().map(|o| o.steps).max().unwrap_or(0);
        for step in 1..=last {
            let active = outcomes.iter().filter(|o| o.steps >= step).count();
            for ((up, down), layers) in pairs.iter().zip(layers.windows(2)) {
                let rows = |k: usize| layers[k].clone().narrow(0, 0, active);
                let _ = rows(0).matmul(up.clone());
                let _ = rows(1).matmul(down.clone());
            }
        }
    });
    started.elapsed().as_secs_f64()
}

/// Writes the timings of a network, with the images and the outputs that were found.
///
/// # Errors
///
/// When a file cannot be written.
pub fn write(
    out: &Path,
    layers: u8,
    timings: &[Timing],
    images: &Images,
    outputs: &[Vec<f32>],
) -> Result<()> {
    let folder = out.join("timing");
    let json = serde_json::to_string_pretty(timings)? + "\n";
    let path = folder.join(format!("{layers}.json"));
    files::write(&path, &json)?;
    let rows: Vec<usize> = (0..BATCHES[1].min(images.len())).collect();
    let pixels = download(images.select(&rows))?;
    let names: Vec<String> = timings.iter().map(|t| format!("{}.{}", t.row, t.batch)).collect();
    let shape = vec![rows.len(), images.set().pixels()];
    let mut arrays = vec![("images", Array::F32 { shape, values: &pixels })];
    for ((name, timing), values) in names.iter().zip(timings).zip(outputs) {
        let shape = vec![timing.batch, values.len() / timing.batch];
        arrays.push((name, Array::F32 { shape, values }));
    }
    npz::save(&folder.join(format!("{layers}.npz")), &arrays)
}
