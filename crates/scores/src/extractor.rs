//! The networks whose features sets of images are compared in.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Result, ensure};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::classifier;
use crate::classifier::Classifier;
use crate::inception;
use crate::inception::{Depth, Inception};
use hvae_device::host::download;

/// Which features, as `--features` takes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeatureChoice {
    /// The classifier of MNIST digits that comes with the program.
    MnistClassifier,
    /// FID Inception v3, after one of its four stages.
    Inception(Depth),
    /// A classifier that `hvae classifier train` has made.
    File(PathBuf),
}

impl FeatureChoice {
    /// What it is called in the name of a file.
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
                if Path::new(text).extension().is_some_and(|e| e == classifier::ENDING) {
                    return Ok(Self::File(PathBuf::from(text)));
                }
                Err(format!(
                    "`{text}` is none of mnist-classifier, inception, inception-64, inception-192, \
                     inception-768, or a .{} file made by `hvae classifier train`",
                    classifier::ENDING
                ))
            }
        }
    }
}

/// Grey images, one after another and row by row.
#[derive(Debug, Clone, Copy)]
pub struct Pictures<'a> {
    /// Their pixels.
    pub bytes: &'a [u8],
    /// Height of each.
    pub height: usize,
    /// Width of each.
    pub width: usize,
}

impl Pictures<'_> {
    /// How many.
    pub fn len(&self) -> usize {
        self.bytes.len() / (self.height * self.width)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Which features some numbers belong to; only those of equal ones compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features {
    /// `classifier` or `inception`.
    pub network: String,
    /// Numbers per image.
    pub dims: usize,
    /// SHA-256 of the network's weights.
    pub sha256: String,
    /// How images reach the network.
    pub preprocessing: String,
}

/// A network with its weights, ready to turn images into features.
#[derive(Debug)]
pub struct Extractor {
    network: Network,
    device: Device,
    protocol: String,
    given: Features,
}

#[derive(Debug)]
enum Network {
    Classifier(Box<Classifier>),
    Inception(Box<Inception>, Depth),
}

impl Extractor {
    /// Loads the network. `inception_weights` is where its file is, if not in its usual place.
    ///
    /// # Errors
    ///
    /// When weights are missing, altered or unsuitable; the message names the file and what to do.
    pub fn load(
        choice: &FeatureChoice,
        inception_weights: Option<&Path>,
        device: &Device,
    ) -> Result<Self> {
        let with_classifier = |name: &str, (network, hash): (Classifier, String)| Self {
            network: Network::Classifier(Box::new(network)),
            device: device.clone(),
            protocol: format!("{name} ({} features, sha256 {})", classifier::FEATURES, &hash[..12]),
            given: Features {
                network: "classifier".to_owned(),
                dims: classifier::FEATURES,
                sha256: hash,
                preprocessing: "28x28 grey in [0, 1]".to_owned(),
            },
        };
        Ok(match choice {
            FeatureChoice::MnistClassifier => {
                with_classifier("mnist-classifier", classifier::shipped(device)?)
            }
            FeatureChoice::File(path) => {
                let shown = format!("classifier {}", path.display());
                with_classifier(&shown, classifier::load(path, device)?)
            }
            FeatureChoice::Inception(depth) => {
                let (inception, hash) = inception::weights::load(inception_weights, device)?;
                Self::inception(inception, *depth, &hash, device)
            }
        })
    }

    /// With an Inception network that is loaded already; `hash` is that of its weights.
    pub fn inception(network: Inception, depth: Depth, hash: &str, device: &Device) -> Self {
        let preprocessing = "grey to RGB, bilinear 299x299";
        let protocol = format!(
            "inception-{} (FID Inception v3, sha256 {}), {preprocessing}",
            depth.dims(),
            &hash[..12]
        );
        let given = Features {
            network: "inception".to_owned(),
            dims: depth.dims(),
            sha256: hash.to_owned(),
            preprocessing: preprocessing.to_owned(),
        };
        Self {
            network: Network::Inception(Box::new(network), depth),
            device: device.clone(),
            protocol,
            given,
        }
    }

    /// Numbers per image.
    pub fn dims(&self) -> usize {
        match &self.network {
            Network::Classifier(_) => classifier::FEATURES,
            Network::Inception(_, depth) => depth.dims(),
        }
    }

    /// Images per batch that suit the network.
    pub fn batch(&self) -> usize {
        match &self.network {
            Network::Classifier(_) => 500,
            Network::Inception(..) => inception::BATCH,
        }
    }

    /// Which features these are: network, hash of its weights, and how images reach it.
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// The same for a program.
    pub fn given(&self) -> &Features {
        &self.given
    }

    /// The features of `pictures`, image after image.
    ///
    /// # Errors
    ///
    /// When the network takes other sizes, or the device cannot be read.
    pub fn features(&self, pictures: Pictures<'_>) -> Result<Vec<f32>> {
        let Pictures { height, width, .. } = pictures;
        match &self.network {
            Network::Classifier(network) => {
                ensure!(
                    [height, width] == [classifier::SIDE; 2],
                    "the classifier takes images of {side}x{side} pixels, not {width}x{height}; \
                     --features inception takes any size",
                    side = classifier::SIDE
                );
                let values: Vec<f32> =
                    pictures.bytes.iter().map(|&b| f32::from(b) / 255.0).collect();
                let shape = [pictures.len(), 1, height, width];
                let images = Tensor::from_data(TensorData::new(values, shape), &self.device);
                download(network.features(images))
            }
            Network::Inception(network, depth) => network.features(pictures, *depth, &self.device),
        }
    }
}

/// The usual place of downloaded weights: `$XDG_CACHE_HOME/hvae` or `~/.cache/hvae`, else the
/// working folder.
pub fn cache_folder() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").or_else(|| set("USERPROFILE")).map(|home| home.join(".cache")));
    cache.unwrap_or_default().join("hvae")
}
