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
    let (rows, columns) = (Axis::new(height), Axis::new(width));
    let images =
        output.par_chunks_exact_mut(SIDE * SIDE).zip(bytes.par_chunks_exact(height * width));
    images.for_each(|(output, image)| {
        let at = |row: usize, column: usize| f32::from(image[row * width + column]) / 255.0;
        for (row, output) in output.chunks_exact_mut(SIDE).enumerate() {
            let ([above, below], down) = (rows.neighbours[row], rows.weights[row]);
            for (column, output) in output.iter_mut().enumerate() {
                let ([left, right], over) = (columns.neighbours[column], columns.weights[column]);
                let mix = |row| (1.0 - over) * at(row, left) + over * at(row, right);
                let value = (1.0 - down) * mix(above) + down * mix(below);
                *output = 2.0 * value - 1.0;
            }
        }
    });
    output
}

/// Linear interpolation along one axis.
struct Axis {
    /// The two source pixels of each output pixel.
    neighbours: Vec<[usize; 2]>,
    /// The weight of the second of them.
    weights: Vec<f32>,
}

impl Axis {
    /// From `length` source pixels: pixel centres correspond (`align_corners = false`).
    fn new(length: usize) -> Self {
        let scale = length as f32 / SIDE as f32;
        let (mut neighbours, mut weights) = (Vec::new(), Vec::new());
        for position in 0..SIDE {
            let source = (scale * (position as f32 + 0.5) - 0.5).max(0.0);
            #[allow(clippy::cast_sign_loss, reason = "not below 0")]
            let first = (source as usize).min(length - 1);
            neighbours.push([first, (first + 1).min(length - 1)]);
            weights.push((source - first as f32).clamp(0.0, 1.0));
        }
        Self { neighbours, weights }
    }
}
