//! The network, its weights in the crate, and its files.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{DType, Device, Tensor, TensorData};
use hvae_data::ImageShape;
use hvae_runtime::{files, tensors};
use rand::Rng;
use rand_distr::{Distribution, Uniform};

/// Height and width of its images.
pub(crate) const SIDE: usize = 28;
/// The shape of the images that it takes.
pub(crate) const SHAPE: ImageShape = ImageShape::grey(SIDE, SIDE);
/// Number of its classes.
pub const CLASSES: usize = 10;
/// Width of its penultimate layer.
pub(crate) const FEATURES: usize = 128;
/// Images per batch where nothing is trained.
pub(crate) const BATCH: usize = 500;
/// Extension of a file of its weights.
pub(crate) const EXTENSION: &str = "safetensors";

/// Channels of the two convolutions.
const CHANNELS: [usize; 2] = [16, 32];
/// Flattened output of the second convolution.
const FLAT: usize = CHANNELS[1] * 7 * 7;
/// Largest file that can hold weights of this network.
const MAX_BYTES: u64 = 4 << 20;

/// The weights in this crate, trained on MNIST by `hvae classifier train`.
const SHIPPED: &[u8] = include_bytes!("../../assets/mnist-classifier.safetensors");
/// Their SHA-256.
const SHIPPED_SHA256: &str = include_str!("../../assets/mnist-classifier.sha256").trim_ascii();

/// A 5x5 and a 3x3 convolution of stride 2, a hidden layer of 128 units and 10 logits, with `ReLU`.
#[derive(Module, Debug)]
pub struct Classifier {
    first: Conv2d,
    second: Conv2d,
    hidden: Linear,
    output: Linear,
}

impl Classifier {
    /// A network with weights uniform in `+-sqrt(6 / fan_in)` (He et al. 2015, arXiv 1502.01852)
    /// and biases of 0.
    pub(crate) fn new(rng: &mut impl Rng, device: &Device) -> Self {
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
            output: linear(FEATURES, CLASSES),
        }
    }

    /// The penultimate layer of images `[batch, 1, 28, 28]` in `[0, 1]`: `[batch, 128]`, not
    /// negative.
    pub(crate) fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let states = relu(self.first.forward(images));
        let states = relu(self.second.forward(states));
        relu(self.hidden.forward(states.flatten(1, 3)))
    }

    /// The logits of the classes, `[batch, 10]`.
    pub(crate) fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        self.output.forward(self.features(images))
    }

    /// The weights as a safetensors file in half precision.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let half = self.clone().map(&mut ToType(DType::F16));
        tensors::to_bytes(&half).context("collecting the classifier's weights")
    }

    /// A network from the bytes of [`Self::to_bytes`].
    pub(crate) fn from_bytes(bytes: Vec<u8>, device: &Device) -> Result<Self> {
        let network = tensors::from_bytes(bytes, Self::zeros(device))
            .context("not the weights of a classifier")?;
        let network = network.map(&mut ToType(DType::F32));
        ensure!(tensors::is_finite(&network), "weights that are not finite");
        Ok(network)
    }
}

/// Refuses images of another shape than the network takes.
pub fn check_shape(shape: ImageShape) -> Result<()> {
    ensure!(
        shape == SHAPE,
        "the classifier takes images of {SIDE}x{SIDE} pixels, not {}",
        shape.size()
    );
    Ok(())
}

/// Images `[batch, 1, 28, 28]` of pixels in `[0, 1]`.
pub(crate) fn images(pixels: impl Iterator<Item = f32>, device: &Device) -> Tensor<4> {
    let pixels: Vec<f32> = pixels.collect();
    let count = pixels.len() / (SIDE * SIDE);
    Tensor::from_data(TensorData::new(pixels, [count, 1, SIDE, SIDE]), device)
}

fn fill<const D: usize>(
    weight: &mut Param<Tensor<D>>,
    fan_in: usize,
    rng: &mut impl Rng,
    device: &Device,
) {
    let bound = (6.0 / fan_in as f32).sqrt();
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

/// The classifier of this crate, and the SHA-256 of its weights.
pub fn shipped(device: &Device) -> Result<(Classifier, String)> {
    let hash = files::hex_sha256(SHIPPED);
    ensure!(hash == SHIPPED_SHA256, "the built-in classifier is damaged: rebuild the program");
    Ok((Classifier::from_bytes(SHIPPED.to_vec(), device)?, hash))
}

/// The classifier in the file `path`, and the SHA-256 of its weights.
pub fn load(path: &Path, device: &Device) -> Result<(Classifier, String)> {
    let read = || {
        let length = std::fs::metadata(path)?.len();
        ensure!(length <= MAX_BYTES, "{length} bytes are too many for the weights of a classifier");
        let bytes = files::read_regular(path)?;
        let hash = files::hex_sha256(&bytes);
        Ok((Classifier::from_bytes(bytes, device)?, hash))
    };
    read().with_context(|| {
        format!("cannot use {}: expected a file of `hvae classifier train`", path.display())
    })
}

#[cfg(test)]
mod tests {
    use hvae_device::download;
    use hvae_runtime::rng::{self, Stream};

    use super::*;

    fn network() -> Classifier {
        Classifier::new(&mut rng::generator(1, Stream::Weights, 0), &Device::flex())
    }

    fn features(network: &Classifier) -> Vec<f32> {
        let pixels = (0..2 * SIDE * SIDE).map(|i| (i % 7) as f32 / 6.0);
        download(network.features(images(pixels, &Device::flex()))).unwrap()
    }

    #[test]
    fn half_precision_keeps_the_features() {
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
        // Storing again loses nothing.
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
    fn the_built_in_classifier_loads() {
        let (network, hash) = shipped(&Device::flex()).unwrap();
        assert_eq!((hash.as_str(), features(&network).len()), (SHIPPED_SHA256, 2 * FEATURES));
    }
}
