//! The feature networks.

use std::{path::Path, path::PathBuf, str::FromStr};

use anyhow::{Context, Result};
use burn::tensor::Device;
use hvae_data::ImageShape;
use hvae_device::download;
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
                let is_named = |depth: &Depth| text == format!("inception-{}", depth.dims());
                if let Some(depth) = Depth::ALL.into_iter().find(is_named) {
                    return Ok(Self::Inception(depth));
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
    Inception(Inception, Depth),
}

impl Extractor {
    /// Loads a feature network. `inception_weights` is the path of Inception's weights, by default
    /// their place in the cache. Errors name the file and the remedy.
    pub fn load(
        choice: &FeatureChoice,
        inception_weights: Option<&Path>,
        device: &Device,
    ) -> Result<Self> {
        let boxed = |(network, sha256)| (Network::Classifier(Box::new(network)), sha256);
        let (network, sha256) = match choice {
            FeatureChoice::MnistClassifier => boxed(classifier::shipped(device)?),
            FeatureChoice::File(path) => boxed(classifier::load(path, device)?),
            FeatureChoice::Inception(depth) => {
                let (network, sha256) = weights::load(inception_weights, device)?;
                (Network::Inception(network, *depth), sha256)
            }
        };
        let (name, dims, preprocessing) = match &network {
            Network::Classifier(_) => ("classifier", classifier::FEATURES, "28x28 grey in [0, 1]"),
            Network::Inception(_, depth) => {
                ("inception", depth.dims(), "grey to RGB, bilinear 299x299")
            }
        };
        let short = &sha256[..DIGITS];
        let description = match choice {
            FeatureChoice::MnistClassifier => {
                format!("mnist-classifier ({dims} features, sha256 {short})")
            }
            FeatureChoice::File(path) => {
                format!("classifier {} ({dims} features, sha256 {short})", path.display())
            }
            FeatureChoice::Inception(_) => {
                format!("inception-{dims} (FID Inception v3, sha256 {short}), {preprocessing}")
            }
        };
        let (network_name, preprocessing) = (name.to_owned(), preprocessing.to_owned());
        let spec = FeatureSpec { network: network_name, dims, sha256, preprocessing };
        Ok(Self { network, device: device.clone(), description, spec })
    }

    /// Features per image.
    pub fn dims(&self) -> usize {
        self.spec.dims
    }

    /// The shape of the images that the network takes, if it takes no other.
    pub fn shape(&self) -> Option<ImageShape> {
        match self.network {
            Network::Classifier(_) => Some(classifier::SHAPE),
            Network::Inception(..) => None,
        }
    }

    /// Refuses images of a shape that the network does not take.
    pub fn require_shape(&self, shape: ImageShape) -> Result<()> {
        if self.shape().is_some() {
            classifier::check_shape(shape).context("--features inception takes any size")?;
        }
        Ok(())
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
    pub fn features(&self, images: ImageBatch<'_>) -> Result<Vec<f32>> {
        match &self.network {
            Network::Classifier(network) => {
                self.require_shape(images.shape)?;
                let pixels = images.bytes.iter().map(|&byte| f32::from(byte) / 255.0);
                download(network.features(classifier::images(pixels, &self.device)))
            }
            Network::Inception(network, depth) => network.features(images, *depth, &self.device),
        }
    }
}
