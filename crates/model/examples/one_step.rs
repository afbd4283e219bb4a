//! One training step of a small H-VAE by equilibrium propagation, compared with the unrolled
//! gradient.
#![allow(clippy::print_stdout, reason = "an example shows what it finds")]
#![recursion_limit = "256"]

mod common;

use burn::tensor::{Device, Distribution, Tensor};
use hvae_model::{EpConfig, ModelError, PhaseSettings, ReadPolicy, Shape, Vae, VaeConfig};
use rand::SeedableRng;

fn main() -> Result<(), ModelError> {
    let device = Device::flex();
    device.seed(1);
    let config = VaeConfig { hidden: vec![64], latent: 8, ..VaeConfig::default() };
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let model = Vae::new(&config, Shape::grey(14, 14), &mut rng, &device)?;
    println!("{} parameters", model.parameters());

    let images = Tensor::<2>::random([32, 196], Distribution::Uniform(0.0, 1.0), &device);
    let noise = Tensor::<2>::random([32, 8], Distribution::Normal(0.0, 1.0), &device);
    let phases = PhaseSettings::new(&EpConfig::default(), ReadPolicy::EveryStep)?;
    let step = model.training_step(images.clone(), noise.clone(), 1.0, &phases)?;
    println!("reconstruction error {:.2}", step.losses.reconstruction.read());
    println!("KL divergence {:.2} nats", step.losses.divergence.read());

    let unrolled = model.unrolled_gradient(images, noise, 1.0, 30)?;
    for (side, network) in model.networks() {
        for coupling in &network.couplings {
            let [lower, upper] = [coupling.lower, coupling.upper].map(|k| &network.spec(k).name);
            let cosine = common::cosine(coupling, &step.gradients, &unrolled);
            println!("{side} {lower}-{upper}: cosine with the unrolled gradient {cosine:.6}");
        }
    }
    Ok(())
}
