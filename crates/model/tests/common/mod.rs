//! What the tests of this crate share.
#![allow(dead_code, reason = "each test binary uses a part")]

pub(crate) mod vae;

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use hvae_model::{
    Activation, Coupling, CouplingSpec, HopfieldNetwork, Interaction, LayerId, LayerSpec,
    ModelError,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(crate) fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// Uniform in `[low, high)`.
pub(crate) fn uniform(
    shape: [usize; 2],
    low: f32,
    high: f32,
    seed: u64,
    device: &Device,
) -> Tensor<2> {
    let mut rng = rng(seed);
    let values: Vec<f32> = (0..shape[0] * shape[1]).map(|_| rng.random_range(low..high)).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

pub(crate) fn layer(name: &str, size: usize, activation: Activation, gain: f64) -> LayerSpec {
    LayerSpec::new(name, size, activation).with_gain(gain)
}

/// Each layer coupled with the next.
pub(crate) fn chain_of(
    layers: Vec<LayerSpec>,
    rng: &mut ChaCha8Rng,
    device: &Device,
) -> Result<HopfieldNetwork, ModelError> {
    let couplings = CouplingSpec::chain(layers.len());
    HopfieldNetwork::new(layers, &couplings, rng, device)
}

/// A coupling of all units for each pair of layers, within a layer for a pair of equal numbers.
pub(crate) fn pairs(pairs: &[(usize, usize)]) -> Vec<CouplingSpec> {
    let one = |&(k, l): &(usize, usize)| match [k, l].map(LayerId) {
        [k, l] if k == l => CouplingSpec::within(k),
        [k, l] => CouplingSpec::dense(k, l),
    };
    pairs.iter().map(one).collect()
}

/// The matrix of a coupling.
pub(crate) fn matrix(coupling: &Coupling) -> &Param<Tensor<2>> {
    match &coupling.interaction {
        Interaction::Dense(dense) => &dense.weight,
        Interaction::Within(within) | Interaction::Banded(within) => &within.weight,
    }
}

pub(crate) fn matrix_mut(coupling: &mut Coupling) -> &mut Param<Tensor<2>> {
    match &mut coupling.interaction {
        Interaction::Dense(dense) => &mut dense.weight,
        Interaction::Within(within) | Interaction::Banded(within) => &mut within.weight,
    }
}

/// Multiplies every weight by `factor`: the default initialisation couples weakly.
pub(crate) fn strengthen(network: &mut HopfieldNetwork, factor: f64) {
    for coupling in &mut network.couplings {
        let weight = matrix(coupling).val();
        let device = weight.device();
        // A parameter on an autodiff device must be a leaf of the graph, so by way of the host.
        let scaled = weight.mul_scalar(factor).into_data();
        *matrix_mut(coupling) = Param::from_tensor(Tensor::from_data(scaled, &device));
    }
}

pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    let values: Vec<f32> = tensor.into_data().try_to_vec().unwrap();
    values.into_iter().map(f64::from).collect()
}

/// Cosine of the angle between two tensors, and the ratio of their norms.
pub(crate) fn compare(estimate: &[f64], exact: &[f64]) -> (f64, f64) {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (e, x) = (dot(estimate, estimate).sqrt(), dot(exact, exact).sqrt());
    assert!(x > 0.0, "the exact gradient is zero");
    (dot(estimate, exact) / (e * x), e / x)
}

/// Relative distance of two vectors.
pub(crate) fn distance(estimate: &[f64], exact: &[f64]) -> f64 {
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    norm(&mut estimate.iter().zip(exact).map(|(a, b)| a - b)) / norm(&mut exact.iter().copied())
}

/// The largest singular value, by a long power iteration in double precision.
pub(crate) fn spectral_norm(w: &Tensor<2>) -> f64 {
    let [rows, columns] = w.dims();
    let values = host(w.clone());
    let mut v: Vec<f64> = (0..columns).map(|i| 1.0 + (i as f64 * 0.7).cos()).collect();
    let mut norm = 0.0;
    for _ in 0..2_000 {
        let image: Vec<f64> =
            (0..rows).map(|i| (0..columns).map(|j| values[i * columns + j] * v[j]).sum()).collect();
        let back: Vec<f64> = (0..columns)
            .map(|j| (0..rows).map(|i| values[i * columns + j] * image[i]).sum())
            .collect();
        let length = back.iter().map(|x: &f64| x * x).sum::<f64>().sqrt();
        norm = length.sqrt();
        v = back.iter().map(|x| x / length).collect();
    }
    norm
}
