//! `hvae classifier`.

use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;

use crate::cli::Global;
use crate::evaluation::args::{ClassifierArgs, ClassifierCommand, ClassifierTrainArgs};
use crate::evaluation::source::Source;
use hvae_data::config::DataConfig;
use hvae_data::dataset::Dataset;
use hvae_data::images::Images;
use hvae_data::{ImageSet, Split};
use hvae_runtime::{files, interrupt, terminal};
use hvae_scores::classifier::{self, Schedule};

use crate::commands::Ended;

pub(super) fn run(args: &ClassifierArgs, global: &Global, device: &Device) -> Result<Ended> {
    match &args.command {
        ClassifierCommand::Train(args) => train(args, global, device),
        ClassifierCommand::Test { path, test_images, dataset } => {
            let set = load(test_images.as_deref(), dataset.clone(), Split::Test, global, device)?;
            let (network, hash) = match path {
                Some(path) => classifier::load(path, device)?,
                None => classifier::shipped(device)?,
            };
            let accuracy = classifier::accuracy(&network, &set, device)?;
            terminal::line(&format!("{} images, weights sha256 {hash}", set.len()));
            terminal::result(&format!("accuracy {accuracy:.4}"));
            Ok(Ended::Done)
        }
    }
}

fn train(args: &ClassifierTrainArgs, global: &Global, device: &Device) -> Result<Ended> {
    files::require_writable(&args.out)?;
    let shown = args.out.display();
    let training =
        load(args.images.as_deref(), args.dataset.clone(), Split::Train, global, device)?;
    let test =
        load(args.test_images.as_deref(), args.dataset.clone(), Split::Test, global, device)?;
    let schedule = Schedule {
        epochs: args.epochs as usize,
        batch_size: args.batch_size as usize,
        learning_rate: args.learning_rate,
        seed: args.seed,
    };
    interrupt::ask_first()?;
    let epochs = schedule.epochs;
    let mut last = 0.0;
    let trained = classifier::train(&training, &test, schedule, device, |epoch, loss, a| {
        last = a;
        terminal::line(&format!("epoch {epoch:>2}/{epochs}  loss {loss:.4}  test accuracy {a:.4}"));
    })?;
    let Some(network) = trained else {
        terminal::line("stopped; nothing is written");
        return Ok(Ended::Interrupted);
    };
    let bytes = network.to_bytes()?;
    files::write(&args.out, &bytes)?;
    let (stored, hash) = classifier::load(&args.out, device)?;
    // That of the weights as they are stored, rounded to half precision.
    let accuracy = classifier::accuracy(&stored, &test, device)?;
    terminal::line(&format!(
        "test accuracy {accuracy:.4} ({last:.4} before rounding), {} bytes, sha256 {hash}; use it with \
         --features {shown}",
        bytes.len()
    ));
    terminal::result(&shown.to_string());
    Ok(Ended::Done)
}

/// Labelled images: a file or folder of the user's, or else a known set.
fn load(
    path: Option<&Path>,
    dataset: Dataset,
    split: Split,
    global: &Global,
    device: &Device,
) -> Result<ImageSet> {
    let Some(path) = path else {
        let data = DataConfig { dataset, ..DataConfig::default() };
        let images = Images::load(&data, split, &global.data_dir, global.verbosity(), device)?;
        images.set().require_labels(&data.dataset)?;
        return Ok(images.set().clone());
    };
    let set = Source::find(path)?.images(global.data_dir.as_deref(), global.verbosity())?;
    set.require_labels(path.display())?;
    Ok(set)
}
