//! The states of a decoder that relaxes, sweep by sweep.

use anyhow::{Result, ensure};
use hvae_device::{download, upload};
use hvae_model::Kind;
use hvae_runtime::interrupt;
use hvae_runtime::rng::{self, Stream};
use hvae_runtime::terminal::Progress;
use hvae_solver::{State, StoppingRule};

use crate::api::trained::Trained;

/// How a decoder relaxes.
#[derive(Debug, Clone, Copy)]
pub struct Sweeps {
    /// Number of sweeps.
    pub count: usize,
    /// The fraction of the old state that every sweep keeps.
    pub damping: f64,
    /// Seed of the initial states, uniform in `[0, 1]`.
    pub seed: u64,
}

/// The states of a layer at the start and after every sweep.
#[derive(Debug)]
pub struct LayerStates {
    /// Name of the layer.
    pub name: String,
    /// Its number of units.
    pub units: usize,
    /// `[batch, units]` at the start, and after each sweep.
    pub states: Vec<Vec<f32>>,
}

/// Is given a layer's name, its units, and its states after a sweep.
type TakeStates<'a> = dyn FnMut(&str, usize, Vec<f32>) -> Result<()> + 'a;

impl Trained {
    /// Relaxes the decoder with `latents` clamped. The layers are those that relax, in their order.
    pub fn relax(&self, latents: Vec<f32>, sweeps: Sweeps) -> Result<Vec<LayerStates>> {
        let mut layers: Vec<LayerStates> = Vec::new();
        self.relax_layers(latents, sweeps, None, &mut |name, units, states| {
            match layers.iter_mut().find(|layer| layer.name == name) {
                Some(layer) => layer.states.push(states),
                None => {
                    layers.push(LayerStates { name: name.to_owned(), units, states: vec![states] });
                }
            }
            Ok(())
        })?;
        Ok(layers)
    }

    /// Relaxes the decoder with `latents` clamped, and gives the images at the start and after each
    /// sweep to `take`.
    pub(crate) fn relax_images(
        &self,
        latents: Vec<f32>,
        sweeps: Sweeps,
        mut take: impl FnMut(Vec<f32>) -> Result<()>,
    ) -> Result<()> {
        let images = Some(self.image_layer_name());
        self.relax_layers(latents, sweeps, images, &mut |_, _, states| take(states))
    }

    /// Gives name, units and states of each layer, or of the one called `only`, to `take`, at the
    /// start and after each sweep.
    fn relax_layers(
        &self,
        latents: Vec<f32>,
        sweeps: Sweeps,
        only: Option<&str>,
        take: &mut TakeStates<'_>,
    ) -> Result<()> {
        let Self { model, device, phases, .. } = self;
        ensure!(
            model.kind() != Kind::FVae,
            "an f-vae is a feedforward network: there is no relaxation to show"
        );
        let Sweeps { count, damping, seed } = sweeps;
        ensure!((0.0..1.0).contains(&damping), "damping = {damping}: must lie in [0, 1)");
        let relaxation = model.decoder_phase(upload(latents, model.latent(), device), phases)?;
        let guess = relaxation.guess();
        let start = guess.components().iter().zip(0..).map(|(component, index)| {
            let [rows, units] = component.dims();
            upload(rng::uniform(seed, Stream::Starts, index, rows * units), units, device)
        });
        let mut state = State::new(start.collect())?;
        let network = relaxation.network();
        let free = network.ids().filter(|&k| relaxation.layer_state(&state, k).is_some());
        let layers: Vec<_> = free.map(|k| network.spec(k)).collect();
        let mut give = |state: &State| -> Result<()> {
            let layers = layers.iter().zip(state.components());
            for (layer, states) in layers.filter(|(l, _)| only.is_none_or(|only| l.name == only)) {
                take(&layer.name, layer.size(), download(states.clone())?)?;
            }
            Ok(())
        };
        give(&state)?;
        let one_sweep = StoppingRule::new(0.0, 1)?;
        let mut progress = Progress::start("relaxing", count, 0);
        for done in 1..=count {
            interrupt::check()?;
            // A solve returns the undamped image of the map, so damping is applied here.
            let swept = relaxation.relax(state.clone(), 0.0, &one_sweep)?.state;
            state = state
                .zip(swept, |old, new| old.mul_scalar(damping) + new.mul_scalar(1.0 - damping));
            give(&state)?;
            progress.update(done, String::new);
        }
        Ok(())
    }

    /// The name of the layer of images.
    pub fn image_layer_name(&self) -> &str {
        let network = self.model.decoder.as_ref().unwrap_or(&self.model.encoder);
        &network.spec(self.model.image_layer()).name
    }
}
