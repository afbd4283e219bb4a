//! The section `[data]` of a configuration.

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use crate::{dataset::Dataset, shape::ImageShape, shape::ImageSize};

/// Image counts at most.
const MAX_IMAGES: usize = 10_000_000;

/// Which images a run is trained and tested on. Counts of images are at least 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// The data set, or the path of one's own; MNIST by default.
    pub dataset: Dataset,
    /// Channels of an image. Only grey images, of one channel, are implemented.
    pub channels: usize,
    /// Height and width of an image, `28x28` by default. Images of another size are resized.
    pub size: ImageSize,
    /// Number of training images to use, from the first on; all if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_images: Option<usize>,
    /// Number of training images, at the end of the set, to hold out as validation split. The
    /// validation loss is measured on them instead of on the test images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_images: Option<usize>,
    /// Number of test images to use, from the first on; all if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_images: Option<usize>,
    /// Dynamic binarization: a pixel is 1 with the probability of its grey value, drawn at every
    /// training step. Test images are always binarized with the same draws.
    pub binarise: bool,
}

impl DataConfig {
    /// The shape of every image.
    pub fn shape(&self) -> ImageShape {
        let ImageSize { height, width } = self.size;
        ImageShape { channels: self.channels, height, width }
    }

    /// The part that the validation loss is measured on: `validation` if images are held out,
    /// otherwise `test`.
    pub fn monitor(&self) -> &'static str {
        if self.validation_images.is_some() { "validation" } else { "test" }
    }

    /// Checks the ranges of all settings. The error names the setting.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.channels == 1,
            "data.channels = {}: only grey images are implemented; with data.channels = 1 colour \
             images are converted to grey",
            self.channels
        );
        for (name, count) in [
            ("train", self.train_images),
            ("validation", self.validation_images),
            ("test", self.test_images),
        ] {
            if let Some(count) = count {
                ensure!(
                    (1..=MAX_IMAGES).contains(&count),
                    "data.{name}_images = {count}: must lie between 1 and {MAX_IMAGES}"
                );
            }
        }
        Ok(())
    }
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            dataset: Dataset::Mnist,
            channels: ImageShape::MNIST.channels,
            size: ImageShape::MNIST.size(),
            train_images: None,
            validation_images: None,
            test_images: None,
            binarise: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        let config = DataConfig::default();
        assert!(config.check().is_ok());
        for (config, name) in [
            (DataConfig { channels: 3, ..config.clone() }, "data.channels = 3: only grey"),
            (DataConfig { channels: 0, ..config.clone() }, "data.channels = 0"),
            (DataConfig { test_images: Some(0), ..config.clone() }, "data.test_images = 0"),
            (DataConfig { train_images: Some(usize::MAX), ..config }, "data.train_images"),
        ] {
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
