//! Anderson acceleration with a per-sample safeguard.

use std::collections::VecDeque;

use burn::tensor::{Bool, Int, Tensor};

use crate::{Memory, Method, SolverError, State, error::in_range};

/// Anderson acceleration, type II (Walker & Ni 2011, SIAM J. Numer. Anal. 49:1715, Algorithm AA).
///
/// With the last `m` states `s_i`, images `f_i`, residuals `g_i = f_i - s_i` and plain steps
/// `t_i = s_i + mixing g_i` of a sample, the newest of them `k`, and the changes
/// `dg_i = g_(i+1) - g_i` and `dt_i = t_(i+1) - t_i` from each to the next,
///
/// ```text
/// gamma = argmin |g_k - sum_i gamma_i dg_i|^2 + ridge * sum_i gamma_i^2 |dg_i|^2
/// s_new = t_k - sum_i gamma_i dt_i
/// ```
///
/// solved for every sample on its own, on the device. Without a ridge this is the affine
/// combination `sum_i alpha_i t_i`, `sum_i alpha_i = 1`, with the smallest `|sum_i alpha_i g_i|`;
/// a large ridge leads to `t_k`. Changes are scaled to unit length first, so that neither slow nor
/// fast convergence makes the small system worse than its angles are.
///
/// Each sample is guarded by itself, see [`Safeguard`].
///
/// | setting | default | range |
/// |---|---|---|
/// | `memory` | given; 4 in arXiv 2311.15673 | >= 1 |
/// | `ridge` | 1e-6 | finite, >= 0, relative to the squared length of each change |
/// | `mixing` | 1 | in (0, 1] |
/// | `safeguard` | [`Safeguard::Growth`] | |
#[derive(Debug, Clone, Copy)]
pub struct Anderson {
    memory: usize,
    ridge: f64,
    mixing: f64,
    safeguard: Safeguard,
}

/// When a sample takes the plain step `t_k` in place of the accelerated one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Safeguard {
    /// Where the residual has grown since the step before; the sample then also forgets its changes.
    ///
    /// The residual has to grow on the way out of a plateau or past a saddle; memories of it lead
    /// back. What is found may all the same be a fixed point that the plain iteration runs away from.
    #[default]
    Growth,
    /// Where the accelerated point `s_new` is further from the image than the state was,
    /// `|f_k - s_new| / |s_new| >= |f_k - s_k| / |s_k|` (arXiv 2311.15673).
    ///
    /// It never moves further beyond the image than the plain step moves towards it, and so gains
    /// little where convergence is slow.
    Distance,
}

/// Default of [`Anderson::with_ridge`]: just above the rounding of an f32 inner product. Step counts
/// hardly change from 0 to 1e-2.
const RIDGE: f64 = 1e-6;

/// A change of residuals that keeps less than this part of its squared length beside the newer
/// ones is left out: in f32 the rest is rounding.
const INDEPENDENT: f32 = 1e-6;

impl Anderson {
    /// Anderson acceleration over the last `memory` steps; 1 is [`Picard`](crate::Picard).
    ///
    /// # Errors
    ///
    /// [`SolverError::OutOfRange`] when `memory` is 0.
    pub fn new(memory: usize) -> Result<Self, SolverError> {
        in_range("memory", memory as f64, ">= 1", memory >= 1)?;
        Ok(Self { memory, ridge: RIDGE, mixing: 1.0, safeguard: Safeguard::Growth })
    }

    /// With another ridge.
    ///
    /// It is added to the ones on the diagonal of the small system, in the precision of the states:
    /// in f32 it is rounded to a multiple of `2^-23`, about 1.2e-7, and what is not above half of
    /// that is 0. So is the 1e-10 of arXiv 2311.15673. What such a ridge is there for is done in
    /// another way: changes that depend on newer ones up to rounding are left out.
    ///
    /// # Errors
    ///
    /// [`SolverError::OutOfRange`] when it is negative or not finite.
    pub fn with_ridge(mut self, ridge: f64) -> Result<Self, SolverError> {
        self.ridge = in_range("ridge", ridge, ">= 0", ridge >= 0.0)?;
        Ok(self)
    }

    /// With another mixing: acceleration of [`Damped`](crate::Damped) with `1 - mixing`.
    ///
    /// # Errors
    ///
    /// [`SolverError::OutOfRange`] outside `(0, 1]`.
    pub fn with_mixing(mut self, mixing: f64) -> Result<Self, SolverError> {
        self.mixing = in_range("mixing", mixing, "in (0, 1]", mixing > 0.0 && mixing <= 1.0)?;
        Ok(self)
    }

    /// With another safeguard.
    #[must_use]
    pub fn with_safeguard(mut self, safeguard: Safeguard) -> Self {
        self.safeguard = safeguard;
        self
    }
}

/// The newest step, per carried component.
#[derive(Debug)]
struct Step {
    /// `t = s + mixing g`.
    plain: Vec<Tensor<2>>,
    /// `g = f - s`.
    residual: Vec<Tensor<2>>,
    /// `|g|^2`, `[batch, 1]`.
    square: Tensor<2>,
}

/// The change from one step to the next, per carried component.
#[derive(Debug)]
struct Change {
    /// `dt`.
    plain: Vec<Tensor<2>>,
    /// `dg`.
    residual: Vec<Tensor<2>>,
    /// `1 / |dg|`, `[batch, 1]`; 0 in samples that have forgotten it, or where it is no length.
    scale: Tensor<2>,
}

/// What is remembered of the last steps of every sample.
#[derive(Debug)]
pub struct AndersonMemory {
    carried: Vec<usize>,
    last: Option<Step>,
    /// Newest first.
    changes: VecDeque<Change>,
    /// Cosines between changes: `cosines[i][j]` is that between change `i` and change `i + 1 + j`,
    /// `[batch, 1]`; 0 where either is forgotten.
    cosines: VecDeque<VecDeque<Tensor<2>>>,
}

impl Memory for AndersonMemory {
    fn select(mut self, rows: &Tensor<1, Int>) -> Self {
        let pick = |t: &mut Tensor<2>| *t = t.clone().select(0, rows.clone());
        if let Some(step) = &mut self.last {
            step.plain.iter_mut().chain(&mut step.residual).for_each(pick);
            pick(&mut step.square);
        }
        for change in &mut self.changes {
            change.plain.iter_mut().chain(&mut change.residual).for_each(pick);
            pick(&mut change.scale);
        }
        self.cosines.iter_mut().flatten().for_each(pick);
        self
    }
}

impl AndersonMemory {
    /// Remembers the change from `last` to `step`, and `capacity` changes at most.
    fn push(&mut self, last: &Step, step: &Step, capacity: usize) {
        if self.changes.len() == capacity {
            self.changes.pop_back();
            self.cosines.pop_back();
            for row in &mut self.cosines {
                row.pop_back();
            }
        }
        let plain = minus(&step.plain, &last.plain);
        let residual = minus(&step.residual, &last.residual);
        let square = inner(&residual, &residual);
        // No length: 0, too large for f32, or not a number.
        let usable = square
            .clone()
            .greater_elem(f32::MIN_POSITIVE)
            .bool_and(square.clone().lower_equal_elem(f32::MAX));
        let scale = square.sqrt().recip().mask_fill(usable.bool_not(), 0.0);
        let change = Change { plain, residual, scale };
        let row = self.changes.iter().map(|older| {
            inner(&older.residual, &change.residual) * older.scale.clone() * change.scale.clone()
        });
        self.cosines.push_front(row.collect());
        self.changes.push_front(change);
    }

    /// Forgets all changes of the samples `lost`, `[batch, 1]`.
    fn forget(&mut self, lost: &Tensor<2, Bool>) {
        let scales = self.changes.iter_mut().map(|c| &mut c.scale);
        for number in self.cosines.iter_mut().flatten().chain(scales) {
            *number = number.clone().mask_fill(lost.clone(), 0.0);
        }
    }
}

/// The components `carried`.
fn pick(state: &State, carried: &[usize]) -> Vec<Tensor<2>> {
    carried.iter().map(|&k| state.component(k).clone()).collect()
}

/// Inner product over all components of each sample, `[batch, 1]`.
fn inner(a: &[Tensor<2>], b: &[Tensor<2>]) -> Tensor<2> {
    let products = a.iter().zip(b).map(|(a, b)| (a.clone() * b.clone()).sum_dim(1));
    products.reduce(|x, y| x + y).expect("a map carries at least one component")
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

    fn start(&self, carried: &[usize]) -> AndersonMemory {
        AndersonMemory {
            carried: carried.to_vec(),
            last: None,
            changes: VecDeque::new(),
            cosines: VecDeque::new(),
        }
    }

    fn step(&self, state: State, image: State, memory: &mut AndersonMemory) -> State {
        let step = self.plain_step(&state, &image, &memory.carried);
        let mut next = step.plain.clone();
        let guarded = (self.safeguard == Safeguard::Distance).then(|| {
            let of = |s: &State| pick(s, &memory.carried);
            (of(&state), of(&image))
        });
        if let Some(last) = memory.last.take()
            && self.memory > 1
        {
            memory.push(&last, &step, self.memory - 1);
            // Without changes all weights are 0 and the step is plain.
            if self.safeguard == Safeguard::Growth {
                // Also where either is not a number.
                memory.forget(&step.square.clone().lower_equal(last.square).bool_not());
            }
            let weights = self.weights(memory, &step.residual);
            let size = weights.iter().map(|w| w.clone().abs()).reduce(|a, b| a + b);
            let finite = size.expect("a change was pushed").lower_equal_elem(f32::MAX);
            let accelerated: Vec<Tensor<2>> = next
                .iter()
                .enumerate()
                .map(|(position, plain)| {
                    memory.changes.iter().zip(&weights).fold(plain.clone(), |sum, (c, w)| {
                        sum - c.plain[position].clone() * w.clone()
                    })
                })
                .collect();
            let taken = match &guarded {
                Some((state, image)) => {
                    let nearer = is_nearer(&accelerated, state, image, &step.square);
                    finite.bool_and(nearer)
                }
                None => finite,
            };
            for (next, accelerated) in next.iter_mut().zip(accelerated) {
                let mask = taken.clone().expand(next.dims());
                *next = next.clone().mask_where(mask, accelerated);
            }
        }
        memory.last = Some(step);
        let mut state = image;
        for (&k, next) in memory.carried.iter().zip(next) {
            state.put(k, next);
        }
        state
    }
}

impl Anderson {
    fn plain_step(&self, state: &State, image: &State, carried: &[usize]) -> Step {
        let (state, image) = (pick(state, carried), pick(image, carried));
        let residual = minus(&image, &state);
        let square = inner(&residual, &residual);
        let plain = if self.mixing < 1.0 {
            let parts = state.into_iter().zip(&residual);
            parts.map(|(s, g)| s + g.clone().mul_scalar(self.mixing)).collect()
        } else {
            image
        };
        Step { plain, residual, square }
    }

    /// The weights `gamma` of the changes, `[batch, 1]` each.
    ///
    /// With unit changes `u_i` of residuals this is `(C + ridge I) x = <u_i, g>`, where `C` holds
    /// their cosines, and `gamma_i = x_i / |dg_i|`. `C` is symmetric and positive semi-definite
    /// with unit diagonal, so elimination needs no pivoting; as it goes from the newest change to
    /// the oldest, it is the older one of two dependent changes that is left out.
    fn weights(&self, memory: &AndersonMemory, residual: &[Tensor<2>]) -> Vec<Tensor<2>> {
        let changes = &memory.changes;
        let count = changes.len();
        let project = |c: &Change| inner(&c.residual, residual) * c.scale.clone();
        let mut rhs: Vec<Tensor<2>> = changes.iter().map(project).collect();
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
        rhs.into_iter().zip(changes).map(|(x, c)| x * c.scale.clone()).collect()
    }
}
