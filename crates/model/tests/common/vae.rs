//! A small VAE, whose equilibria are reached to rounding.

use burn::module::{Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use hvae_model::{
    Activation, EpConfig, HopfieldNetwork, Kind, Nudging, PhaseSettings, ReadPolicy, Shape, Vae,
    VaeConfig,
};

use super::{host, matrix, rng, strengthen, uniform};

pub(crate) const PIXELS: usize = 12;
pub(crate) const BATCH: usize = 8;

pub(crate) fn config(hidden: Activation, visible: Activation) -> VaeConfig {
    VaeConfig {
        kind: Kind::HVae,
        hidden: vec![10],
        latent: 3,
        hidden_activation: hidden.into(),
        visible_activation: visible,
        hidden_gain: 1.5,
        visible_gain: 2.0,
        latent_gain: 1.5,
        precision: 2.0,
        initial_log_variance: -1.0,
        image_amplitude: 2.0,
        latent_amplitude: 1.5,
        ..VaeConfig::default()
    }
}

/// How phases of these settings are run.
pub(crate) fn settings(ep: &EpConfig) -> PhaseSettings {
    PhaseSettings::new(ep, ReadPolicy::EveryStep).unwrap()
}

/// Phases long enough for f32 to be the only limit.
pub(crate) fn converged(nudge: f64, nudging: Nudging) -> EpConfig {
    EpConfig {
        nudging,
        nudge,
        tolerance: 0.0,
        nudged_tolerance: 0.0,
        free_sweeps: 150,
        nudged_sweeps: 150,
        ..EpConfig::default()
    }
}

pub(crate) fn model(config: &VaeConfig, device: &Device) -> Vae {
    let mut model = Vae::new(config, Shape::flat(PIXELS), &mut rng(7), device).unwrap();
    strengthen(&mut model.encoder, 1.3);
    if let Some(decoder) = &mut model.decoder {
        strengthen(decoder, 1.3);
    }
    if let Some(amplitudes) = &mut model.amplitudes {
        let factors = uniform([1, config.latent], 0.6, 1.6, 9, device);
        *amplitudes = Param::from_tensor(factors.squeeze_dim(0));
    }
    model
}

/// The parameters by name, in an order that both sides share.
pub(crate) fn parameters(
    model: &Vae,
) -> Vec<(String, ParamId, Option<Tensor<2>>, Option<Tensor<1>>)> {
    let mut all = Vec::new();
    for (side, network) in model.networks() {
        for (i, c) in network.couplings.iter().enumerate() {
            all.push((format!("{side} weight {i}"), c.id(), Some(matrix(c).val()), None));
        }
        for (i, l) in network.layers.iter().enumerate() {
            if let Some(bias) = &l.bias {
                all.push((format!("{side} bias {i}"), bias.id, None, Some(bias.val())));
            }
        }
    }
    if let Some(amplitudes) = &model.amplitudes {
        all.push(("amplitudes".to_owned(), amplitudes.id, None, Some(amplitudes.val())));
    }
    all
}

pub(crate) fn data() -> (Tensor<2>, Tensor<2>) {
    let device = Device::flex();
    (uniform([BATCH, PIXELS], 0.0, 1.0, 1, &device), uniform([BATCH, 3], -1.5, 1.5, 2, &device))
}

/// Gives couplings that are zero small weights, within a layer symmetric and for joined pairs only.
pub(crate) fn fill_empty(network: &mut HopfieldNetwork, size: f32, seed: &mut u64) {
    let mut filled = GradientsParams::new();
    for c in &network.couplings {
        if host(c.weights()).iter().all(|w| *w == 0.0) {
            *seed += 1;
            let w = uniform(matrix(c).dims(), -size, size, *seed, &Device::flex());
            filled.register(c.id(), if c.is_within() { w.clone() + w.transpose() } else { w });
        }
    }
    network.project(&mut filled);
    for c in &mut network.couplings {
        if let Some(w) = filled.remove::<2>(c.id()) {
            c.set_weights(w.flatten(0, 1));
        }
    }
}

/// The gradient of a parameter that [`parameters`] names, a weight or a bias.
pub(crate) fn gradient_of(gradients: &GradientsParams, id: ParamId, is_weight: bool) -> Vec<f64> {
    if is_weight {
        host(gradients.get::<2>(id).unwrap())
    } else {
        host(gradients.get::<1>(id).unwrap())
    }
}
