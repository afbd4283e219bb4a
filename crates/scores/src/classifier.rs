//! A small convolutional classifier of 28x28 images, whose penultimate layer gives features.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::Rng;
use rand_distr::{Distribution, Uniform};

use hvae_data::CLASSES;
use hvae_runtime::{files, tensors};

/// Height and width of the images it takes.
pub const SIDE: usize = 28;
/// Numbers of its penultimate layer.
pub const FEATURES: usize = 128;
/// How the name of a file of its weights ends.
pub const ENDING: &str = "safetensors";

/// Channels of the two convolutions.
const CHANNELS: [usize; 2] = [16, 32];
/// What the second convolution leaves of an image.
const FLAT: usize = CHANNELS[1] * 7 * 7;
/// Larger files than this are no weights of this network.
const MAX_BYTES: u64 = 4 << 20;

/// The weights that come with the program: trained on MNIST by `hvae classifier train`.
const SHIPPED: &[u8] = include_bytes!("../assets/mnist-classifier.safetensors");
/// Their SHA-256.
pub const SHIPPED_SHA256: &str = include_str!("../assets/mnist-classifier.sha256").trim_ascii();

/// 5x5 and 3x3 convolutions of stride 2, a hidden layer of [`FEATURES`] and the classes; rectified.
#[derive(Module, Debug)]
pub struct Classifier {
    first: Conv2d,
    second: Conv2d,
    hidden: Linear,
    output: Linear,
}

impl Classifier {
    /// A network with weights uniform in `+-sqrt(6 / inputs)` (He et al. 2015, arXiv 1502.01852)
    /// and biases of 0.
    pub fn new(rng: &mut impl Rng, device: &Device) -> Self {
        let mut network = Self::zeros(device);
        fill(&mut network.first.weight, 25, rng, device);
        fill(&mut network.second.weight, CHANNELS[0] * 9, rng, device);
        fill(&mut network.hidden.weight, FLAT, rng, device);
        fill(&mut network.output.weight, FEATURES, rng, device);
        network
    }

    fn zeros(device: &Device) -> Self {
        let conv = |channels, size: usize| {
            Conv2dConfig::new(channels, [size; 2])
                .with_stride([2, 2])
                .with_padding(PaddingConfig2d::Explicit(size / 2, size / 2, size / 2, size / 2))
                .with_initializer(Initializer::Zeros)
                .init(device)
        };
        let linear = |from, to| {
            LinearConfig::new(from, to).with_initializer(Initializer::Zeros).init(device)
        };
        Self {
            first: conv([1, CHANNELS[0]], 5),
            second: conv(CHANNELS, 3),
            hidden: linear(FLAT, FEATURES),
            output: linear(FEATURES, CLASSES.into()),
        }
    }

    /// The penultimate layer of images `[batch, 1, 28, 28]` in `[0, 1]`: `[batch, 128]`, none
    /// below 0.
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let states = relu(self.first.forward(images));
        let states = relu(self.second.forward(states));
        relu(self.hidden.forward(states.flatten(1, 3)))
    }

    /// The logits of the classes, `[batch, 10]`.
    pub fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        self.output.forward(self.features(images))
    }

    /// The weights in half precision, as they are stored.
    ///
    /// # Errors
    ///
    /// When the device cannot be read.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let half = self.clone().map(&mut ToType(DType::F16));
        tensors::to_bytes(&half).context("collecting the classifier's weights")
    }

    /// A network from [`Self::to_bytes`].
    ///
    /// # Errors
    ///
    /// When the bytes are damaged, lack a tensor, hold others or other shapes, or a number that is
    /// not finite.
    pub fn from_bytes(bytes: Vec<u8>, device: &Device) -> Result<Self> {
        let network = tensors::from_bytes(bytes, Self::zeros(device))
            .context("not the weights of a classifier")?;
        let network = network.map(&mut ToType(DType::F32));
        ensure!(tensors::is_finite(&network), "it holds numbers that are not finite");
        Ok(network)
    }
}

fn fill<const D: usize>(
    weight: &mut Param<Tensor<D>>,
    inputs: usize,
    rng: &mut impl Rng,
    device: &Device,
) {
    let bound = (6.0 / inputs as f32).sqrt();
    let range = Uniform::new(-bound, bound).expect("the bound is positive");
    let shape = weight.dims();
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| range.sample(rng)).collect();
    *weight = Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), device));
}

/// Casts every parameter.
struct ToType(DType);

impl burn::module::ModuleMapper for ToType {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.cast(self.0))
    }
}

/// The network that comes with the program, and the hash of its weights.
///
/// # Errors
///
/// When the program itself is damaged.
pub fn shipped(device: &Device) -> Result<(Classifier, String)> {
    let hash = files::hex_sha256(SHIPPED);
    ensure!(hash == SHIPPED_SHA256, "the program's own classifier is damaged: build it anew");
    Ok((Classifier::from_bytes(SHIPPED.to_vec(), device)?, hash))
}

/// The network in the file `path`, and the hash of its weights.
///
/// # Errors
///
/// When the file cannot be read or does not fit.
pub fn load(path: &Path, device: &Device) -> Result<(Classifier, String)> {
    let read = || {
        let length = std::fs::metadata(path)?.len();
        if length > MAX_BYTES {
            bail!("{length} bytes are too many for the weights of a classifier");
        }
        let bytes = std::fs::read(path)?;
        let hash = files::hex_sha256(&bytes);
        Ok((Classifier::from_bytes(bytes, device)?, hash))
    };
    read().with_context(|| {
        format!("cannot use {}; `hvae classifier train` makes such files", path.display())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;
    use hvae_device::host::download;
    use hvae_runtime::rng;
    use hvae_runtime::rng::Stream;

    fn network() -> Classifier {
        Classifier::new(&mut rng::generator(1, Stream::Weights, 0), &Device::flex())
    }

    fn features(network: &Classifier) -> Vec<f32> {
        let values: Vec<f32> = (0..2 * SIDE * SIDE).map(|i| (i % 7) as f32 / 6.0).collect();
        let data = TensorData::new(values, [2, 1, SIDE, SIDE]);
        download(network.features(Tensor::from_data(data, &Device::flex()))).unwrap()
    }

    #[test]
    fn stored_weights_give_nearly_the_same_features() {
        let network = network();
        let bytes = network.to_bytes().unwrap();
        assert!(bytes.len() < 500_000, "{}", bytes.len());
        let restored = Classifier::from_bytes(bytes.clone(), &Device::flex()).unwrap();
        let (a, b) = (features(&network), features(&restored));
        assert_eq!(a.len(), 2 * FEATURES);
        let scale = a.iter().copied().fold(0.0, f32::max);
        for (a, b) in a.iter().zip(&b) {
            assert!((a - b).abs() < 2e-3 * scale, "{a} {b}");
        }
        // A second time nothing is lost.
        assert_eq!(restored.to_bytes().unwrap(), bytes);
    }

    #[test]
    fn damaged_weights_are_refused_by_name() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("mine.safetensors");
        let bytes = network().to_bytes().unwrap();
        for wrong in [&bytes[..bytes.len() / 2], b"<html>", &[]] {
            std::fs::write(&path, wrong).unwrap();
            let message = format!("{:#}", load(&path, &Device::flex()).unwrap_err());
            assert!(message.contains("mine.safetensors"), "{message}");
        }
        std::fs::write(&path, tensors::to_bytes(&network().hidden).unwrap()).unwrap();
        let message = format!("{:#}", load(&path, &Device::flex()).unwrap_err());
        assert!(message.contains("not the weights of a classifier"), "{message}");
        assert!(message.contains("`first.weight` is missing"), "{message}");
        assert!(message.contains("more") && message.lines().count() == 1, "{message}");
    }

    #[test]
    fn the_shipped_classifier_loads() {
        let (network, hash) = shipped(&Device::flex()).unwrap();
        assert_eq!((hash.as_str(), features(&network).len()), (SHIPPED_SHA256, 2 * FEATURES));
    }
}
