//! How fast a small deviation from a fixed point grows: stability as the updates show it.

use anyhow::Result;
use burn::tensor::Tensor;
use hvae_model::modern::{ModernHopfield, Space};

use crate::transition::starts::directions;
use hvae_device::host::{download, upload};

/// Largest change of `beta <x_i, xi>` that a deviation makes: small enough for the map to be
/// linear, large enough for f32.
const SMALL: f64 = 0.02;

/// The factor by which a small deviation from each of `states` `[B, d]` grows in an update, after
/// `steps` of them, measured on the updates themselves:
///
/// ```text
/// v <- [ f(xi + v) - f(xi - v) ] / 2,  scaled back to its first length
/// ```
///
/// The difference cancels what is quadratic in `v`, and the residual of the fixed point.
///
/// # Errors
///
/// When `betas` and `states` do not fit each other, or the device cannot be read.
pub fn growth(
    network: &ModernHopfield,
    states: &Tensor<2>,
    betas: &[f64],
    steps: usize,
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
    let mut deviation =
        upload(directions(betas.len(), dimension, 1.0, seed, 7), dimension, &device)
            * lengths.clone();
    let mut factor = lengths.zeros_like();
    for _ in 0..steps {
        let both = vec![states.clone() + deviation.clone(), states.clone() - deviation];
        let image = retrieval.update(Tensor::cat(both, 0));
        let rows = betas.len();
        let apart = (image.clone().narrow(0, 0, rows) - image.narrow(0, rows, rows)) * 0.5;
        let length = apart.clone().square().sum_dim(1).sqrt();
        factor = length.clone() / lengths.clone();
        deviation = apart * (lengths.clone() / length.clamp_min(f32::MIN_POSITIVE));
    }
    Ok(download(factor)?.into_iter().map(f64::from).collect())
}
