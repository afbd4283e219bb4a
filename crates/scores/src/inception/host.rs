//! Inception on the CPU: channels-last maps, and convolutions as im2col matrix products over tiles
//! of output pixels that fit the cache, in parallel over the tiles.
//!
//! Compared with Burn's convolution this saves the changes of layout before and after every layer,
//! and adds bias and `ReLU` while a tile is in the cache.

use std::sync::Mutex;

use anyhow::Result;
use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use rayon::prelude::*;

use crate::inception::conv::{Conv, ConvShape};
use crate::inception::map::{FeatureMap, Pool};

/// Output pixels of a tile.
const TILE: usize = 256;
/// Least inner dimension of a tile's products: kernel rows are combined until they reach it.
const LENGTH: usize = 512;

/// Maps in the order `[batch, height, width, channels]`.
#[derive(Debug)]
pub(crate) struct HostMap {
    pub(super) batch: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
    pub(super) values: Vec<f32>,
}

/// Buffers of dropped maps. Allocating and clearing new memory for every layer takes longer than
/// some layers do.
static POOL: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

/// Most buffers in the pool.
const POOL_SIZE: usize = 12;

impl Drop for HostMap {
    fn drop(&mut self) {
        if let Ok(mut pool) = POOL.lock()
            && pool.len() < POOL_SIZE
        {
            pool.push(std::mem::take(&mut self.values));
        }
    }
}

/// Frees the pool.
pub(crate) fn release_memory() {
    if let Ok(mut pool) = POOL.lock() {
        pool.clear();
    }
}

impl HostMap {
    /// A map of arbitrary numbers, all of which must be overwritten, in a buffer of the pool if one
    /// is large enough.
    fn unwritten(batch: usize, height: usize, width: usize, channels: usize) -> Self {
        let length = batch * height * width * channels;
        let reused = POOL.lock().ok().and_then(|mut pool| {
            let fitting = (0..pool.len()).filter(|&at| pool[at].capacity() >= length);
            let best = fitting.min_by_key(|&at| pool[at].capacity());
            if best.is_none() && pool.len() == POOL_SIZE {
                pool.clear();
            }
            best.map(|at| pool.swap_remove(at))
        });
        let mut values = reused.unwrap_or_default();
        values.resize(length, 0.0);
        Self { batch, height, width, channels, values }
    }

    /// A row of image `image`, `[width, channels]`.
    fn row(&self, image: usize, row: usize) -> &[f32] {
        let length = self.width * self.channels;
        &self.values[(image * self.height + row) * length..][..length]
    }

    /// Copies the receptive fields of the kernel rows `kernel_rows` at the output pixels from
    /// `first` on into `patches`, with zeros as padding.
    fn gather(
        &self,
        shape: &ConvShape,
        size: [usize; 2],
        first: usize,
        kernel_rows: std::ops::Range<usize>,
        patches: &mut [f32],
    ) {
        let [height, width] = size;
        let seen = shape.kernel[1] * self.channels;
        let length = kernel_rows.len() * seen;
        for (pixel, patch) in patches.chunks_exact_mut(length).enumerate() {
            let pixel = first + pixel;
            let (image, row, column) =
                (pixel / (height * width), pixel / width % height, pixel % width);
            for (kernel_row, part) in kernel_rows.clone().zip(patch.chunks_exact_mut(seen)) {
                let above = row * shape.stride + kernel_row;
                match above.checked_sub(shape.padding[0]).filter(|&above| above < self.height) {
                    Some(above) => {
                        let (source, left) = (self.row(image, above), column * shape.stride);
                        copy_padded(source, part, left, shape.padding[1], self.channels);
                    }
                    None => part.fill(0.0),
                }
            }
        }
    }

    /// Fills every row in parallel: `fill(image, row, output row)`.
    fn by_rows(&mut self, fill: impl Fn(usize, usize, &mut [f32]) + Sync) {
        let (height, length) = (self.height, self.width * self.channels);
        let rows = self.values.par_chunks_exact_mut(length).enumerate();
        rows.for_each(|(at, row)| fill(at / height, at % height, row));
    }

    /// Pools 3x3 windows: folds the pixels of a window from `start` by `join`, then applies `end`
    /// with their number.
    fn windows(
        &self,
        stride: usize,
        padding: usize,
        start: f32,
        join: impl Fn(f32, f32) -> f32 + Sync,
        end: impl Fn(f32, f32) -> f32 + Sync,
    ) -> Self {
        let size = |length: usize| (length + 2 * padding - 3) / stride + 1;
        let mut output =
            Self::unwritten(self.batch, size(self.height), size(self.width), self.channels);
        let window = |position: usize, length: usize| {
            let from = position * stride;
            from.saturating_sub(padding)..(from + 3 - padding).min(length)
        };
        output.by_rows(|image, row, out| {
            let rows = window(row, self.height);
            for (column, out) in out.chunks_exact_mut(self.channels).enumerate() {
                out.fill(start);
                let columns = window(column, self.width);
                for row in rows.clone() {
                    let source = self.row(image, row);
                    for column in columns.clone() {
                        let seen = &source[column * self.channels..][..self.channels];
                        out.iter_mut().zip(seen).for_each(|(out, &seen)| *out = join(*out, seen));
                    }
                }
                let count = (rows.len() * columns.len()) as f32;
                for out in out.iter_mut() {
                    *out = end(*out, count);
                }
            }
        });
        output
    }
}

/// Copies the columns of `row` from `from - padding` on into `part`, with zeros outside the row.
fn copy_padded(row: &[f32], part: &mut [f32], from: usize, padding: usize, channels: usize) {
    let width = row.len() / channels;
    let columns = part.len() / channels;
    if from >= padding && from - padding + columns <= width {
        part.copy_from_slice(&row[(from - padding) * channels..][..part.len()]);
        return;
    }
    for (column, out) in part.chunks_exact_mut(channels).enumerate() {
        match (from + column).checked_sub(padding).filter(|&column| column < width) {
            Some(column) => out.copy_from_slice(&row[column * channels..][..channels]),
            None => out.fill(0.0),
        }
    }
}

impl FeatureMap for HostMap {
    fn conv(&self, conv: &Conv) -> Self {
        let shape = &conv.shape;
        let [from, to] = shape.channels;
        let size = |axis: usize, length: usize| {
            (length + 2 * shape.padding[axis] - shape.kernel[axis]) / shape.stride + 1
        };
        let (height, width) = (size(0, self.height), size(1, self.width));
        let mut output = Self::unwritten(self.batch, height, width, to);

        let (weight, bias) = (conv.weight.to_data(), conv.bias.to_data());
        let weight: &[f32] = weight.as_slice().expect("host weights are f32");
        let bias: &[f32] = bias.as_slice().expect("host weights are f32");
        let seen = shape.kernel[1] * from;
        let pointwise = shape.kernel == [1, 1] && shape.stride == 1;
        let step = LENGTH.div_ceil(seen).min(shape.kernel[0]);

        let tiles = output.values.par_chunks_mut(TILE * to).enumerate();
        tiles.for_each_init(Vec::new, |patches, (tile, out)| {
            let (first, rows) = (tile * TILE, out.len() / to);
            for kernel_row in (0..shape.kernel[0]).step_by(step) {
                let kernel_rows = kernel_row..(kernel_row + step).min(shape.kernel[0]);
                let length = kernel_rows.len() * seen;
                let left = if pointwise {
                    &self.values[first * from..][..rows * from]
                } else {
                    patches.resize(rows * length, 0.0);
                    let patches = &mut patches[..rows * length];
                    self.gather(shape, [height, width], first, kernel_rows, patches);
                    &*patches
                };
                let left = MatRef::from_row_major_slice(left, rows, length);
                let right = &weight[kernel_row * seen * to..][..length * to];
                let right = MatRef::from_row_major_slice(right, length, to);
                let sum = MatMut::from_row_major_slice_mut(out, rows, to);
                let accum = if kernel_row == 0 { Accum::Replace } else { Accum::Add };
                matmul(sum, accum, left, right, 1.0, Par::Seq);
            }
            for out in out.chunks_exact_mut(to) {
                for (out, bias) in out.iter_mut().zip(bias) {
                    let value = *out + bias;
                    // Unlike `max`, this keeps NaN.
                    *out = if value < 0.0 { 0.0 } else { value };
                }
            }
        });
        output
    }

    fn pool(&self, pool: Pool) -> Self {
        match pool {
            Pool::Reduce => self.windows(2, 0, f32::NEG_INFINITY, f32::max, |max, _| max),
            Pool::Max => self.windows(1, 1, f32::NEG_INFINITY, f32::max, |max, _| max),
            Pool::Mean => self.windows(1, 1, 0.0, |sum, x| sum + x, |sum, count| sum / count),
        }
    }

    fn cat(parts: Vec<Self>) -> Self {
        let channels = parts.iter().map(|part| part.channels).sum();
        let Some(first) = parts.first() else { return Self::unwritten(0, 0, 0, 0) };
        let mut output = Self::unwritten(first.batch, first.height, first.width, channels);
        output.by_rows(|image, row, out| {
            for (column, mut out) in out.chunks_exact_mut(channels).enumerate() {
                for part in &parts {
                    let (here, rest) = out.split_at_mut(part.channels);
                    let row = part.row(image, row);
                    here.copy_from_slice(&row[column * part.channels..][..part.channels]);
                    out = rest;
                }
            }
        });
        output
    }

    fn global_avg_pool(self) -> Result<Vec<f32>> {
        let positions = self.height * self.width;
        let mean = |image: &[f32]| -> Vec<f32> {
            let mut sums = vec![0.0_f64; self.channels];
            for pixel in image.chunks_exact(self.channels) {
                sums.iter_mut().zip(pixel).for_each(|(sum, &value)| *sum += f64::from(value));
            }
            sums.into_iter().map(|sum| (sum / positions as f64) as f32).collect()
        };
        Ok(self.values.chunks_exact(positions * self.channels).flat_map(mean).collect())
    }
}
