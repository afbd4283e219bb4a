//! Time to the tolerance, for comparison with other implementations on the same weights and pixels.
//!
//! ```text
//! <out>/timing/<layers>.json   one entry per row and batch size
//! <out>/timing/<layers>.npz    `images`, and the outputs as `<row>.<batch>`
//! ```

use std::{collections::BTreeMap, path::Path, time::Instant};

use anyhow::Result;
use burn::{module::Param, tensor::Tensor};
use hvae_data::images::Images;
use hvae_device::download;
use hvae_model::chn_ham::LayeredNetwork;
use hvae_runtime::npz::{self, Array};
use hvae_runtime::{files, terminal};
use hvae_solver::{Picard, Solution, StoppingRule, solve_in_parts};
use rayon::prelude::*;
use serde::Serialize;

use crate::converge::measure::{TrainedRow, paper_anderson};
use crate::converge::paper::{self, Row};

const BATCHES: [usize; 2] = [64, 1024];

/// Iterations between convergence checks. A check, and removing converged samples, pass over all
/// states several times; an even-odd iteration costs about two synchronous ones.
fn check_every(row: &Row) -> usize {
    if row.solver.is_even_odd() { 2 } else { 4 }
}

/// One row at one batch size.
#[derive(Debug, Clone, Serialize)]
struct Timing {
    /// Energy and solver, such as `HAM-EO-DEQ`.
    row: String,
    batch: usize,
    /// Seconds from pixels to outputs, median over the rounds.
    seconds: f64,
    /// Iterations until the last sample ended.
    iterations: usize,
    mean_iterations: f64,
    limit: usize,
    check_every: usize,
    /// Fraction of `seconds` spent in matrix products.
    products: f64,
    weights: String,
}

/// The timings of a run with the outputs of each, by number of layers.
#[derive(Debug, Default)]
pub(crate) struct Timings(BTreeMap<u8, Vec<(Timing, Vec<f32>)>>);

impl Timings {
    /// Times `row` on the first test images, `rounds` times at each batch size; once for each
    /// energy and solver. `weights` is the file of the network.
    pub(crate) fn add(
        &mut self,
        trained: &TrainedRow<'_>,
        test: &Images,
        rounds: u16,
        weights: &Path,
    ) -> Result<()> {
        let (network, row, limit) = (trained.network, trained.row, trained.limit());
        let known = self.0.entry(row.layers).or_default();
        if known.iter().any(|(timing, _)| timing.row == row.kind()) {
            return Ok(());
        }
        let rule =
            StoppingRule::new(paper::TOLERANCE, limit)?.with_check_every(check_every(row))?;
        for batch in BATCHES.into_iter().filter(|b| *b <= test.len()) {
            let images = test.select(&(0..batch).collect::<Vec<_>>());
            // The first solve is not timed.
            let (solution, outputs) = solve(trained, &images, &rule)?;
            let mut seconds = Vec::new();
            for _ in 0..rounds {
                let started = Instant::now();
                solve(trained, &images, &rule)?;
                seconds.push(started.elapsed().as_secs_f64());
            }
            seconds.sort_by(f64::total_cmp);
            let seconds = seconds[seconds.len() / 2];
            let part = trained.dynamics(images.clone())?.part_size();
            let timing = Timing {
                row: row.kind(),
                batch,
                seconds,
                iterations: solution.iterations,
                mean_iterations: solution.mean_iterations(),
                limit,
                check_every: check_every(row),
                products: products(network, &images, &solution, part) / seconds,
                weights: weights.display().to_string(),
            };
            known.push((timing, outputs));
        }
        Ok(())
    }

    /// Writes the timings with images and outputs into the folder `out`, and prints them.
    pub(crate) fn write(&self, out: &Path, test: &Images) -> Result<()> {
        for (layers, timed) in &self.0 {
            write(timed, &out.join("timing"), *layers, test)?;
            terminal::result(&table(timed, *layers));
        }
        Ok(())
    }
}

/// The equilibrium of a batch of images, and its outputs.
fn solve(
    trained: &TrainedRow<'_>,
    images: &Tensor<2>,
    rule: &StoppingRule,
) -> Result<(Solution, Vec<f32>)> {
    let dynamics = trained.dynamics(images.clone())?;
    let (start, part) = (dynamics.start(), dynamics.part_size());
    let solution = if trained.row.solver.is_accelerated() {
        solve_in_parts(dynamics.clone(), start, &paper_anderson()?, rule, part)?
    } else {
        solve_in_parts(dynamics.clone(), start, &Picard, rule, part)?
    };
    let outputs = dynamics.layers(&solution.state).pop().expect("a network has layers");
    Ok((solution, download(outputs)?))
}

/// Seconds of the matrix products of a solve in parts of `part` samples: of the pixels once, and
/// per iteration of every coupling in both directions for the samples that have not converged.
fn products(network: &LayeredNetwork, images: &Tensor<2>, solution: &Solution, part: usize) -> f64 {
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
        let last = outcomes.iter().map(|o| o.iterations).max().unwrap_or(0);
        for iteration in 1..=last {
            let active = outcomes.iter().filter(|o| o.iterations >= iteration).count();
            for ((up, down), layers) in pairs.iter().zip(layers.windows(2)) {
                let rows = |k: usize| layers[k].clone().narrow(0, 0, active);
                let _ = rows(0).matmul(up.clone());
                let _ = rows(1).matmul(down.clone());
            }
        }
    });
    started.elapsed().as_secs_f64()
}

fn write(timed: &[(Timing, Vec<f32>)], folder: &Path, layers: u8, images: &Images) -> Result<()> {
    let timings: Vec<&Timing> = timed.iter().map(|(timing, _)| timing).collect();
    let json = serde_json::to_string_pretty(&timings)? + "\n";
    files::write(&folder.join(format!("{layers}.json")), &json)?;
    let rows: Vec<usize> = (0..BATCHES[1].min(images.len())).collect();
    let pixels = download(images.select(&rows))?;
    let names: Vec<String> = timings.iter().map(|t| format!("{}.{}", t.row, t.batch)).collect();
    let shape = vec![rows.len(), images.set().pixels()];
    let mut arrays = vec![("images", Array::F32(shape, &pixels))];
    for (name, (timing, values)) in names.iter().zip(timed) {
        let shape = vec![timing.batch, values.len() / timing.batch];
        arrays.push((name, Array::F32(shape, values)));
    }
    npz::save(&folder.join(format!("{layers}.npz")), &arrays)
}

fn table(timed: &[(Timing, Vec<f32>)], layers: u8) -> String {
    let line = |(t, _): &(Timing, Vec<f32>)| {
        let Timing { row, batch, iterations, mean_iterations: mean, .. } = t;
        let (total, each) = (1e3 * t.seconds, 1e6 * t.seconds / *batch as f64);
        let products = 100.0 * t.products;
        format!(
            "\n  {row:<11} batch {batch:>4}: {total:>8.2} ms, {each:>7.1} us per sample, \
             {iterations:>3} iterations ({mean:.1} per sample), {products:.0}% in matrix products"
        )
    };
    format!("{layers} layers, time to the tolerance:") + &timed.iter().map(line).collect::<String>()
}
