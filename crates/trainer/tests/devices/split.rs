//! One batch over several devices.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use hvae::draws::StepDraws;
use hvae::training::workers::Workers;
use hvae_model::{HopfieldPrior, PhaseSettings, PriorKind, ReadPolicy, Vae};

use super::*;

fn flat(model: &Vae, gradients: &GradientsParams) -> Vec<f32> {
    struct Flat<'a>(&'a GradientsParams, Vec<f32>);
    impl ModuleVisitor for Flat<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = self.0.get::<D>(param.id).unwrap();
            self.1.extend(gradient.into_data().try_to_vec::<f32>().unwrap());
        }
    }
    let mut flat = Flat(gradients, Vec::new());
    model.visit(&mut flat);
    flat.1
}

/// Splitting a batch changes only the order of sums: all workers use the same `beta`.
#[test]
fn gradients_of_a_split_batch_equal_those_of_the_whole() {
    for kind in Kind::ALL.map(Kind::name) {
        compare_split(kind, &[]);
    }
    compare_split("h-vae", &["model.likelihood=bernoulli", "data.binarise=true"]);
    compare_split("tdh-vae", &["model.likelihood=bernoulli", "model.sigma=0.3"]);
    compare_split("h-vae", &["prior.kind=hopfield"]);
}

fn compare_split(kind: &str, more: &[&str]) {
    let case = format!("{kind} {more:?}");
    let kind = format!("model.kind={kind}");
    let overrides =
        [kind.as_str(), "model.hidden=[24]", "model.latent=4", "data.dataset=synthetic"];
    // A nudge large enough to affect the gradient.
    let nudge = ["ep.nudging=centred", "ep.nudge=0.02", "ep.nudged_tolerance=1e-5"];
    let data = ["data.train_images=64", "ep.tolerance=1e-6"];
    let overrides = [&overrides[..], &data, &nudge, more].concat();
    let overrides: Vec<String> = overrides.into_iter().map(str::to_owned).collect();
    let config = RunConfig::resolve(None, &overrides).unwrap();
    let device = Device::flex();
    let images = Images::load(&config.data, Split::Train, None, &device).unwrap();
    let model = hvae::training::new_model(&config, &device).unwrap();
    // A weight-tied network this small may have no equilibrium with its initial weights.
    let mut model = model.limited();
    if config.prior.kind == PriorKind::Hopfield {
        let patterns = rng::normal(1, Stream::Patterns, 0, 8 * model.latent());
        let patterns = hvae_device::upload(patterns, model.latent(), &device);
        model.prior = Some(HopfieldPrior::new(patterns, 1.5).unwrap());
    }
    // Not a multiple of the number of workers, and not in the order of the set.
    let rows: Vec<usize> = (0..31).map(|i| (i * 7) % 64).collect();
    let binarise = config.data.binarise;
    let draws = StepDraws {
        step: 0,
        noise: rng::normal(1, Stream::Noise, 0, rows.len() * model.latent()),
        uniforms: binarise
            .then(|| rng::uniform(1, Stream::Binarization, 0, rows.len() * model.pixels())),
    };
    let phases = PhaseSettings::new(&config.ep, ReadPolicy::EveryStep).unwrap();
    let on_device = hvae_device::upload(draws.noise.clone(), model.latent(), &device);
    let mut batch = images.gather(images.index_tensor(&rows));
    if binarise {
        batch = hvae::draws::binarize_from(batch, 1, Stream::Binarization, 0);
    }
    let whole = model.training_step(batch, on_device, 1.0, &phases).unwrap();
    let expected = flat(&model, &whole.gradients);
    let size = expected.iter().map(|g| g * g).sum::<f32>().sqrt();
    assert!(size > 0.0, "{case}");
    let losses = whole.losses.map(|loss| loss.read());
    for count in [1, 2, 3, 40] {
        let workers = Workers::new(vec![device.clone(); count], &images, &config.ep).unwrap();
        let split = workers.step(&model, &rows, &draws, 1.0).unwrap();
        let found = flat(&model, &split.gradients);
        let apart = expected.iter().zip(&found).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
        // With a beta for each part, two parts differ by 1e-3.
        assert!(apart < 3e-5 * size, "{case}, {count} workers: {:.1e}", apart / size);
        let found = split.losses.map(|loss| loss.read());
        losses.zip(found, |a, b| {
            assert!((a - b).abs() < 1e-5 * a.abs(), "{case}, {count} workers: {a} {b}");
        });
        if kind != "model.kind=f-vae" {
            assert_eq!(split.outcomes.encoder_free.len(), rows.len());
            assert_eq!(split.outcomes.decoder_nudged.len(), 2 * rows.len());
        }
    }
}

/// An error of one worker ends the step of all.
#[test]
fn a_failed_worker_is_an_error_and_not_a_deadlock() {
    let overrides = ["model.hidden=[24]", "model.latent=4", "data.dataset=synthetic"];
    let overrides: Vec<String> = overrides.into_iter().map(str::to_owned).collect();
    let config = RunConfig::resolve(None, &overrides).unwrap();
    let device = Device::flex();
    let images = Images::load(&config.data, Split::Train, None, &device).unwrap();
    let model = hvae::training::new_model(&config, &device).unwrap();
    let rows: Vec<usize> = (0..8).collect();
    let mut noise = rng::normal(1, Stream::Noise, 0, rows.len() * model.latent());
    // NaN in the part of the second worker.
    let last = noise.len() - 1;
    noise[last] = f32::NAN;
    let workers = Workers::new(vec![device.clone(), device], &images, &config.ep).unwrap();
    let draws = StepDraws { step: 0, noise, uniforms: None };
    let error = workers.step(&model, &rows, &draws, 1.0).unwrap_err();
    assert!(format!("{error:#}").contains("not a finite number"), "{error:#}");
}

#[test]
fn a_run_on_two_devices_agrees_with_one_device() {
    let folder = Folder::new();
    for kind in Kind::ALL.map(Kind::name) {
        let (one, two) = (format!("{kind}-one"), format!("{kind}-two"));
        folder.ok(&train(&tiny(kind), &one, &[]));
        folder.ok(&train(&tiny(kind), &two, &["--devices", "cpu,cpu"]));
        let run = |name: &str| folder.path("checkpoints").join(name);
        let apart = losses_apart(&run(&one), &run(&two));
        assert!(apart < 1e-4, "{kind}: {apart:.1e}");
    }
}
