//! The images of a run on a device.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use burn::tensor::{Device, Int, Tensor};

use crate::config::DataConfig;
use crate::convert::reshape;
use crate::dataset::Dataset;
use crate::own::{OwnImages, Part, print_once};
use crate::report::Report;
use crate::synthetic::synthetic;
use crate::{FASHION_MNIST, ImageSet, MNIST, Split, published};

/// Synthetic images of each [`Split`] unless a run asks for fewer.
const SYNTHETIC_COUNT: [usize; 2] = [10_000, 2_000];
/// The synthetic set is one fixed set, as MNIST is.
const SYNTHETIC_SEED: u64 = 1;

/// A set of images, on the host as bytes and on a device as numbers in `[0, 1]`.
#[derive(Debug, Clone)]
pub struct Images {
    set: ImageSet,
    tensor: Tensor<2>,
    report: Report,
}

impl Images {
    /// The part `split` of the images of `config`, without those held out for validation. Their
    /// files are read from `data_dir`, by default from the set's usual folder.
    pub fn load<'a>(
        config: &DataConfig,
        split: Split,
        data_dir: impl Into<Option<&'a PathBuf>>,
        device: &Device,
    ) -> Result<Self> {
        let (set, report) = read(config, split, data_dir.into())?;
        let set = match split {
            Split::Train => {
                let [kept, _held_out] = hold_out(config, set)?;
                kept
            }
            Split::Test => first(set, config.test_images, "test_images", "")?,
        };
        Ok(Self { report, ..Self::new(set, device) })
    }

    /// The training images, and the images that the validation loss is measured on. With
    /// `data.validation_images = N` these are N images of the validation part of the data set or,
    /// if it has none, the last N training images; otherwise they are the test images.
    pub fn load_for_training<'a>(
        config: &DataConfig,
        data_dir: impl Into<Option<&'a PathBuf>>,
        device: &Device,
    ) -> Result<[Self; 2]> {
        let data_dir = data_dir.into();
        if config.validation_images.is_none() {
            let load = |split| Self::load(config, split, data_dir, device);
            return Ok([load(Split::Train)?, load(Split::Test)?]);
        }
        let (set, report) = read(config, Split::Train, data_dir)?;
        let parts = hold_out(config, set)?;
        Ok(parts.map(|set| Self { report: report.clone(), ..Self::new(set, device) }))
    }

    /// Copies a set to `device`.
    pub fn new(set: ImageSet, device: &Device) -> Self {
        let values: Vec<f32> = set.bytes().iter().map(|&b| f32::from(b) / 255.0).collect();
        let tensor = hvae_device::upload(values, set.pixels(), device);
        Self { set, tensor, report: Report::default() }
    }

    /// What was converted and left out when they were read.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// The device that holds them.
    pub fn device(&self) -> Device {
        self.tensor.device()
    }

    /// The images as bytes, with their labels.
    pub fn set(&self) -> &ImageSet {
        &self.set
    }

    /// The images at the indices `rows`, `[rows, pixels]` in `[0, 1]`.
    pub fn select(&self, rows: &[usize]) -> Tensor<2> {
        self.gather(self.index_tensor(rows))
    }

    /// Indices of images, on their device.
    pub fn index_tensor(&self, rows: &[usize]) -> Tensor<1, Int> {
        hvae_device::upload_rows(rows, &self.tensor.device())
    }

    /// As [`Self::select`], for indices from [`Self::index_tensor`].
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

/// The training images, and those that are held out for validation.
fn hold_out(config: &DataConfig, mut set: ImageSet) -> Result<[ImageSet; 2]> {
    let held_out = config.validation_images.unwrap_or(0);
    let own = if let Dataset::Path(path) = &config.dataset { Some(find(path)?) } else { None };
    if held_out > 0
        && let Some(own) = own.filter(OwnImages::has_validation)
    {
        let (held, _) = own.read(Part::Validation, Some(config.shape()))?;
        let held = first(held, Some(held_out), "validation_images", " for validation")?;
        return Ok([first(set, config.train_images, "train_images", "")?, held]);
    }
    ensure!(
        held_out < set.len(),
        "data.validation_images = {held_out}: the set has {} training images, and at least one \
         must be left for training",
        set.len()
    );
    let held = set.split_off(set.len() - held_out);
    let kept = if held_out > 0 { " that are not held out" } else { "" };
    Ok([first(set, config.train_images, "train_images", kept)?, held])
}

/// The first `wanted` images of `set`, or all.
fn first(set: ImageSet, wanted: Option<usize>, setting: &str, kept: &str) -> Result<ImageSet> {
    let (count, all) = (wanted.unwrap_or(set.len()), set.len());
    ensure!(count <= all, "data.{setting} = {count}: the set has {all}{kept}");
    Ok(set.take(count))
}

fn find(path: &Path) -> Result<OwnImages> {
    OwnImages::find(path).with_context(|| {
        format!(
            "data.dataset = {}: give a folder of pictures, a .npz or .npy file, or one of mnist, \
             fashion-mnist, synthetic",
            path.display()
        )
    })
}

/// All images of a split, in the shape of `config`.
fn read(
    config: &DataConfig,
    split: Split,
    data_dir: Option<&PathBuf>,
) -> Result<(ImageSet, Report)> {
    let folder = data_dir.map_or_else(|| config.dataset.default_folder(), PathBuf::as_path);
    let set = match &config.dataset {
        Dataset::Path(path) => {
            return find(path)?.read(Part::Split(split), Some(config.shape()));
        }
        Dataset::Synthetic => {
            let held_out = config.validation_images.unwrap_or(0);
            let count = match split {
                Split::Train => config.train_images.map(|count| count + held_out),
                Split::Test => config.test_images,
            };
            synthetic(count.unwrap_or(SYNTHETIC_COUNT[split as usize]), SYNTHETIC_SEED, split)
        }
        Dataset::Mnist => published::load(&MNIST, folder, split)?,
        Dataset::FashionMnist => published::load(&FASHION_MNIST, folder, split)?,
    };
    let (set, report) = reshape(set, config.shape())?;
    if !report.is_empty() {
        print_once(&format!("{}: {} images ({report})", config.dataset, set.len()));
    }
    Ok((set, report))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::ImageShape;

    fn load(data: &DataConfig, part: Option<Split>) -> Result<ImageSet> {
        let device = Device::flex();
        let images = match part {
            Some(split) => Images::load(data, split, None, &device)?,
            None => {
                let [training, validation] = Images::load_for_training(data, None, &device)?;
                assert_eq!(*training.set(), load(data, Some(Split::Train))?);
                validation
            }
        };
        Ok(images.set().clone())
    }

    #[test]
    fn held_out_images_are_the_last_training_images() {
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
        // Every tenth picture is a test image.
        assert_eq!(load(&data(17), Some(Split::Train)).unwrap().len(), 1);
        let error = load(&data(18), Some(Split::Train)).unwrap_err().to_string();
        assert!(
            error.contains("data.validation_images = 18") && error.contains("has 18"),
            "{error}"
        );
    }

    #[test]
    fn images_have_the_shape_of_the_configuration() {
        let shape = ImageShape::grey(20, 32);
        let data = DataConfig {
            dataset: Dataset::Synthetic,
            size: shape.size(),
            test_images: Some(3),
            ..DataConfig::default()
        };
        let set = load(&data, Some(Split::Test)).unwrap();
        assert_eq!((set.shape(), set.labels()), (shape, [0, 1, 2].as_slice()));
        // Scaled to 20x20, with six black columns on either side.
        let column = |column: usize| (0..20).map(move |row| row * 32 + column);
        assert!((0..6).chain(26..32).flat_map(column).all(|at| set.image(0)[at] == 0));
        assert!((6..26).flat_map(column).any(|at| set.image(0)[at] > 100));
    }
}
