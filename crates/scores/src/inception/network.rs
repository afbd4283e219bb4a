//! The network: its layers in order, in torchvision's names, and its features.

use anyhow::{Result, ensure};
use burn::tensor::{Device, Tensor, TensorData};

use crate::inception::conv::{Conv, ConvShape, point, same, valid};
use crate::inception::host::HostMap;
use crate::inception::map::{FeatureMap, Pool};
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
        [64, 192, 768, 2048][self as usize]
    }
}

/// Makes the convolution of a given name and shape.
type ConvSource<'a> = &'a mut dyn FnMut(&str, ConvShape) -> Result<Conv>;

#[derive(Debug)]
enum Layer {
    Conv(Box<Conv>),
    Pool(Pool),
    /// Sequences of layers side by side, whose channels are concatenated.
    Branches(Vec<Vec<Self>>),
}

impl Layer {
    fn conv(conv: Conv) -> Self {
        Self::Conv(Box::new(conv))
    }

    fn forward<M: FeatureMap>(&self, x: &M) -> M {
        match self {
            Self::Conv(conv) => x.conv(conv),
            Self::Pool(pool) => x.pool(*pool),
            Self::Branches(branches) => {
                M::cat(branches.iter().map(|layers| sequence(layers, x)).collect())
            }
        }
    }
}

/// Applies one layer after another.
fn sequence<'a, M: FeatureMap>(layers: impl IntoIterator<Item = &'a Layer>, x: &M) -> M {
    let mut layers = layers.into_iter();
    let first = layers.next().expect("a sequence has layers");
    layers.fold(first.forward(x), |x, layer| layer.forward(&x))
}

/// The network up to its 2048 features.
#[derive(Debug)]
pub struct Inception {
    /// The layers up to each [`Depth`], from the one before.
    stages: [Vec<Layer>; 4],
}

impl Inception {
    /// Builds the network from convolutions that `take` makes, given their names and shapes.
    pub fn new(take: ConvSource<'_>) -> Result<Self> {
        let mut conv = |name: &str, shape| take(name, shape).map(Layer::conv);
        let stages = [
            vec![
                conv("Conv2d_1a_3x3", valid([3, 32], 2))?,
                conv("Conv2d_2a_3x3", valid([32, 32], 1))?,
                conv("Conv2d_2b_3x3", same([32, 64], [3, 3]))?,
                Layer::Pool(Pool::Reduce),
            ],
            vec![
                conv("Conv2d_3b_1x1", point(64, 80))?,
                conv("Conv2d_4a_3x3", valid([80, 192], 1))?,
                Layer::Pool(Pool::Reduce),
            ],
            vec![
                block_a("Mixed_5b", 192, 32, take)?,
                block_a("Mixed_5c", 256, 64, take)?,
                block_a("Mixed_5d", 288, 64, take)?,
                block_b("Mixed_6a", 288, take)?,
                block_c("Mixed_6b", 128, take)?,
                block_c("Mixed_6c", 160, take)?,
                block_c("Mixed_6d", 160, take)?,
                block_c("Mixed_6e", 192, take)?,
            ],
            // In the network that FID is defined with, only the last block has a max pool.
            vec![
                block_d("Mixed_7a", take)?,
                block_e("Mixed_7b", 1280, Pool::Mean, take)?,
                block_e("Mixed_7c", 2048, Pool::Max, take)?,
            ],
        ];
        Ok(Self { stages })
    }

    /// The feature maps after the stage `depth`; `images` have three channels in `[-1, 1]`.
    pub fn forward<M: FeatureMap>(&self, images: &M, depth: Depth) -> M {
        sequence(self.stages[..=depth as usize].iter().flatten(), images)
    }

    /// The features of grey images, image after image: maps averaged over all positions.
    ///
    /// Computed by `HostMap` on the CPU, by Burn's tensors on other devices.
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

/// Takes the convolutions `<block>.<name>`.
fn layers_of(block: &str, take: ConvSource<'_>) -> impl FnMut(&str, ConvShape) -> Result<Layer> {
    move |name, shape| take(&format!("{block}.{name}"), shape).map(Layer::conv)
}

/// 35x35 maps: branches of 1x1, 5x5, two 3x3 convolutions, and a pool.
fn block_a(block: &str, from: usize, pooled: usize, take: ConvSource<'_>) -> Result<Layer> {
    let mut conv = layers_of(block, take);
    Ok(Layer::Branches(vec![
        vec![conv("branch1x1", point(from, 64))?],
        vec![conv("branch5x5_1", point(from, 48))?, conv("branch5x5_2", same([48, 64], [5, 5]))?],
        vec![
            conv("branch3x3dbl_1", point(from, 64))?,
            conv("branch3x3dbl_2", same([64, 96], [3, 3]))?,
            conv("branch3x3dbl_3", same([96, 96], [3, 3]))?,
        ],
        vec![Layer::Pool(Pool::Mean), conv("branch_pool", point(from, pooled))?],
    ]))
}

/// From 35x35 to 17x17 maps.
fn block_b(block: &str, from: usize, take: ConvSource<'_>) -> Result<Layer> {
    let mut conv = layers_of(block, take);
    Ok(Layer::Branches(vec![
        vec![conv("branch3x3", valid([from, 384], 2))?],
        vec![
            conv("branch3x3dbl_1", point(from, 64))?,
            conv("branch3x3dbl_2", same([64, 96], [3, 3]))?,
            conv("branch3x3dbl_3", valid([96, 96], 2))?,
        ],
        vec![Layer::Pool(Pool::Reduce)],
    ]))
}

/// 17x17 maps: 7x7 convolutions factorised into 1x7 and 7x1.
fn block_c(block: &str, inner: usize, take: ConvSource<'_>) -> Result<Layer> {
    let wide = |from, to| same([from, to], [1, 7]);
    let high = |from, to| same([from, to], [7, 1]);
    let mut conv = layers_of(block, take);
    Ok(Layer::Branches(vec![
        vec![conv("branch1x1", point(768, 192))?],
        vec![
            conv("branch7x7_1", point(768, inner))?,
            conv("branch7x7_2", wide(inner, inner))?,
            conv("branch7x7_3", high(inner, 192))?,
        ],
        vec![
            conv("branch7x7dbl_1", point(768, inner))?,
            conv("branch7x7dbl_2", high(inner, inner))?,
            conv("branch7x7dbl_3", wide(inner, inner))?,
            conv("branch7x7dbl_4", high(inner, inner))?,
            conv("branch7x7dbl_5", wide(inner, 192))?,
        ],
        vec![Layer::Pool(Pool::Mean), conv("branch_pool", point(768, 192))?],
    ]))
}

/// From 17x17 to 8x8 maps.
fn block_d(block: &str, take: ConvSource<'_>) -> Result<Layer> {
    let mut conv = layers_of(block, take);
    Ok(Layer::Branches(vec![
        vec![conv("branch3x3_1", point(768, 192))?, conv("branch3x3_2", valid([192, 320], 2))?],
        vec![
            conv("branch7x7x3_1", point(768, 192))?,
            conv("branch7x7x3_2", same([192, 192], [1, 7]))?,
            conv("branch7x7x3_3", same([192, 192], [7, 1]))?,
            conv("branch7x7x3_4", valid([192, 192], 2))?,
        ],
        vec![Layer::Pool(Pool::Reduce)],
    ]))
}

/// 8x8 maps: branches that split into 1x3 and 3x1 convolutions.
fn block_e(block: &str, from: usize, pool: Pool, take: ConvSource<'_>) -> Result<Layer> {
    let wide = same([384, 384], [1, 3]);
    let high = same([384, 384], [3, 1]);
    let split = |wide, high| Layer::Branches(vec![vec![wide], vec![high]]);
    let mut conv = layers_of(block, take);
    Ok(Layer::Branches(vec![
        vec![conv("branch1x1", point(from, 320))?],
        vec![
            conv("branch3x3_1", point(from, 384))?,
            split(conv("branch3x3_2a", wide)?, conv("branch3x3_2b", high)?),
        ],
        vec![
            conv("branch3x3dbl_1", point(from, 448))?,
            conv("branch3x3dbl_2", same([448, 384], [3, 3]))?,
            split(conv("branch3x3dbl_3a", wide)?, conv("branch3x3dbl_3b", high)?),
        ],
        vec![Layer::Pool(pool), conv("branch_pool", point(from, 192))?],
    ]))
}
