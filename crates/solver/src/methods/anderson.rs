//! Anderson acceleration, safeguarded per sample.

use std::collections::VecDeque;

use burn::tensor::{Bool, Int, Tensor};

use crate::error::{SolverError, in_range};
use crate::method::{Memory, Method};
use crate::state::State;

/// Anderson acceleration, type II (Walker & Ni 2011, SIAM J. Numer. Anal. 49:1715, Algorithm AA).
///
/// Let `s_i`, `f_i` and `g_i = f_i - s_i` be the last `memory` states, images and residuals of a
/// sample, `t_i = s_i + mixing g_i` the plain updates, `k` the newest index, and
/// `dg_i = g_(i+1) - g_i`, `dt_i = t_(i+1) - t_i` the differences of successive ones. Then
///
/// ```text
/// gamma = argmin |g_k - sum_i gamma_i dg_i|^2 + ridge * sum_i gamma_i^2 |dg_i|^2
/// s_new = t_k - sum_i gamma_i dt_i
/// ```
///
/// per sample, on the device. Without a ridge this is the affine combination `sum_i alpha_i t_i`,
/// `sum_i alpha_i = 1`, with the smallest `|sum_i alpha_i g_i|`; a large ridge gives `t_k`.
/// Differences are scaled to unit length first, so the condition of the small system does not
/// depend on the rate of convergence.
///
/// Each sample has its own [`Safeguard`].
///
/// | setting | default | range |
/// |---|---|---|
/// | `memory` | given; 4 in arXiv 2311.15673 | >= 1 |
/// | `ridge` | 1e-6 | finite, >= 0, relative to the squared length of each difference |
/// | `mixing` | 1 | in (0, 1] |
/// | `safeguard` | [`Safeguard::Growth`] | |
#[derive(Debug, Clone, Copy)]
pub struct Anderson {
    memory: usize,
    ridge: f64,
    mixing: f64,
    safeguard: Safeguard,
}

/// When a sample takes the plain update `t_k` instead of the accelerated one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Safeguard {
    /// If the residual has grown since the previous iteration. The sample then also discards its
    /// differences.
    ///
    /// The residual has to grow to leave a plateau or to pass a saddle, and older differences would
    /// lead back there. The result may still be a fixed point that repels the plain
    /// iteration.
    #[default]
    Growth,
    /// If the accelerated point `s_new` is at least as far from the image as the state was,
    /// `|f_k - s_new| / |s_new| >= |f_k - s_k| / |s_k|` (arXiv 2311.15673).
    ///
    /// This limits the extrapolation beyond the image to the length of the plain update, so it
    /// gains little if convergence is slow.
    Distance,
}

/// Default of [`Anderson::with_ridge`]: just above the rounding error of an f32 inner product.
/// Iteration counts hardly change from 0 to 1e-2.
const RIDGE: f64 = 1e-6;

/// A difference whose component orthogonal to the newer ones has less than this part of its squared
/// length is left out: in f32 that component is rounding error.
const INDEPENDENT: f32 = 1e-6;

impl Anderson {
    /// Anderson acceleration over the last `memory` iterations; 1 is [`Picard`](crate::Picard).
    pub fn new(memory: usize) -> Result<Self, SolverError> {
        in_range("memory", memory as f64, ">= 1", memory >= 1)?;
        Ok(Self { memory, ridge: RIDGE, mixing: 1.0, safeguard: Safeguard::Growth })
    }

    /// Sets the ridge.
    ///
    /// It is added to the unit diagonal of the small system in the precision of the states, so in
    /// f32 it is rounded to a multiple of `2^-23`, about 1.2e-7; half of that or less, such as the
    /// 1e-10 of arXiv 2311.15673, is 0. Linearly dependent differences need no ridge: they are left
    /// out.
    pub fn with_ridge(self, ridge: f64) -> Result<Self, SolverError> {
        in_range("ridge", ridge, ">= 0", ridge >= 0.0)?;
        Ok(Self { ridge, ..self })
    }

    /// Sets the mixing, in `(0, 1]`: accelerates [`Damped`](crate::Damped) with damping
    /// `1 - mixing`.
    pub fn with_mixing(mut self, mixing: f64) -> Result<Self, SolverError> {
        self.mixing = in_range("mixing", mixing, "in (0, 1]", mixing > 0.0 && mixing <= 1.0)?;
        Ok(self)
    }

    /// Sets the safeguard.
    #[must_use]
    pub fn with_safeguard(self, safeguard: Safeguard) -> Self {
        Self { safeguard, ..self }
    }
}

/// The newest iteration, per measured component.
#[derive(Debug)]
struct Iterate {
    /// `t = s + mixing g`.
    plain: Vec<Tensor<2>>,
    /// `g = f - s`.
    residual: Vec<Tensor<2>>,
    /// `|g|^2`, `[batch, 1]`.
    square: Tensor<2>,
}

/// The difference of two successive iterations, per measured component.
#[derive(Debug)]
struct Difference {
    /// `dt`.
    plain: Vec<Tensor<2>>,
    /// `dg`.
    residual: Vec<Tensor<2>>,
    /// `1 / |dg|`, `[batch, 1]`; 0 in samples that discarded it, or if `|dg|` is 0 or not finite.
    scale: Tensor<2>,
}

/// Memory of [`Anderson`]: the last iterations of every sample.
#[derive(Debug)]
pub struct AndersonMemory {
    measured: Vec<usize>,
    last: Option<Iterate>,
    /// Newest first.
    differences: VecDeque<Difference>,
    /// `cosines[i][j]` is the cosine between differences `i` and `i + 1 + j`, `[batch, 1]`; 0 in
    /// samples that discarded either.
    cosines: VecDeque<VecDeque<Tensor<2>>>,
}

impl Memory for AndersonMemory {
    fn select(mut self, rows: &Tensor<1, Int>) -> Self {
        let pick = |t: &mut Tensor<2>| *t = t.clone().select(0, rows.clone());
        if let Some(last) = &mut self.last {
            last.plain.iter_mut().chain(&mut last.residual).for_each(pick);
            pick(&mut last.square);
        }
        for difference in &mut self.differences {
            difference.plain.iter_mut().chain(&mut difference.residual).for_each(pick);
            pick(&mut difference.scale);
        }
        self.cosines.iter_mut().flatten().for_each(pick);
        self
    }
}

impl AndersonMemory {
    /// Adds the difference of `last` and `newest`, and keeps at most `capacity` differences.
    fn push(&mut self, last: &Iterate, newest: &Iterate, capacity: usize) {
        if self.differences.len() == capacity {
            self.differences.pop_back();
            self.cosines.pop_back();
            for row in &mut self.cosines {
                row.pop_back();
            }
        }
        let plain = minus(&newest.plain, &last.plain);
        let residual = minus(&newest.residual, &last.residual);
        let square = inner(&residual, &residual);
        // Not usable: 0, infinite or NaN.
        let usable = square
            .clone()
            .greater_elem(f32::MIN_POSITIVE)
            .bool_and(square.clone().lower_equal_elem(f32::MAX));
        let scale = square.sqrt().recip().mask_fill(usable.bool_not(), 0.0);
        let new = Difference { plain, residual, scale };
        let row = self.differences.iter().map(|older| {
            inner(&older.residual, &new.residual) * older.scale.clone() * new.scale.clone()
        });
        self.cosines.push_front(row.collect());
        self.differences.push_front(new);
    }

    /// Discards all differences of the samples in `mask`, `[batch, 1]`.
    fn discard(&mut self, mask: &Tensor<2, Bool>) {
        let scales = self.differences.iter_mut().map(|d| &mut d.scale);
        for number in self.cosines.iter_mut().flatten().chain(scales) {
            *number = number.clone().mask_fill(mask.clone(), 0.0);
        }
    }
}

/// The components `measured`.
fn pick(state: &State, measured: &[usize]) -> Vec<Tensor<2>> {
    measured.iter().map(|&k| state.component(k).clone()).collect()
}

/// Inner product over all components of each sample, `[batch, 1]`.
fn inner(a: &[Tensor<2>], b: &[Tensor<2>]) -> Tensor<2> {
    let products = a.iter().zip(b).map(|(a, b)| (a.clone() * b.clone()).sum_dim(1));
    products.reduce(|x, y| x + y).expect("a map measures at least one component")
}

/// Whether `|image - new| / |new| < |image - state| / |state|`, `[batch, 1]`; `square` is
/// `|image - state|^2`.
fn is_nearer(
    new: &[Tensor<2>],
    state: &[Tensor<2>],
    image: &[Tensor<2>],
    square: &Tensor<2>,
) -> Tensor<2, Bool> {
    let distance = minus(image, new);
    let left = inner(&distance, &distance) * inner(state, state);
    left.lower(square.clone() * inner(new, new))
}

/// `a - b`, component by component.
fn minus(a: &[Tensor<2>], b: &[Tensor<2>]) -> Vec<Tensor<2>> {
    a.iter().zip(b).map(|(a, b)| a.clone() - b.clone()).collect()
}

impl Method for Anderson {
    type Memory = AndersonMemory;

    fn start(&self, measured: &[usize]) -> AndersonMemory {
        AndersonMemory {
            measured: measured.to_vec(),
            last: None,
            differences: VecDeque::new(),
            cosines: VecDeque::new(),
        }
    }

    fn advance(&self, state: State, image: State, memory: &mut AndersonMemory) -> State {
        let newest = self.plain_update(&state, &image, &memory.measured);
        let mut next = newest.plain.clone();
        let guarded = self.safeguard == Safeguard::Distance;
        let guarded = guarded.then(|| [&state, &image].map(|s| pick(s, &memory.measured)));
        if let Some(last) = memory.last.take()
            && self.memory > 1
        {
            memory.push(&last, &newest, self.memory - 1);
            if self.safeguard == Safeguard::Growth {
                // Also if either is NaN. Without differences all weights are 0: a plain update.
                memory.discard(&newest.square.clone().lower_equal(last.square).bool_not());
            }
            let weights = self.weights(memory, &newest.residual);
            let size = weights.iter().map(|w| w.clone().abs()).reduce(|a, b| a + b);
            let finite = size.expect("a difference was pushed").lower_equal_elem(f32::MAX);
            let mut accelerated = next.clone();
            for (difference, weight) in memory.differences.iter().zip(&weights) {
                for (sum, dt) in accelerated.iter_mut().zip(&difference.plain) {
                    *sum = sum.clone() - dt.clone() * weight.clone();
                }
            }
            let taken = match &guarded {
                Some([state, image]) => {
                    finite.bool_and(is_nearer(&accelerated, state, image, &newest.square))
                }
                None => finite,
            };
            for (next, accelerated) in next.iter_mut().zip(accelerated) {
                let mask = taken.clone().expand(next.dims());
                *next = next.clone().mask_where(mask, accelerated);
            }
        }
        memory.last = Some(newest);
        let mut state = image;
        for (&k, next) in memory.measured.iter().zip(next) {
            state.put(k, next);
        }
        state
    }
}

impl Anderson {
    fn plain_update(&self, state: &State, image: &State, measured: &[usize]) -> Iterate {
        let (state, image) = (pick(state, measured), pick(image, measured));
        let residual = minus(&image, &state);
        let square = inner(&residual, &residual);
        let plain = if self.mixing < 1.0 {
            let parts = state.into_iter().zip(&residual);
            parts.map(|(s, g)| s + g.clone().mul_scalar(self.mixing)).collect()
        } else {
            image
        };
        Iterate { plain, residual, square }
    }

    /// The weights `gamma` of the differences, `[batch, 1]` each.
    ///
    /// With `u_i = dg_i / |dg_i|` this is `(C + ridge I) x = <u_i, g>`, where `C` holds the cosines
    /// between the `u_i`, and `gamma_i = x_i / |dg_i|`. `C` is symmetric positive semidefinite with
    /// unit diagonal, so elimination needs no pivoting. It goes from the newest difference to the
    /// oldest, so of two dependent ones the older is left out.
    fn weights(&self, memory: &AndersonMemory, residual: &[Tensor<2>]) -> Vec<Tensor<2>> {
        let differences = &memory.differences;
        let count = differences.len();
        let project = |d: &Difference| inner(&d.residual, residual) * d.scale.clone();
        let mut rhs: Vec<Tensor<2>> = differences.iter().map(project).collect();
        // Upper triangle, by rows.
        let mut matrix: Vec<Vec<Tensor<2>>> = (0..count)
            .map(|i| {
                let diagonal = rhs[i].ones_like() + self.ridge;
                std::iter::once(diagonal).chain(memory.cosines[i].iter().cloned()).collect()
            })
            .collect();
        let mut inverses: Vec<Tensor<2>> = Vec::with_capacity(count);
        for pivot in 0..count {
            let diagonal = matrix[pivot][0].clone();
            let dependent = diagonal.clone().lower_elem(INDEPENDENT);
            let inverse = diagonal.recip().mask_fill(dependent, 0.0);
            for row in pivot + 1..count {
                let factor = matrix[pivot][row - pivot].clone() * inverse.clone();
                for column in row..count {
                    let update = factor.clone() * matrix[pivot][column - pivot].clone();
                    matrix[row][column - row] = matrix[row][column - row].clone() - update;
                }
                rhs[row] = rhs[row].clone() - factor * rhs[pivot].clone();
            }
            inverses.push(inverse);
        }
        for row in (0..count).rev() {
            for column in row + 1..count {
                let update = matrix[row][column - row].clone() * rhs[column].clone();
                rhs[row] = rhs[row].clone() - update;
            }
            rhs[row] = rhs[row].clone() * inverses[row].clone();
        }
        rhs.into_iter().zip(differences).map(|(x, d)| x * d.scale.clone()).collect()
    }
}
