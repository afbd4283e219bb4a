//! A training step of every kind of model at its preset's sizes: time, images a second, and memory
//! that is allocated.
//!
//! Weights are initial ones, images noise with a fifth of the pixels lit. `RAYON_NUM_THREADS` sets
//! the threads. `scripts/bench_step.py` times whole training steps, against PyTorch.
#![allow(clippy::unwrap_used, reason = "a benchmark may stop")]
#![recursion_limit = "256"]

use burn::tensor::{Device, Distribution, Tensor};
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};
use hvae_model::{EpConfig, Kind, PhaseSettings, ReadPolicy, Shape, Vae, VaeConfig};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const BATCH: usize = 128;

fn main() {
    divan::main();
}

fn config(kind: Kind) -> VaeConfig {
    let hidden = match kind {
        Kind::DhVae => 384,
        Kind::TdhVae => 370,
        _ => 512,
    };
    VaeConfig {
        kind,
        hidden: vec![hidden],
        visible_gain: if kind == Kind::DhVae { 60.0 } else { 120.0 },
        visible_reach: kind.is_dense().then_some(3),
        image_amplitude: if kind.is_tied() { 20.0 } else { 1.0 },
        latent_amplitude: if kind.is_tied() { 60.0 } else { 1.0 },
        learned_amplitudes: kind.is_tied(),
        ..VaeConfig::default()
    }
}

#[divan::bench(args = Kind::ALL.map(Kind::name))]
fn training_step(bencher: Bencher<'_, '_>, kind: &str) {
    let device = Device::flex();
    device.seed(1);
    let kind = Kind::ALL.into_iter().find(|k| k.name() == kind).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let model = Vae::new(&config(kind), Shape::grey(28, 28), &mut rng, &device).unwrap();
    let random =
        |columns: usize, distribution| Tensor::<2>::random([BATCH, columns], distribution, &device);
    let images = random(784, Distribution::Uniform(-4.0, 1.0)).clamp_min(0.0);
    let noise = random(16, Distribution::Normal(0.0, 1.0));
    let phases = PhaseSettings::new(&EpConfig::default(), ReadPolicy::EveryStep).unwrap();
    bencher
        .counter(ItemsCount::new(BATCH))
        .bench_local(|| model.training_step(images.clone(), noise.clone(), 1.0, &phases).unwrap());
}
