//! The network: its layers in order, and its features.

use std::str::FromStr;

use anyhow::{Result, ensure};
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

use crate::inception::blocks::{BlockA, BlockB, BlockC, BlockD, BlockE, ConvSource, Pooling};
use crate::inception::conv::{Conv, ConvShape};
use crate::inception::host::HostMap;
use crate::inception::map::FeatureMap;
use crate::inception::preprocess::{SIDE, preprocess};
use crate::stream::ImageBatch;

/// Images per batch.
pub(crate) const BATCH: usize = 32;

/// The stage whose features are used, by their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// After the first max pool.
    D64,
    /// After the second max pool.
    D192,
    /// Before the auxiliary classifier of torchvision.
    D768,
    /// After the last pool: the features of published FIDs.
    D2048,
}

impl Depth {
    /// All stages, from the shallowest.
    pub const ALL: [Self; 4] = [Self::D64, Self::D192, Self::D768, Self::D2048];

    /// Number of features.
    pub fn dims(self) -> usize {
        match self {
            Self::D64 => 64,
            Self::D192 => 192,
            Self::D768 => 768,
            Self::D2048 => 2048,
        }
    }
}

impl FromStr for Depth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|depth| depth.dims().to_string() == text);
        known.ok_or_else(|| format!("Inception has 64, 192, 768 or 2048 features, not {text}"))
    }
}

/// The network up to its 2048 features.
#[derive(Module, Debug)]
pub struct Inception {
    conv2d_1a: Conv,
    conv2d_2a: Conv,
    conv2d_2b: Conv,
    conv2d_3b: Conv,
    conv2d_4a: Conv,
    mixed_5b: BlockA,
    mixed_5c: BlockA,
    mixed_5d: BlockA,
    mixed_6a: BlockB,
    mixed_6b: BlockC,
    mixed_6c: BlockC,
    mixed_6d: BlockC,
    mixed_6e: BlockC,
    mixed_7a: BlockD,
    mixed_7b: BlockE,
    mixed_7c: BlockE,
}

impl Inception {
    /// Builds the network from convolutions that `take` makes, given their names and shapes.
    ///
    /// # Errors
    ///
    /// The first error of `take`.
    pub fn new(take: ConvSource<'_>) -> Result<Self> {
        let point = |from, to| ConvShape::same([from, to], [1, 1]);
        Ok(Self {
            conv2d_1a: take("Conv2d_1a_3x3", ConvShape::valid([3, 32], 2))?,
            conv2d_2a: take("Conv2d_2a_3x3", ConvShape::valid([32, 32], 1))?,
            conv2d_2b: take("Conv2d_2b_3x3", ConvShape::same([32, 64], [3, 3]))?,
            conv2d_3b: take("Conv2d_3b_1x1", point(64, 80))?,
            conv2d_4a: take("Conv2d_4a_3x3", ConvShape::valid([80, 192], 1))?,
            mixed_5b: BlockA::new("Mixed_5b", 192, 32, take)?,
            mixed_5c: BlockA::new("Mixed_5c", 256, 64, take)?,
            mixed_5d: BlockA::new("Mixed_5d", 288, 64, take)?,
            mixed_6a: BlockB::new("Mixed_6a", 288, take)?,
            mixed_6b: BlockC::new("Mixed_6b", 128, take)?,
            mixed_6c: BlockC::new("Mixed_6c", 160, take)?,
            mixed_6d: BlockC::new("Mixed_6d", 160, take)?,
            mixed_6e: BlockC::new("Mixed_6e", 192, take)?,
            mixed_7a: BlockD::new("Mixed_7a", take)?,
            mixed_7b: BlockE::new("Mixed_7b", 1280, take)?,
            mixed_7c: BlockE::new("Mixed_7c", 2048, take)?,
        })
    }

    /// The feature maps after the stage `depth`; `images` have three channels in `[-1, 1]`.
    pub fn forward<M: FeatureMap>(&self, images: &M, depth: Depth) -> M {
        let x = images
            .conv(&self.conv2d_1a)
            .conv(&self.conv2d_2a)
            .conv(&self.conv2d_2b)
            .max_pool_stride_2();
        if depth == Depth::D64 {
            return x;
        }
        let x = x.conv(&self.conv2d_3b).conv(&self.conv2d_4a).max_pool_stride_2();
        if depth == Depth::D192 {
            return x;
        }
        let x = self.mixed_5d.forward(&self.mixed_5c.forward(&self.mixed_5b.forward(&x)));
        let x = self.mixed_6b.forward(&self.mixed_6a.forward(&x));
        let x = self.mixed_6e.forward(&self.mixed_6d.forward(&self.mixed_6c.forward(&x)));
        if depth == Depth::D768 {
            return x;
        }
        let x = self.mixed_7b.forward(&self.mixed_7a.forward(&x), Pooling::Mean);
        self.mixed_7c.forward(&x, Pooling::Max)
    }

    /// The features of grey images, image after image: maps averaged over all positions.
    ///
    /// Computed by `HostMap` on the CPU, by Burn's tensors on other devices.
    ///
    /// # Errors
    ///
    /// When the images are not grey, or the device cannot be read.
    pub fn features(
        &self,
        images: ImageBatch<'_>,
        depth: Depth,
        device: &Device,
    ) -> Result<Vec<f32>> {
        let channels = images.shape.channels;
        ensure!(channels == 1, "Inception features of {channels} channels are not implemented");
        let (batch, grey) = (images.len(), preprocess(images));
        if *device == Device::flex() {
            let values = grey.into_iter().flat_map(|value| [value; 3]).collect();
            let images = HostMap { batch, height: SIDE, width: SIDE, channels: 3, values };
            return self.forward(&images, depth).global_avg_pool();
        }
        let grey = Tensor::<4>::from_data(TensorData::new(grey, [batch, 1, SIDE, SIDE]), device);
        self.forward(&grey.expand([batch, 3, SIDE, SIDE]), depth).global_avg_pool()
    }
}
