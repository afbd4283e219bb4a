//! The section `[data]` of a configuration.

use serde::{Deserialize, Serialize};

use crate::dataset::Dataset;

/// Which images a run is trained and tested on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// The set.
    pub dataset: Dataset,
    /// Use only the first so many training images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_images: Option<usize>,
    /// Hold the last so many training images out: training is then watched on them, not on the test
    /// images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_images: Option<usize>,
    /// Use only the first so many test images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_images: Option<usize>,
    /// Draw every pixel as a coin, 1 with the probability of its grey value, anew each time it is
    /// seen in training (dynamic binarisation); in tests always the same draws.
    pub binarise: bool,
}

impl DataConfig {
    /// What a training is watched on: the `test` images, or those held out for `validation`.
    pub fn watched(&self) -> &'static str {
        if self.validation_images.is_some() { "validation" } else { "test" }
    }
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            dataset: Dataset::Mnist,
            train_images: None,
            validation_images: None,
            test_images: None,
            binarise: false,
        }
    }
}
