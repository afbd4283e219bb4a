//! Measurements of a row of the table on trained networks.

use std::time::Instant;

use anyhow::Result;
use burn::tensor::Tensor;
use hvae_model::chn_ham::{Dynamics, Form, LayeredNetwork, Order};
use hvae_solver::{Anderson, Picard, Safeguard};

use crate::converge::count::{SampleCount, count, residual_curves};
use crate::converge::paper;
use crate::converge::paper::Row;
use crate::converge::plots;
use crate::converge::results::{Curve, SeedResult};
use hvae_data::images::Images;
use hvae_runtime::interrupt;
use hvae_runtime::terminal::Progress;

/// Images per batch.
const BATCH: usize = 500;
/// Test images whose residuals are averaged into a curve.
const CURVE_IMAGES: usize = 256;
/// Length of a curve relative to the mean number of iterations.
const CURVE_LENGTH: f64 = 2.0;

/// The dynamics of a row on a batch of images.
///
/// # Errors
///
/// If the images do not fit the network.
pub(super) fn dynamics<'n>(
    network: &'n LayeredNetwork,
    row: &Row,
    images: Tensor<2>,
) -> Result<Dynamics<'n>> {
    let order = if row.solver.is_even_odd() {
        Order::EvenOdd { inner: paper::INNER }
    } else {
        Order::Synchronous
    };
    let dynamics = Dynamics::new(network, images, order)?;
    Ok(if row.form == Form::Chn { dynamics.damped(paper::DAMPING)? } else { dynamics })
}

/// Anderson acceleration as in the paper.
///
/// # Errors
///
/// If its settings are out of range.
pub(super) fn paper_anderson() -> Result<Anderson> {
    let anderson = Anderson::new(paper::MEMORY)?.with_ridge(paper::RIDGE)?;
    Ok(anderson.with_safeguard(Safeguard::Distance))
}

/// Counts the iterations of a row on the test images; `None` if interrupted.
///
/// # Errors
///
/// If the device cannot be read.
pub(crate) fn iterations(
    network: &LayeredNetwork,
    row: &Row,
    seed: u64,
    test: &Images,
) -> Result<Option<SeedResult>> {
    let limit = paper::limit(row.layers, row.form, row.solver);
    let (mut counts, mut default): (Vec<SampleCount>, Vec<SampleCount>) = Default::default();
    let mut seconds = 0.0;
    let mut progress = Progress::start(row.name, test.len(), 0);
    for images in test.batches(BATCH) {
        let started = Instant::now();
        let dynamics = dynamics(network, row, images)?;
        if row.solver.is_accelerated() {
            counts.extend(count(&dynamics, &paper_anderson()?, limit, paper::TOLERANCE)?);
            seconds += started.elapsed().as_secs_f64();
            let anderson = Anderson::new(paper::MEMORY)?;
            default.extend(count(&dynamics, &anderson, limit, paper::TOLERANCE)?);
        } else {
            counts.extend(count(&dynamics, &Picard, limit, paper::TOLERANCE)?);
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
    let correct = counts.iter().zip(labels).filter(|(c, l)| c.class == usize::from(**l)).count();
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

/// Mean residuals of a row against iterations, to a multiple of `mean_iterations`.
///
/// # Errors
///
/// If the device cannot be read.
pub(crate) fn curve(
    network: &LayeredNetwork,
    row: &Row,
    mean_iterations: f64,
    test: &Images,
) -> Result<Curve> {
    let rows: Vec<usize> = (0..CURVE_IMAGES.min(test.len())).collect();
    let dynamics = dynamics(network, row, test.select(&rows))?;
    let limit = paper::limit(row.layers, row.form, row.solver) - 1;
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
