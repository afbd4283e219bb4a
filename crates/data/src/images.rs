//! Images on the device, and how a run finds its own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use burn::tensor::{Device, Int, Tensor};

use crate::config::DataConfig;
use crate::dataset::Dataset;
use crate::{ImageSet, Split, Verbosity, custom, fashion, mnist, synthetic};

/// How many synthetic images there are unless a run asks for fewer.
const SYNTHETIC_COUNT: (usize, usize) = (10_000, 2_000);
/// The synthetic set is one fixed set, as MNIST is.
const SYNTHETIC_SEED: u64 = 1;

/// Side of the square images of all sets: those of another size are made so.
pub const SIDE: usize = 28;

/// A set of images, on the host as bytes and on the device as numbers in `[0, 1]`.
#[derive(Debug)]
pub struct Images {
    set: ImageSet,
    tensor: Tensor<2>,
}

impl Images {
    /// The part `split` of the images that `config` names, without those held out for validation.
    /// Their files are looked for in `data_dir`, by default in the set's usual folder.
    ///
    /// # Errors
    ///
    /// When they cannot be found, fetched or read, or are fewer than asked for.
    pub fn load<'a>(
        config: &DataConfig,
        split: Split,
        data_dir: impl Into<Option<&'a PathBuf>>,
        verbosity: Verbosity,
        device: &Device,
    ) -> Result<Self> {
        let set = whole(config, split, data_dir.into(), verbosity)?;
        let set = match split {
            Split::Train => {
                let [set, _held_out] = divided(config, set)?;
                set
            }
            Split::Test => first(set, config.test_images, "")?,
        };
        Ok(Self::new(set, device))
    }

    /// The images to learn from, and those to watch training on: the ones held out, the last
    /// `data.validation_images` training images, or where none are the test images.
    ///
    /// # Errors
    ///
    /// As [`Self::load`].
    pub fn load_for_training<'a>(
        config: &DataConfig,
        data_dir: impl Into<Option<&'a PathBuf>>,
        verbosity: Verbosity,
        device: &Device,
    ) -> Result<[Self; 2]> {
        let data_dir = data_dir.into();
        if config.validation_images.is_none() {
            let load = |split| Self::load(config, split, data_dir, verbosity, device);
            return Ok([load(Split::Train)?, load(Split::Test)?]);
        }
        let parts = divided(config, whole(config, Split::Train, data_dir, verbosity)?)?;
        Ok(parts.map(|set| Self::new(set, device)))
    }

    fn new(set: ImageSet, device: &Device) -> Self {
        let values: Vec<f32> = set.bytes().iter().map(|&b| f32::from(b) / 255.0).collect();
        let tensor = hvae_solver::upload(values, [set.len(), set.pixels()], device);
        Self { set, tensor }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Where they are.
    pub fn device(&self) -> Device {
        self.tensor.device()
    }

    /// The images as bytes, with their labels.
    pub fn set(&self) -> &ImageSet {
        &self.set
    }

    /// The images `rows`, `[rows, pixels]` in `[0, 1]`.
    pub fn select(&self, rows: &[usize]) -> Tensor<2> {
        self.gather(self.order(rows))
    }

    /// Numbers of images, on their device.
    pub fn order(&self, rows: &[usize]) -> Tensor<1, Int> {
        hvae_solver::upload_rows(rows, &self.tensor.device())
    }

    /// The images of these numbers, which [`Self::order`] gave; as [`Self::select`].
    pub fn gather(&self, rows: Tensor<1, Int>) -> Tensor<2> {
        self.tensor.clone().select(0, rows)
    }

    /// All images, `[images, pixels]`.
    pub fn tensor(&self) -> &Tensor<2> {
        &self.tensor
    }

    /// The images in order, `batch` at a time, each `[batch, pixels]`.
    pub fn batches(&self, batch: usize) -> impl Iterator<Item = Tensor<2>> + '_ {
        (0..self.len())
            .step_by(batch)
            .map(move |from| self.tensor.clone().narrow(0, from, batch.min(self.len() - from)))
    }
}

/// The training images that are learnt from, and those that are held out.
fn divided(config: &DataConfig, mut set: ImageSet) -> Result<[ImageSet; 2]> {
    let held_out = config.validation_images.unwrap_or(0);
    ensure!(
        held_out < set.len(),
        "data.validation_images = {held_out}: the set has {} training images, and some must be \
         left to learn from",
        set.len()
    );
    let held = set.split_off(set.len() - held_out);
    let kept = if held_out > 0 { " that are not held out" } else { "" };
    Ok([first(set, config.train_images, kept)?, held])
}

/// The first `wanted` images of `set`, or all.
fn first(set: ImageSet, wanted: Option<usize>, kept: &str) -> Result<ImageSet> {
    let (count, all) = (wanted.unwrap_or(set.len()), set.len());
    ensure!(count <= all, "{count} images asked for, but the set has {all}{kept}");
    Ok(set.take(count))
}

/// All images of a part.
fn whole(
    config: &DataConfig,
    split: Split,
    data_dir: Option<&PathBuf>,
    verbosity: Verbosity,
) -> Result<ImageSet> {
    let folder: &Path = data_dir.map_or(config.dataset.default_folder(), PathBuf::as_path);
    let shown = folder.display();
    Ok(match &config.dataset {
        Dataset::Mnist => mnist::load(folder, split, verbosity)
            .with_context(|| format!("loading MNIST from {shown}"))?,
        Dataset::FashionMnist => fashion::load(folder, split, verbosity)
            .with_context(|| format!("loading Fashion-MNIST from {shown}"))?,
        Dataset::Synthetic => {
            let held_out = config.validation_images.unwrap_or(0);
            let count = match split {
                Split::Train => config.train_images.map_or(SYNTHETIC_COUNT.0, |n| n + held_out),
                Split::Test => config.test_images.unwrap_or(SYNTHETIC_COUNT.1),
            };
            synthetic::synthetic(count, SYNTHETIC_SEED, split)
        }
        Dataset::Path(path) => custom::load(path, split, SIDE, verbosity)?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test should panic")]

    use super::*;

    fn load(data: &DataConfig, part: Option<Split>) -> Result<ImageSet> {
        let (verbosity, device) = (Verbosity::Quiet, Device::flex());
        let images = match part {
            Some(split) => Images::load(data, split, None, verbosity, &device)?,
            None => {
                let [learnt, watched] = Images::load_for_training(data, None, verbosity, &device)?;
                assert_eq!(*learnt.set(), load(data, Some(Split::Train))?);
                watched
            }
        };
        Ok(images.set().clone())
    }

    /// What is held out is the end of the training images, is learnt from by none, and leaves the
    /// test images alone.
    #[test]
    fn held_out_images_are_watched_and_not_learnt_from() {
        let all = DataConfig { dataset: Dataset::Synthetic, ..DataConfig::default() };
        let held = DataConfig { validation_images: Some(300), ..all.clone() };
        let set = load(&all, Some(Split::Train)).unwrap();
        let test = load(&all, Some(Split::Test)).unwrap();
        assert_eq!(load(&all, None).unwrap(), test);
        assert_eq!(load(&held, Some(Split::Train)).unwrap(), set.clone().take(set.len() - 300));
        let last = set.clone().split_off(set.len() - 300);
        assert_eq!(load(&held, None).unwrap(), last);
        assert_eq!(load(&held, Some(Split::Test)).unwrap(), test);
    }

    #[test]
    fn holding_out_all_images_is_refused() {
        let root = tempfile::tempdir().unwrap();
        for index in 0..20 {
            let shade = image::GrayImage::from_pixel(28, 28, image::Luma([10 * index]));
            shade.save(root.path().join(format!("{index:02}.png"))).unwrap();
        }
        let data = |held_out| DataConfig {
            dataset: Dataset::Path(root.path().to_owned()),
            validation_images: Some(held_out),
            ..DataConfig::default()
        };
        // Every tenth picture is for tests.
        assert_eq!(load(&data(17), Some(Split::Train)).unwrap().len(), 1);
        let error = load(&data(18), Some(Split::Train)).unwrap_err().to_string();
        assert!(
            error.contains("data.validation_images = 18") && error.contains("has 18"),
            "{error}"
        );
    }
}
