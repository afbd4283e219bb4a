//! Dynamic binarization of grey images.

use burn::tensor::Tensor;
use hvae_device::host::upload;
use hvae_runtime::rng::{self, Stream};

/// Every pixel 1 with the probability of its grey value, else 0 (dynamic binarization; Burda et
/// al. 2016, arXiv 1509.00519), drawn from the stream `(seed, stream, index)`.
pub fn binarize_from(images: Tensor<2>, seed: u64, stream: Stream, index: u64) -> Tensor<2> {
    let [rows, pixels] = images.dims();
    binarize(images, rng::uniform(seed, stream, index, rows * pixels))
}

/// Every pixel 1 where it exceeds its number in `uniforms`, else 0; one number in `[0, 1)` for each
/// pixel.
pub fn binarize(images: Tensor<2>, uniforms: Vec<f32>) -> Tensor<2> {
    let [_, pixels] = images.dims();
    let uniforms = upload(uniforms, pixels, &images.device());
    images.greater(uniforms).float()
}
