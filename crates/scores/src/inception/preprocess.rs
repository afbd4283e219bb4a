//! The preprocessing of pytorch-fid 0.3.0.

use hvae_data::ImageShape;
use rayon::prelude::*;

use crate::stream::ImageBatch;

/// Height and width of Inception's input.
pub const SIDE: usize = 299;

/// Bytes to `[0, 1]`, bilinear resize to 299x299 (corners not aligned, no antialiasing), then
/// `2x - 1`. The result is `[len, 299, 299]`, the one channel that all three of the network share.
pub fn preprocess(images: ImageBatch<'_>) -> Vec<f32> {
    let ImageBatch { bytes, shape: ImageShape { height, width, .. } } = images;
    let mut output = vec![0.0; images.len() * SIDE * SIDE];
    let (rows, columns) = (interpolation(height), interpolation(width));
    let images =
        output.par_chunks_exact_mut(SIDE * SIDE).zip(bytes.par_chunks_exact(height * width));
    images.for_each(|(output, image)| {
        let at = |row: usize, column: usize| f32::from(image[row * width + column]) / 255.0;
        for (output, &([above, below], down)) in output.chunks_exact_mut(SIDE).zip(&rows) {
            for (output, &([left, right], over)) in output.iter_mut().zip(&columns) {
                let mix = |row| (1.0 - over) * at(row, left) + over * at(row, right);
                let value = (1.0 - down) * mix(above) + down * mix(below);
                *output = 2.0 * value - 1.0;
            }
        }
    });
    output
}

/// For each output pixel along an axis, its two source pixels and the weight of the second. From
/// `length` source pixels; pixel centres correspond (`align_corners = false`).
fn interpolation(length: usize) -> Vec<([usize; 2], f32)> {
    let scale = length as f32 / SIDE as f32;
    let place = |position: usize| {
        let source = (scale * (position as f32 + 0.5) - 0.5).max(0.0);
        #[allow(clippy::cast_sign_loss, reason = "not below 0")]
        let first = (source as usize).min(length - 1);
        ([first, (first + 1).min(length - 1)], (source - first as f32).clamp(0.0, 1.0))
    };
    (0..SIDE).map(place).collect()
}
