//! Stability as measured: how fast a small perturbation of a fixed point grows.

use anyhow::Result;
use burn::tensor::Tensor;
use hvae_model::modern::{ModernHopfield, Space};

use crate::transition::starts::directions;
use hvae_device::host::{download, upload};

/// Largest change of `beta <x_i, xi>` that a perturbation causes: small enough for the map to be
/// linear, large enough for f32.
const SMALL: f64 = 0.02;

/// The growth per iteration of a small perturbation of each of `states` `[B, d]`, after
/// `iterations` of
///
/// ```text
/// v <- [ f(xi + v) - f(xi - v) ] / 2,  rescaled to its initial length
/// ```
///
/// The difference cancels terms quadratic in `v` and the residual of the fixed point.
///
/// # Errors
///
/// If `betas` and `states` differ in length, or the device cannot be read.
pub(super) fn growth(
    network: &ModernHopfield,
    states: &Tensor<2>,
    betas: &[f64],
    iterations: usize,
    seed: u64,
) -> Result<Vec<f64>> {
    let (device, dimension) = (network.device(), network.dimension());
    let doubled: Vec<f64> = betas.iter().chain(betas).copied().collect();
    let retrieval = network.at(&doubled, Space::States)?;
    let centred = network.patterns() - network.mean();
    let norms = download(centred.square().sum_dim(1))?;
    let radius = f64::from(norms.into_iter().fold(0.0, f32::max)).sqrt();
    let lengths: Vec<f32> =
        betas.iter().map(|b| (SMALL / (b * radius).max(SMALL)) as f32).collect();
    let lengths = upload(lengths, 1, &device);
    let mut perturbation =
        upload(directions(betas.len(), dimension, 1.0, seed, 7), dimension, &device)
            * lengths.clone();
    let mut factor = lengths.zeros_like();
    for _ in 0..iterations {
        let both = vec![states.clone() + perturbation.clone(), states.clone() - perturbation];
        let image = retrieval.update(Tensor::cat(both, 0));
        let rows = betas.len();
        let difference = (image.clone().narrow(0, 0, rows) - image.narrow(0, rows, rows)) * 0.5;
        let length = difference.clone().square().sum_dim(1).sqrt();
        factor = length.clone() / lengths.clone();
        perturbation = difference * (lengths.clone() / length.clamp_min(f32::MIN_POSITIVE));
    }
    Ok(download(factor)?.into_iter().map(f64::from).collect())
}
