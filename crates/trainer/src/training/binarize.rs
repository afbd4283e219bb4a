//! Dynamic binarization of grey images.

use burn::tensor::Tensor;
use hvae_device::host::upload;
use hvae_runtime::rng::{self, Stream};

/// Every pixel drawn as a coin, 1 with the probability of its grey value (dynamic binarisation;
/// Burda et al. 2016, arXiv 1509.00519), from the stream `(seed, stream, index)`.
pub fn binarised(images: Tensor<2>, seed: u64, stream: Stream, index: u64) -> Tensor<2> {
    let [rows, pixels] = images.dims();
    tossed(images, rng::uniform(seed, stream, index, rows * pixels))
}

/// Every pixel 1 where it exceeds its coin, else 0; `coins` are a number in `[0, 1)` for each pixel.
pub fn tossed(images: Tensor<2>, coins: Vec<f32>) -> Tensor<2> {
    let [_, pixels] = images.dims();
    let coins = upload(coins, pixels, &images.device());
    images.greater(coins).float()
}
