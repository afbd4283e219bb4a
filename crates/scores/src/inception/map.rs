//! What Inception computes on: maps of channels over the image, on any device or on the host.

use anyhow::Result;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use burn::tensor::module::{avg_pool2d, conv2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};

use crate::inception::conv::Conv;
use hvae_device::host::download;

/// A batch of maps with the operations that the network is made of. All pools are 3x3.
pub trait FeatureMap: Sized {
    /// Convolution, bias and rectification.
    #[must_use]
    fn conv(&self, conv: &Conv) -> Self;
    /// Maximum without padding, at every second place: the maps shrink by half.
    #[must_use]
    fn shrink(&self) -> Self;
    /// Maximum over the neighbours that exist, at every place.
    #[must_use]
    fn max_around(&self) -> Self;
    /// Mean over the neighbours that exist, at every place: padding does not count.
    #[must_use]
    fn mean_around(&self) -> Self;
    /// The channels of all `parts` in order.
    #[must_use]
    fn cat(parts: Vec<Self>) -> Self;
    /// The mean over the places, `channels` numbers per image.
    ///
    /// # Errors
    ///
    /// When the device cannot be read.
    fn means(self) -> Result<Vec<f32>>;
}

/// `[batch, channels, height, width]` by Burn's operations, on any device.
impl FeatureMap for Tensor<4> {
    fn conv(&self, conv: &Conv) -> Self {
        let shape = conv.shape;
        let [height, width] = shape.padding;
        let options = ConvOptions::new([shape.stride; 2], [height, width], [1, 1], 1);
        relu(conv2d(self.clone(), conv.kernel(), Some(conv.bias.val()), options))
    }

    fn shrink(&self) -> Self {
        max_pool2d(self.clone(), MaxPoolOptions::new([3, 3]).with_stride([2, 2]))
    }

    fn max_around(&self) -> Self {
        let options = MaxPoolOptions::new([3, 3]).with_stride([1, 1]).with_padding([1, 1]);
        max_pool2d(self.clone(), options)
    }

    fn mean_around(&self) -> Self {
        let options = AvgPoolOptions::new([3, 3])
            .with_stride([1, 1])
            .with_padding([1, 1])
            .with_count_include_pad(false);
        avg_pool2d(self.clone(), options)
    }

    fn cat(parts: Vec<Self>) -> Self {
        Self::cat(parts, 1)
    }

    fn means(self) -> Result<Vec<f32>> {
        let [batch, channels, height, width] = self.dims();
        let places = self.reshape([batch, channels, height * width]);
        download(places.mean_dim(2))
    }
}
