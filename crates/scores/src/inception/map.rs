//! The feature maps that Inception computes on, and their operations.

use anyhow::Result;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use burn::tensor::module::{avg_pool2d, conv2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use hvae_device::download;

use crate::inception::conv::Conv;

/// The pools of the network, of 3x3 windows.
#[derive(Debug, Clone, Copy)]
pub enum Pool {
    /// The maximum, of stride 2 without padding.
    Reduce,
    /// The maximum, of stride 1; maps keep their size.
    Max,
    /// The mean, of stride 1; maps keep their size, and padding does not count.
    Mean,
}

/// A batch of feature maps with the operations of the network.
pub trait FeatureMap: Sized {
    /// Convolution, bias and `ReLU`.
    #[must_use]
    fn conv(&self, conv: &Conv) -> Self;
    /// Pooling of 3x3 windows.
    #[must_use]
    fn pool(&self, pool: Pool) -> Self;
    /// Concatenates the channels of `parts`.
    #[must_use]
    fn cat(parts: Vec<Self>) -> Self;
    /// The mean over all positions, `channels` numbers per image.
    fn global_avg_pool(self) -> Result<Vec<f32>>;
}

/// `[batch, channels, height, width]`, by Burn's operations on any device.
impl FeatureMap for Tensor<4> {
    fn conv(&self, conv: &Conv) -> Self {
        let options = ConvOptions::new([conv.shape.stride; 2], conv.shape.padding, [1, 1], 1);
        relu(conv2d(self.clone(), conv.kernel(), Some(conv.bias.clone()), options))
    }

    fn pool(&self, pool: Pool) -> Self {
        let max = MaxPoolOptions::new([3, 3]);
        let mean = AvgPoolOptions::new([3, 3]).with_stride([1, 1]).with_padding([1, 1]);
        match pool {
            Pool::Reduce => max_pool2d(self.clone(), max.with_stride([2, 2])),
            Pool::Max => max_pool2d(self.clone(), max.with_stride([1, 1]).with_padding([1, 1])),
            Pool::Mean => avg_pool2d(self.clone(), mean.with_count_include_pad(false)),
        }
    }

    fn cat(parts: Vec<Self>) -> Self {
        Self::cat(parts, 1)
    }

    fn global_avg_pool(self) -> Result<Vec<f32>> {
        let [batch, channels, height, width] = self.dims();
        let positions = self.reshape([batch, channels, height * width]);
        download(positions.mean_dim(2))
    }
}
