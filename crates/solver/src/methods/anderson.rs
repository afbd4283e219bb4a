//! Anderson acceleration with a per-sample safeguard.

use std::collections::VecDeque;

use burn::tensor::{Int, Tensor};

use crate::{Memory, Method, SolverError, State, error::in_range};

/// Anderson acceleration, type II (Walker & Ni 2011, SIAM J. Numer. Anal. 49:1715, Algorithm AA).
///
/// With the last `m` states `s_i`, images `f_i` and residuals `g_i = f_i - s_i` of a sample,
///
/// ```text
/// alpha = argmin |sum_i alpha_i g_i|^2 + ridge * max_i |g_i|^2 * |alpha|^2,   sum_i alpha_i = 1
/// s_new = sum_i alpha_i [ (1 - mixing) s_i + mixing f_i ]
/// ```
///
/// solved for every sample on its own, on the device. **Safeguard:** where the residual has grown
/// since the step before, or the small system has no usable solution, the sample takes its plain
/// image `f(s)` instead.
///
/// | setting | default | range |
/// |---|---|---|
/// | `memory` | given; 4 in arXiv 2311.15673 | >= 1 |
/// | `ridge` | 1e-6 | finite, >= 0, relative to the largest squared residual |
/// | `mixing` | 1 | in (0, 1] |
#[derive(Debug, Clone, Copy)]
pub struct Anderson {
    memory: usize,
    ridge: f64,
    mixing: f64,
}

/// Default of [`Anderson::with_ridge`]: just above the rounding of an f32 inner product.
const RIDGE: f64 = 1e-6;

impl Anderson {
    /// Anderson acceleration over the last `memory` steps.
    ///
    /// # Errors
    ///
    /// [`SolverError::OutOfRange`] when `memory` is 0.
    pub fn new(memory: usize) -> Result<Self, SolverError> {
        in_range("memory", memory as f64, ">= 1", memory >= 1)?;
        Ok(Self { memory, ridge: RIDGE, mixing: 1.0 })
    }

    /// With another ridge.
    ///
    /// # Errors
    ///
    /// [`SolverError::OutOfRange`] when it is negative or not finite.
    pub fn with_ridge(mut self, ridge: f64) -> Result<Self, SolverError> {
        self.ridge = in_range("ridge", ridge, ">= 0", ridge >= 0.0)?;
        Ok(self)
    }

    /// With another mixing.
    ///
    /// # Errors
    ///
    /// [`SolverError::OutOfRange`] outside `(0, 1]`.
    pub fn with_mixing(mut self, mixing: f64) -> Result<Self, SolverError> {
        self.mixing = in_range("mixing", mixing, "in (0, 1]", mixing > 0.0 && mixing <= 1.0)?;
        Ok(self)
    }
}

/// One remembered step: what is combined, and the residual, per carried component.
#[derive(Debug, Clone)]
struct Entry {
    target: Vec<Tensor<2>>,
    residual: Vec<Tensor<2>>,
}

/// The last steps of every sample, and the inner products of their residuals.
#[derive(Debug)]
pub struct AndersonMemory {
    carried: Vec<usize>,
    entries: VecDeque<Entry>,
    /// `gram[i][j] = <g_i, g_j>` for `j <= i`, each `[batch, 1]`, in the order of `entries`.
    gram: VecDeque<VecDeque<Tensor<2>>>,
}

impl Memory for AndersonMemory {
    fn select(mut self, rows: &Tensor<1, Int>) -> Self {
        let pick = |t: &mut Tensor<2>| *t = t.clone().select(0, rows.clone());
        for entry in &mut self.entries {
            entry.target.iter_mut().chain(&mut entry.residual).for_each(pick);
        }
        self.gram.iter_mut().flatten().for_each(pick);
        self
    }
}

impl AndersonMemory {
    fn push(&mut self, entry: Entry, capacity: usize) {
        if self.entries.len() == capacity {
            self.entries.pop_front();
            self.gram.pop_front();
            for row in &mut self.gram {
                row.pop_front();
            }
        }
        self.entries.push_back(entry);
        let newest = &self.entries[self.entries.len() - 1].residual;
        let row = self.entries.iter().map(|e| inner(&e.residual, newest)).collect();
        self.gram.push_back(row);
    }

    /// `<g_i, g_j>`, `[batch, 1]`.
    fn gram(&self, i: usize, j: usize) -> Tensor<2> {
        self.gram[i.max(j)][i.min(j)].clone()
    }
}

/// Inner product over all components of each sample, `[batch, 1]`.
fn inner(a: &[Tensor<2>], b: &[Tensor<2>]) -> Tensor<2> {
    let products = a.iter().zip(b).map(|(a, b)| (a.clone() * b.clone()).sum_dim(1));
    products.reduce(|x, y| x + y).expect("a map carries at least one component")
}

impl Method for Anderson {
    type Memory = AndersonMemory;

    fn start(&self, carried: &[usize]) -> AndersonMemory {
        AndersonMemory {
            carried: carried.to_vec(),
            entries: VecDeque::new(),
            gram: VecDeque::new(),
        }
    }

    fn step(&self, state: State, image: State, memory: &mut AndersonMemory) -> State {
        let entry = self.entry(&state, &image, &memory.carried);
        memory.push(entry, self.memory);
        let count = memory.entries.len();
        if count == 1 {
            return image;
        }
        let weights = self.weights(memory);
        let last = memory.gram(count - 1, count - 1);
        let before = memory.gram(count - 2, count - 2);
        let total = weights.iter().cloned().reduce(|a, b| a + b).expect("count >= 2");
        // A weight that is not a number makes the comparison false, so the sample is plain.
        let usable = total.clone().abs().greater_elem(f32::MIN_POSITIVE).float();
        let accelerate = (usable * last.lower_equal(before).float()).greater_elem(0.5);

        let mut next = image;
        for (position, &k) in memory.carried.iter().enumerate() {
            let combined = memory
                .entries
                .iter()
                .zip(&weights)
                .map(|(e, w)| e.target[position].clone() * (w.clone() / total.clone()))
                .reduce(|a, b| a + b)
                .expect("count >= 2");
            let plain = next.component(k).clone();
            let mask = accelerate.clone().expand(plain.dims());
            next.replace(k, plain.mask_where(mask, combined));
        }
        next
    }
}

impl Anderson {
    fn entry(&self, state: &State, image: &State, carried: &[usize]) -> Entry {
        let mixing = self.mixing;
        let mut entry = Entry { target: Vec::new(), residual: Vec::new() };
        for &k in carried {
            let (s, f) = (state.component(k).clone(), image.component(k).clone());
            let residual = f.clone() - s.clone();
            let target = if mixing < 1.0 { s + residual.clone().mul_scalar(mixing) } else { f };
            entry.target.push(target);
            entry.residual.push(residual);
        }
        entry
    }

    /// Unnormalised weights: the solution of `(G / max g^2 + ridge I) w = 1` for every sample, by
    /// elimination without pivoting (the matrix is symmetric and positive definite).
    #[expect(clippy::needless_range_loop, reason = "elimination reads best with indices")]
    fn weights(&self, memory: &AndersonMemory) -> Vec<Tensor<2>> {
        let count = memory.entries.len();
        let scale = (0..count)
            .map(|i| memory.gram(i, i))
            .reduce(Tensor::max_pair)
            .expect("count >= 2")
            .clamp_min(f32::MIN_POSITIVE);
        let mut matrix: Vec<Vec<Tensor<2>>> = (0..count)
            .map(|i| (0..count).map(|j| memory.gram(i, j) / scale.clone()).collect())
            .collect();
        for (i, row) in matrix.iter_mut().enumerate() {
            row[i] = row[i].clone() + self.ridge;
        }
        let ones = scale.ones_like();
        let mut rhs = vec![ones; count];
        for pivot in 0..count {
            for row in pivot + 1..count {
                let factor = matrix[row][pivot].clone() / matrix[pivot][pivot].clone();
                for column in pivot + 1..count {
                    let update = factor.clone() * matrix[pivot][column].clone();
                    matrix[row][column] = matrix[row][column].clone() - update;
                }
                rhs[row] = rhs[row].clone() - factor * rhs[pivot].clone();
            }
        }
        for row in (0..count).rev() {
            for column in row + 1..count {
                let update = matrix[row][column].clone() * rhs[column].clone();
                rhs[row] = rhs[row].clone() - update;
            }
            rhs[row] = rhs[row].clone() / matrix[row][row].clone();
        }
        rhs
    }
}
