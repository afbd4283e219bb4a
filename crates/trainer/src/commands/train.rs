use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::Device;
use clap::Args;
use hvae_data::dataset::Dataset;
use hvae_model::Kind;

use crate::api::train::{
    Resumed, RunRequest, check_every, load, resume, start, warn_without_effect,
};
use crate::cli::new_run::NewRunArgs;
use crate::cli::values::{self, NOT_NEGATIVE, POSITIVE, count, number};
use crate::commands::context::{Context, Ended, Run};
use crate::commands::output::JsonArgs;
use crate::config::{Changes, RunConfig};
use crate::observers::tui::Ui;
use crate::run::choice::CheckpointChoice;
use crate::run::dir::RunDir;
use crate::run::environment;
use crate::run::origin::Origin;
use crate::run::summary::Summary;

mod dry_run;

/// Train a model, continue a run, or train its weights further under other settings
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae train
  hvae train --epochs 3 --name quick --set model.hidden=[256]
  hvae train --config checkpoints/h-vae-001/config.toml --seed 2
  hvae train --dataset synthetic --epochs 2      (needs no download)
  hvae train --dataset ./photos --epochs 50
  hvae train --hidden 256,128 --latent 8 --kl-weight 2
  hvae train --resume checkpoints/h-vae-001 --epochs 20
  hvae train --from checkpoints/h-vae-001 --learning-rate 0.001 --epochs 5
  hvae train --dry-run --batch-size 256
  hvae train --patience 3 --epochs 100 --ui tui

Every key of a run's config.toml can be set with --set section.key=value; docs/settings.md lists
them. Ctrl-C finishes the step, saves a checkpoint and prints the command that resumes the run.")]
#[allow(clippy::struct_field_names, reason = "fields are named like their flags")]
pub struct Train {
    /// Resume this run from its newest checkpoint, with its own configuration; --dataset names the
    /// new place of its images if they were moved
    #[arg(long, value_name = "RUN", conflicts_with_all = ["from", "model", "runs", "name", "config", "set", "seed", "batch_size", "learning_rate", "hidden", "latent", "kl_weight", "train_images", "test_images"])]
    resume: Option<PathBuf>,
    /// Start a new run from the weights of this one, with its configuration, which flags change
    #[arg(long, value_name = "RUN", conflicts_with_all = ["model", "config"])]
    from: Option<PathBuf>,
    /// Checkpoint of --from: latest, best or a step
    #[arg(long, value_name = "NAME", default_value = "latest", requires = "from")]
    checkpoint: CheckpointChoice,
    /// Kind of model; the defaults of each are those of `configs/KIND.toml` [default: h-vae]
    ///
    /// h-vae: encoder and decoder are two layered Hopfield networks. th-vae: weight-tied, one
    /// network is encoder and decoder. dh-vae: two dense networks, with couplings between all
    /// layers and within layers. tdh-vae: one dense network, weight-tied. f-vae: the
    /// backpropagation baseline, an h-vae without feedback; all others are trained by equilibrium
    /// propagation.
    #[arg(long, value_name = "KIND", value_parser = values::kind())]
    model: Option<Kind>,
    /// Split each batch over these devices, such as cuda:0,cuda:1; the first also holds the weights
    #[arg(long, value_delimiter = ',', value_name = "DEVICE,...", conflicts_with = "device", value_parser = values::device)]
    devices: Vec<String>,
    /// Print how often the device was read and written, after each epoch
    #[arg(long)]
    trace_device: bool,
    /// The new run
    #[command(flatten)]
    new: NewRunArgs,
    /// Passes over the training images, in total [default: 10]
    #[arg(long, value_name = "N", value_parser = count(1..=10_000_000))]
    epochs: Option<usize>,
    /// Stop after N evaluations without a lower validation loss [default: never]
    #[arg(long, value_name = "N", value_parser = count(1..=10_000_000))]
    patience: Option<usize>,
    /// Images per step [default: 128]
    #[arg(long, value_name = "N", value_parser = count(1..=10_000_000))]
    batch_size: Option<usize>,
    /// Peak learning rate [default: 0.008]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, value_parser = number(POSITIVE))]
    learning_rate: Option<f64>,
    /// Units of each hidden layer, from the image to the latent [default: 512]
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = count(1..=65_536))]
    hidden: Vec<usize>,
    /// Latent dimensions [default: 16]
    #[arg(long, value_name = "N", value_parser = count(1..=65_536))]
    latent: Option<usize>,
    /// Weight of the KL divergence in the loss [default: depends on the model]
    #[arg(long, value_name = "WEIGHT", allow_negative_numbers = true, value_parser = number(NOT_NEGATIVE))]
    kl_weight: Option<f64>,
    /// Seed of initial weights, batch order and noise [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: Option<u64>,
    /// Images to train and test on: mnist, fashion-mnist, synthetic (which needs no download), a
    /// folder of pictures (with a slash: ./photos), or a .npz or .npy file [default: mnist]
    #[arg(long, value_name = "SET")]
    dataset: Option<Dataset>,
    /// Use only the first N training images
    #[arg(long, value_name = "N", value_parser = count(1..=10_000_000))]
    train_images: Option<usize>,
    /// Use only the first N test images
    #[arg(long, value_name = "N", value_parser = count(1..=10_000_000))]
    test_images: Option<usize>,
    /// Time a few steps, print configuration, parameters, memory and time per epoch, and write
    /// nothing
    #[arg(long, conflicts_with = "resume")]
    dry_run: bool,
    /// How progress is shown [default: a progress bar on a terminal, else lines]
    #[arg(long, value_enum)]
    ui: Option<Ui>,
    /// Write TensorBoard event files into the run's folder `tensorboard`
    #[arg(long)]
    tensorboard: bool,
    #[command(flatten)]
    json: JsonArgs,
}

impl Run for Train {
    fn run(self, cx: &Context) -> Result<Ended> {
        self.json.require()?;
        let devices = self.devices(cx)?;
        let (target, config, origin) = if let Some(path) = &self.resume {
            let (epochs, patience) = (self.epochs, self.patience);
            resume(path, Resumed { epochs, patience, dataset: self.dataset.clone() })?
        } else {
            let from = self.from.as_deref().map(RunDir::open).transpose()?;
            let mut config = self.config(&devices[0], from.as_ref())?;
            warn_without_effect(&config);
            if let (Some(from), None) = (&from, &self.dataset) {
                config.data.dataset = environment::dataset(from, &config.data.dataset)?;
            }
            let origin = from.map(|from| Origin::at(&from, self.checkpoint)).transpose()?;
            (self.new.target()?, config, origin)
        };
        if self.dry_run {
            let images = load(&config, cx.global.data_dir.as_ref(), &devices[0])?;
            self.json.write(&dry_run::run(&config, &images, &devices)?)?;
            return Ok(Ended::Done);
        }
        let request = RunRequest {
            origin,
            device_names: self.devices,
            ui: self.ui,
            trace_device: self.trace_device,
            tensorboard: self.tensorboard,
            ..RunRequest::on(config, target, devices)
        };
        let (finished, path) = start(request, &cx.global)?;
        if self.json.is_given() {
            self.json.write(&Summary::of(&RunDir::open(&path)?)?.to_json()?)?;
        }
        Ok(finished.into())
    }
}

impl Train {
    /// The devices of `--devices`, or the one of `--device`.
    fn devices(&self, cx: &Context) -> Result<Vec<Device>> {
        if self.devices.is_empty() {
            return Ok(vec![cx.device()?.clone()]);
        }
        self.devices.iter().map(|name| cx.open(name)).collect()
    }

    /// The configuration of a new run; flags override `--set`.
    fn config(&self, device: &Device, from: Option<&RunDir>) -> Result<RunConfig> {
        let from = from.map(RunDir::config_path);
        let file = self.new.config.as_deref().or(from.as_deref());
        let flags = |config: &mut RunConfig| {
            let RunConfig { training, data, model, .. } = config;
            if !self.hidden.is_empty() {
                model.hidden.clone_from(&self.hidden);
            }
            model.latent = self.latent.unwrap_or(model.latent);
            training.kl_weight = self.kl_weight.unwrap_or(training.kl_weight);
            training.epochs = self.epochs.unwrap_or(training.epochs);
            training.patience = self.patience.or(training.patience);
            training.batch_size = self.batch_size.unwrap_or(training.batch_size);
            training.learning_rate = self.learning_rate.unwrap_or(training.learning_rate);
            training.seed = self.seed.unwrap_or(training.seed);
            data.train_images = self.train_images.or(data.train_images);
            data.test_images = self.test_images.or(data.test_images);
            if let Some(dataset) = &self.dataset {
                data.dataset = dataset.clone().absolute();
            }
        };
        let changes = Changes {
            check_every: if file.is_none() { check_every(device) } else { None },
            set: &self.new.set,
            kind: self.model,
            flags: Some(&flags),
        };
        RunConfig::resolve_with(file, &changes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp, reason = "a failing test should panic")]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        train: Train,
    }

    fn config(flags: &[&str]) -> RunConfig {
        let line = Line::try_parse_from([&["train"], flags].concat()).unwrap();
        line.train.config(&Device::flex(), None).unwrap()
    }

    #[test]
    fn flags_override_settings() {
        let config = config(&[
            "--set=training.epochs=3",
            "--set=model.kind=f-vae",
            "--set=training.seed=7",
            "--epochs=4",
            "--model=th-vae",
            "--patience=2",
            "--batch-size=16",
            "--learning-rate=0.5",
            "--hidden=20,10",
            "--latent=3",
            "--kl-weight=2.5",
            "--dataset=synthetic",
            "--train-images=10",
            "--test-images=5",
        ]);
        let RunConfig { training, data, model, .. } = config;
        assert_eq!((training.epochs, training.patience, training.batch_size), (4, Some(2), 16));
        assert_eq!((training.learning_rate, training.seed, model.kind), (0.5, 7, Kind::ThVae));
        assert_eq!((data.train_images, data.test_images), (Some(10), Some(5)));
        assert_eq!((model.hidden, model.latent, training.kl_weight), (vec![20, 10], 3, 2.5));
        assert_eq!(data.dataset, Dataset::Synthetic);
    }

    /// The kind decides the preset, and with it all that no flag sets.
    #[test]
    fn a_kind_brings_its_preset() {
        for kind in Kind::ALL {
            let set = [format!("model.kind={}", kind.name())];
            assert_eq!(config(&["--model", kind.name()]), RunConfig::resolve(None, &set).unwrap());
        }
    }
}
