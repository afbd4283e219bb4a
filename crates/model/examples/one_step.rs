//! One training step of a small H-VAE by equilibrium propagation, compared with the unrolled
//! gradient.
#![allow(clippy::print_stdout, reason = "an example shows what it finds")]
#![recursion_limit = "256"]

use burn::tensor::{Device, Distribution, Tensor};
use hvae_model::{
    EpConfig, HopfieldNetwork, ModelError, PhaseSettings, ReadPolicy, Shape, Vae, VaeConfig,
};
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
            let flat = |gradients: &burn::optim::GradientsParams| {
                let gradient = gradients.get::<2>(coupling.id()).expect("every weight has one");
                gradient.flatten::<1>(0, 1)
            };
            let cosine = cosine(&flat(&step.gradients), &flat(&unrolled));
            println!(
                "{side} {}: cosine with the unrolled gradient {cosine:.6}",
                name(network, coupling)
            );
        }
    }
    Ok(())
}

fn name(network: &HopfieldNetwork, coupling: &hvae_model::Coupling) -> String {
    let [lower, upper] = [coupling.lower, coupling.upper].map(|k| &network.spec(k).name);
    format!("{lower}-{upper}")
}

fn cosine(a: &Tensor<1>, b: &Tensor<1>) -> f32 {
    let dot = |a: &Tensor<1>, b: &Tensor<1>| (a.clone() * b.clone()).sum().into_scalar::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
