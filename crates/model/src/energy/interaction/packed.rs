//! Products with a weight matrix that is packed once and used in many sweeps.
//!
//! Every element of a product is a chain of fused multiply-adds over the inputs in ascending order.
//! So it depends neither on the other rows of the batch, nor on how these are shared out over
//! threads, nor on the width of the processor's vectors.

#![expect(clippy::inline_always, reason = "a call left in the loop would keep it scalar")]

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Columns of a panel: one, two or four of the processor's vectors.
const PANEL: usize = 16;

/// Inputs that are worked on at a time, so that their part of a panel stays in the first cache.
const INPUTS: usize = 256;

/// Rows that one thread multiplies at a time.
const ROWS: usize = 64;

/// Inputs between two checks of bounds.
const UNROLLED: usize = 4;

/// A matrix `[inputs, outputs]` as products read it: panels of [`PANEL`] columns, row by row.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    inputs: usize,
    outputs: usize,
    panels: Vec<Panel>,
}

/// Some columns of a matrix, as far as they are not zero.
#[derive(Debug, Clone)]
struct Panel {
    /// The rows of the matrix that are stored.
    inputs: Range<usize>,
    rows: Vec<[f32; PANEL]>,
}

impl Packed {
    /// Packs `w`, `[inputs, outputs]`. With a `band` the matrix is zero farther than that from its
    /// diagonal.
    pub(crate) fn new(w: &[f32], outputs: usize, band: Option<usize>) -> Self {
        let inputs = w.len() / outputs;
        let pack = |columns: Range<usize>| {
            let neighbours = columns.step_by(PANEL).map(|from| from..(from + PANEL).min(outputs));
            let neighbours: Vec<Range<usize>> = neighbours.collect();
            let mut packed: Vec<Panel> = neighbours
                .iter()
                .map(|columns| Panel::with_room(near(columns, inputs, band)))
                .collect();
            for i in 0..inputs {
                for (panel, columns) in packed.iter_mut().zip(&neighbours) {
                    if panel.inputs.contains(&i) {
                        panel.rows.push(padded(&w[i * outputs..][columns.clone()]));
                    }
                }
            }
            packed
        };
        Self { inputs, outputs, panels: groups(outputs).flat_map_iter(pack).collect() }
    }

    /// Packs the transpose of `w`, `[outputs, inputs]`.
    pub(crate) fn transposed(w: &[f32], inputs: usize) -> Self {
        let outputs = w.len() / inputs;
        let pack = |columns: Range<usize>| {
            let row = |column: usize| columns.start + column.min(columns.len() - 1);
            let from: [&[f32]; PANEL] = std::array::from_fn(|c| &w[row(c) * inputs..][..inputs]);
            let mut panel = Panel::with_room(0..inputs);
            panel.rows.extend((0..inputs).map(|i| from.map(|row| row[i])));
            for row in &mut panel.rows {
                row[columns.len()..].fill(0.0);
            }
            panel
        };
        let panels = (0..outputs.div_ceil(PANEL)).into_par_iter();
        let pack = |p: usize| pack(p * PANEL..((p + 1) * PANEL).min(outputs));
        Self { inputs, outputs, panels: panels.map(pack).collect() }
    }

    /// Number of columns.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Adds `x W` to `out`, on all threads: `[batch, inputs]` and `[batch, outputs]`, row by row.
    pub(crate) fn add_product(&self, x: &[f32], out: &mut [f32]) {
        assert_eq!(x.len() * self.outputs, out.len() * self.inputs, "rows fit the matrix");
        let arch = Arch::new();
        let parts = out.par_chunks_mut(ROWS * self.outputs).zip(x.par_chunks(ROWS * self.inputs));
        parts.for_each(|(out, x)| {
            // Rows of a guess that is the same for all samples have one product.
            let one = are_equal(x, self.inputs) && are_equal(out, self.outputs);
            if one {
                let (first, others) = out.split_at_mut(self.outputs);
                arch.dispatch(Product { matrix: self, x: &x[..self.inputs], out: first });
                others.chunks_exact_mut(self.outputs).for_each(|row| row.copy_from_slice(first));
            } else {
                arch.dispatch(Product { matrix: self, x, out });
            }
        });
    }
}

/// Whether all rows of so many numbers are the same bit for bit.
fn are_equal(rows: &[f32], width: usize) -> bool {
    let (first, others) = rows.split_at(width);
    let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
    others.chunks_exact(width).all(|row| row.iter().zip(first).all(same))
}

impl Panel {
    fn with_room(inputs: Range<usize>) -> Self {
        Self { rows: Vec::with_capacity(inputs.len()), inputs }
    }
}

/// A row of a panel, padded with zeros.
fn padded(row: &[f32]) -> [f32; PANEL] {
    // A copy of a known size is two or four moves.
    <[f32; PANEL]>::try_from(row).unwrap_or_else(|_| {
        let mut whole = [0.0; PANEL];
        whole[..row.len()].copy_from_slice(row);
        whole
    })
}

/// The columns of some panels side by side, which are packed together: a row of a matrix is read
/// in longer pieces.
fn groups(outputs: usize) -> impl IndexedParallelIterator<Item = Range<usize>> {
    const GROUP: usize = 8 * PANEL;
    let count = outputs.div_ceil(GROUP);
    (0..count).into_par_iter().map(move |p| p * GROUP..((p + 1) * GROUP).min(outputs))
}

/// The inputs that act on `columns`.
fn near(columns: &Range<usize>, inputs: usize, band: Option<usize>) -> Range<usize> {
    match band {
        Some(band) => columns.start.saturating_sub(band)..(columns.end + band).min(inputs),
        None => 0..inputs,
    }
}

/// The product of some rows on one thread.
struct Product<'a> {
    matrix: &'a Packed,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match PANEL / S::F32_LANES {
            1 => self.run::<S, 1, 12>(simd),
            2 => self.run::<S, 2, 6>(simd),
            4 => self.run::<S, 4, 6>(simd),
            _ => self.run::<S, PANEL, 2>(simd),
        }
    }
}

impl Product<'_> {
    /// The product with panels of `V` vectors, at most `R` rows at a time: as many as there are
    /// registers for their sums.
    #[inline(always)]
    fn run<S: Simd, const V: usize, const R: usize>(self, simd: S) {
        let Self { matrix, x, out } = self;
        let (inputs, outputs) = (matrix.inputs, matrix.outputs);
        let rows = x.len() / inputs;
        // Groups of nearly one size: a last one of one row would be slow.
        let groups = rows.div_ceil(R);
        let blocks = inputs.div_ceil(INPUTS);
        for block in 0..blocks {
            let block = block * inputs / blocks..(block + 1) * inputs / blocks;
            for (p, panel) in matrix.panels.iter().enumerate() {
                let stored = panel.inputs.clone();
                let from = block.start.max(stored.start);
                let to = block.end.min(stored.end);
                if from >= to {
                    continue;
                }
                let panel = &panel.rows[from - stored.start..to - stored.start];
                for group in 0..groups {
                    let rows = group * rows / groups..(group + 1) * rows / groups;
                    let tile = Tile {
                        x: &x[rows.start * inputs + from..rows.end * inputs],
                        inputs,
                        panel,
                        out: &mut out[rows.start * outputs + p * PANEL..rows.end * outputs],
                        outputs,
                        columns: PANEL.min(outputs - p * PANEL),
                    };
                    tile.add::<S, V>(simd, rows.len());
                }
            }
        }
    }
}

/// Some rows of a product, in the columns of one panel and over some of its inputs.
struct Tile<'a> {
    /// From the first of those inputs on.
    x: &'a [f32],
    inputs: usize,
    panel: &'a [[f32; PANEL]],
    /// From the first of those columns on.
    out: &'a mut [f32],
    outputs: usize,
    /// How many columns: fewer than [`PANEL`] in the last one.
    columns: usize,
}

impl Tile<'_> {
    #[inline(always)]
    fn add<S: Simd, const V: usize>(self, simd: S, rows: usize) {
        match rows {
            1 => self.add_rows::<S, V, 1>(simd),
            2 => self.add_rows::<S, V, 2>(simd),
            3 => self.add_rows::<S, V, 3>(simd),
            4 => self.add_rows::<S, V, 4>(simd),
            5 => self.add_rows::<S, V, 5>(simd),
            6 => self.add_rows::<S, V, 6>(simd),
            7 => self.add_rows::<S, V, 7>(simd),
            8 => self.add_rows::<S, V, 8>(simd),
            9 => self.add_rows::<S, V, 9>(simd),
            10 => self.add_rows::<S, V, 10>(simd),
            11 => self.add_rows::<S, V, 11>(simd),
            _ => self.add_rows::<S, V, 12>(simd),
        }
    }

    #[inline(always)]
    fn add_rows<S: Simd, const V: usize, const R: usize>(self, simd: S) {
        let Self { x, inputs, panel, out, outputs, columns } = self;
        let mut sum: [[S::f32s; V]; R] = std::array::from_fn(|i| {
            let from = &out[i * outputs..][..columns];
            if let Ok(whole) = <&[f32; PANEL]>::try_from(from) {
                return vectors::<S, V>(whole);
            }
            let mut last = [0.0; PANEL];
            last[..columns].copy_from_slice(from);
            vectors::<S, V>(&last)
        });
        let (chunks, rest) = panel.as_chunks::<UNROLLED>();
        let x: [&[f32]; R] = std::array::from_fn(|i| &x[i * inputs..][..panel.len()]);
        let x_chunks: [&[[f32; UNROLLED]]; R] =
            std::array::from_fn(|i| &x[i].as_chunks::<UNROLLED>().0[..chunks.len()]);
        for (c, chunk) in chunks.iter().enumerate() {
            let x: [&[f32; UNROLLED]; R] = std::array::from_fn(|i| &x_chunks[i][c]);
            for (u, row) in chunk.iter().enumerate() {
                accumulate::<S, V, R>(simd, &mut sum, |i| x[i][u], row);
            }
        }
        for (c, row) in rest.iter().enumerate() {
            accumulate::<S, V, R>(simd, &mut sum, |i| x[i][chunks.len() * UNROLLED + c], row);
        }
        for (i, sum) in sum.iter().enumerate() {
            let to = &mut out[i * outputs..][..columns];
            if let Ok(to) = <&mut [f32; PANEL]>::try_from(&mut *to) {
                S::as_mut_simd_f32s(to).0.copy_from_slice(sum);
            } else {
                let mut last = [0.0; PANEL];
                S::as_mut_simd_f32s(&mut last).0.copy_from_slice(sum);
                to.copy_from_slice(&last[..columns]);
            }
        }
    }
}

#[inline(always)]
fn vectors<S: Simd, const V: usize>(row: &[f32; PANEL]) -> [S::f32s; V] {
    let (vectors, _) = S::as_simd_f32s(row);
    std::array::from_fn(|v| vectors[v])
}

/// `sum_i += x_i row`.
#[inline(always)]
fn accumulate<S: Simd, const V: usize, const R: usize>(
    simd: S,
    sum: &mut [[S::f32s; V]; R],
    x: impl Fn(usize) -> f32,
    row: &[f32; PANEL],
) {
    let row = vectors::<S, V>(row);
    for (i, sum) in sum.iter_mut().enumerate() {
        let x = simd.splat_f32s(x(i));
        for (sum, row) in sum.iter_mut().zip(row) {
            *sum = simd.mul_add_f32s(x, row, *sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(count: usize, phase: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * 0.37 + phase).sin()).collect()
    }

    /// Rows that are equal have the product of each, whether or not there are others in the part.
    #[test]
    fn equal_rows_have_one_product() {
        let (inputs, outputs) = (23, 37);
        let (row, w) = (wave(inputs, 0.3), wave(inputs * outputs, 1.0));
        let packed = Packed::new(&w, outputs, None);
        let mut alone = vec![0.0; outputs];
        packed.add_product(&row, &mut alone);
        for last in [0.3, 0.4] {
            let x = [row.repeat(2 * ROWS), wave(inputs, last)].concat();
            let mut found = vec![0.0; (2 * ROWS + 1) * outputs];
            packed.add_product(&x, &mut found);
            assert!(found.chunks(outputs).take(2 * ROWS).all(|row| row == alone));
            assert_eq!(found[2 * ROWS * outputs..] == alone[..], last < 0.35);
        }
        let mut started = [vec![0.0; outputs], vec![1.0; outputs]].concat();
        packed.add_product(&row.repeat(2), &mut started);
        assert!(started[..outputs] == alone[..] && started[outputs..] != alone[..]);
    }

    /// Every element is the chain of fused multiply-adds that the module promises, whatever the
    /// sizes, with and without a band, either way round, and added to what is there.
    #[test]
    fn products_are_chains_of_multiply_adds() {
        for (rows, inputs, outputs) in [(1, 1, 1), (13, 5, 33), (40, 600, 17), (70, 40, 40)] {
            let (x, w) = (wave(rows * inputs, 0.0), wave(inputs * outputs, 1.0));
            for band in [None, (inputs == outputs).then_some(7)] {
                let within = |i: usize, j: usize| band.is_none_or(|band| i.abs_diff(j) <= band);
                let banded: Vec<f32> = (0..inputs * outputs)
                    .map(|at| if within(at / outputs, at % outputs) { w[at] } else { 0.0 })
                    .collect();
                let transpose: Vec<f32> = (0..inputs * outputs)
                    .map(|at| banded[at % inputs * outputs + at / inputs])
                    .collect();
                let packed = [
                    Packed::new(&banded, outputs, band),
                    Packed::new(&banded, outputs, None),
                    Packed::transposed(&transpose, inputs),
                ];
                for packed in packed {
                    let mut found = wave(rows * outputs, 2.0);
                    let mut expected = found.clone();
                    packed.add_product(&x, &mut found);
                    for (at, sum) in expected.iter_mut().enumerate() {
                        for i in 0..inputs {
                            let x = x[at / outputs * inputs + i];
                            *sum = x.mul_add(banded[i * outputs + at % outputs], *sum);
                        }
                    }
                    assert_eq!(found, expected, "{rows} {inputs} {outputs} {band:?}");
                }
            }
        }
    }
}
