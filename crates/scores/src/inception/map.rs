//! The feature maps that Inception computes on, and their operations.

use anyhow::Result;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use burn::tensor::module::{avg_pool2d, conv2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use hvae_device::host::download;

use crate::inception::conv::Conv;

/// A batch of feature maps with the operations of the network. All pooling windows are 3x3.
pub trait FeatureMap: Sized {
    /// Convolution, bias and `ReLU`.
    #[must_use]
    fn conv(&self, conv: &Conv) -> Self;
    /// Max pooling of stride 2 without padding.
    #[must_use]
    fn max_pool_stride_2(&self) -> Self;
    /// Max pooling of stride 1 that keeps the size of the maps.
    #[must_use]
    fn max_pool(&self) -> Self;
    /// Average pooling of stride 1 that keeps the size of the maps; padding does not count.
    #[must_use]
    fn avg_pool(&self) -> Self;
    /// Concatenates the channels of `parts`.
    #[must_use]
    fn cat(parts: Vec<Self>) -> Self;
    /// The mean over all positions, `channels` numbers per image.
    ///
    /// # Errors
    ///
    /// When the device cannot be read.
    fn global_avg_pool(self) -> Result<Vec<f32>>;
}

/// `[batch, channels, height, width]`, by Burn's operations on any device.
impl FeatureMap for Tensor<4> {
    fn conv(&self, conv: &Conv) -> Self {
        let shape = conv.shape;
        let [height, width] = shape.padding;
        let options = ConvOptions::new([shape.stride; 2], [height, width], [1, 1], 1);
        relu(conv2d(self.clone(), conv.kernel(), Some(conv.bias.val()), options))
    }

    fn max_pool_stride_2(&self) -> Self {
        max_pool2d(self.clone(), MaxPoolOptions::new([3, 3]).with_stride([2, 2]))
    }

    fn max_pool(&self) -> Self {
        let options = MaxPoolOptions::new([3, 3]).with_stride([1, 1]).with_padding([1, 1]);
        max_pool2d(self.clone(), options)
    }

    fn avg_pool(&self) -> Self {
        let options = AvgPoolOptions::new([3, 3])
            .with_stride([1, 1])
            .with_padding([1, 1])
            .with_count_include_pad(false);
        avg_pool2d(self.clone(), options)
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
