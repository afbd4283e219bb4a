//! The feature networks.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Result, ensure};
use burn::tensor::{Device, Tensor, TensorData};
use hvae_data::ImageShape;
use hvae_device::host::download;
use serde::{Deserialize, Serialize};

use crate::classifier::network as classifier;
use crate::classifier::network::Classifier;
use crate::inception::host;
use crate::inception::network::{BATCH, Depth, Inception};
use crate::inception::weights;
use crate::stream::ImageBatch;

/// Digits of a SHA-256 that are shown.
const DIGITS: usize = 12;

/// Which features, as `--features` takes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeatureChoice {
    /// The MNIST classifier that this crate contains.
    MnistClassifier,
    /// FID Inception v3, after one of its four stages.
    Inception(Depth),
    /// A classifier trained by `hvae classifier train`.
    File(PathBuf),
}

impl FeatureChoice {
    /// A short name for the names of files.
    pub fn name(&self) -> String {
        match self {
            Self::MnistClassifier => "mnist-classifier".to_owned(),
            Self::Inception(depth) => format!("inception-{}", depth.dims()),
            Self::File(path) => {
                path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
            }
        }
    }
}

impl FromStr for FeatureChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "mnist-classifier" => Ok(Self::MnistClassifier),
            "inception" => Ok(Self::Inception(Depth::D2048)),
            _ => {
                if let Some(depth) = text.strip_prefix("inception-") {
                    return depth.parse().map(Self::Inception);
                }
                if Path::new(text).extension().is_some_and(|e| e == classifier::EXTENSION) {
                    return Ok(Self::File(PathBuf::from(text)));
                }
                Err(format!(
                    "unknown features `{text}`: expected mnist-classifier, inception, \
                     inception-64, inception-192, inception-768, or a .{} file of `hvae classifier \
                     train`",
                    classifier::EXTENSION
                ))
            }
        }
    }
}

/// What identifies features: only features of equal specification can be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureSpec {
    /// `classifier` or `inception`.
    pub network: String,
    /// Features per image.
    pub dims: usize,
    /// SHA-256 of the network's weights.
    pub sha256: String,
    /// How images are preprocessed.
    pub preprocessing: String,
}

/// A feature network with its weights.
#[derive(Debug)]
pub struct Extractor {
    network: Network,
    device: Device,
    description: String,
    spec: FeatureSpec,
}

#[derive(Debug)]
enum Network {
    Classifier(Box<Classifier>),
    Inception(Box<Inception>, Depth),
}

impl Extractor {
    /// Loads a feature network. `inception_weights` is the path of Inception's weights, by default
    /// their place in the cache.
    ///
    /// # Errors
    ///
    /// When weights are missing, altered or of another network; the message names the file and the
    /// remedy.
    pub fn load(
        choice: &FeatureChoice,
        inception_weights: Option<&Path>,
        device: &Device,
    ) -> Result<Self> {
        match choice {
            FeatureChoice::MnistClassifier => {
                Ok(Self::classifier("mnist-classifier", classifier::shipped(device)?, device))
            }
            FeatureChoice::File(path) => {
                let name = format!("classifier {}", path.display());
                Ok(Self::classifier(&name, classifier::load(path, device)?, device))
            }
            FeatureChoice::Inception(depth) => {
                Ok(Self::inception(*depth, weights::load(inception_weights, device)?, device))
            }
        }
    }

    fn classifier(name: &str, (network, sha256): (Classifier, String), device: &Device) -> Self {
        let dims = classifier::FEATURES;
        Self {
            network: Network::Classifier(Box::new(network)),
            device: device.clone(),
            description: format!("{name} ({dims} features, sha256 {})", &sha256[..DIGITS]),
            spec: FeatureSpec {
                network: "classifier".to_owned(),
                dims,
                sha256,
                preprocessing: "28x28 grey in [0, 1]".to_owned(),
            },
        }
    }

    fn inception(depth: Depth, (network, sha256): (Inception, String), device: &Device) -> Self {
        let preprocessing = "grey to RGB, bilinear 299x299";
        Self {
            network: Network::Inception(Box::new(network), depth),
            device: device.clone(),
            description: format!(
                "inception-{} (FID Inception v3, sha256 {}), {preprocessing}",
                depth.dims(),
                &sha256[..DIGITS]
            ),
            spec: FeatureSpec {
                network: "inception".to_owned(),
                dims: depth.dims(),
                sha256,
                preprocessing: preprocessing.to_owned(),
            },
        }
    }

    /// Features per image.
    pub fn dims(&self) -> usize {
        self.spec.dims
    }

    /// Network, hash of its weights and preprocessing, in words.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The same as data.
    pub fn spec(&self) -> &FeatureSpec {
        &self.spec
    }

    /// Images per batch that suit the network.
    pub(crate) fn batch(&self) -> usize {
        match &self.network {
            Network::Classifier(_) => classifier::BATCH,
            Network::Inception(..) => BATCH,
        }
    }

    /// Frees the buffers that the network keeps between batches.
    pub(crate) fn release_memory(&self) {
        if let Network::Inception(..) = self.network {
            host::release_memory();
        }
    }

    /// The features of a batch, image after image.
    ///
    /// # Errors
    ///
    /// When the network takes images of another size, or the device cannot be read.
    pub fn features(&self, images: ImageBatch<'_>) -> Result<Vec<f32>> {
        match &self.network {
            Network::Classifier(network) => {
                ensure!(
                    images.shape == ImageShape::grey(classifier::SIDE, classifier::SIDE),
                    "the classifier takes images of {side}x{side} pixels, not {}; --features \
                     inception takes any size",
                    images.shape.size(),
                    side = classifier::SIDE
                );
                let values: Vec<f32> = images.bytes.iter().map(|&b| f32::from(b) / 255.0).collect();
                let shape = [images.len(), 1, classifier::SIDE, classifier::SIDE];
                let images = Tensor::from_data(TensorData::new(values, shape), &self.device);
                download(network.features(images))
            }
            Network::Inception(network, depth) => network.features(images, *depth, &self.device),
        }
    }
}
