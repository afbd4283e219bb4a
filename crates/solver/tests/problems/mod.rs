//! Maps with known fixed points, each a batch of samples with parameters of their own.
#![allow(dead_code, unused_imports, reason = "each test binary uses a part")]

mod dense;
mod network;
mod scalar;

use burn::tensor::{Device, Int, Tensor, TensorData};
use hvae_solver::{
    Anderson, Damped, FixedPointMap, Picard, Solution, SolverError, State, StoppingRule, solve,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(crate) use dense::{Matrix, distance, dot, multiply, norm, solve_directly};
pub(crate) use network::{Network, NetworkCase};
pub(crate) use scalar::{Affine, Cosine, Logarithm};

/// Every method, so that tables of methods can be written down.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Any {
    Picard,
    Damped(f64),
    Euler(f64),
    Anderson(usize),
}

impl Any {
    pub(crate) fn try_run<F: FixedPointMap>(
        self,
        map: F,
        guess: State,
        rule: &StoppingRule,
    ) -> Result<Solution, SolverError> {
        match self {
            Self::Picard => solve(map, guess, &Picard, rule),
            Self::Damped(damping) => solve(map, guess, &Damped::new(damping)?, rule),
            Self::Euler(dt) => solve(map, guess, &Damped::forward_euler(dt)?, rule),
            Self::Anderson(memory) => solve(map, guess, &Anderson::new(memory)?, rule),
        }
    }

    pub(crate) fn run<F: FixedPointMap>(
        self,
        map: F,
        guess: State,
        rule: &StoppingRule,
    ) -> Solution {
        self.try_run(map, guess, rule).unwrap()
    }
}

/// One of each method, and Anderson with little and with much memory.
pub(crate) const METHODS: [Any; 5] =
    [Any::Picard, Any::Damped(0.4), Any::Euler(0.5), Any::Anderson(2), Any::Anderson(5)];

pub(crate) fn rule(rtol: f64, max_iterations: usize) -> StoppingRule {
    StoppingRule::new(rtol, max_iterations).unwrap()
}

/// A map with its answer.
#[derive(Debug, Clone)]
pub(crate) struct Case<F> {
    pub(crate) name: &'static str,
    pub(crate) map: F,
    pub(crate) guess: State,
    /// The fixed point of every sample, all components side by side.
    pub(crate) answer: Matrix,
    /// For every sample, `|J_c (I - J_cc)^-1|`: how much larger the error of an image can be than
    /// the residual it was measured with. `J` is the Jacobian at the fixed point, `c` the measured
    /// components.
    pub(crate) sensitivity: Vec<f64>,
}

impl<F: FixedPointMap + Clone> Case<F> {
    pub(crate) fn run(&self, method: Any, rule: &StoppingRule) -> Solution {
        method.run(self.map.clone(), self.guess.clone(), rule)
    }
}

/// Where the values of components of the given `sizes` lie when they stand side by side.
pub(crate) fn offsets(sizes: &[usize]) -> Vec<usize> {
    sizes.iter().scan(0, |end, n| Some(std::mem::replace(end, *end + n))).collect()
}

/// `|J_c (I - J_cc)^-1|`, Frobenius, for the units `measured`.
pub(crate) fn sensitivity(jacobian: &Matrix, measured: &[usize]) -> f64 {
    // Columns of the transposed inverse are rows here: X = J_c (I - J_cc)^-1 solves
    // (I - J_cc)^T x_i = (row i of J_c).
    let transposed: Matrix = measured
        .iter()
        .map(|&j| measured.iter().map(|&i| f64::from(u8::from(i == j)) - jacobian[i][j]).collect())
        .collect();
    let rows = jacobian.iter().map(|row| {
        let row: Vec<f64> = measured.iter().map(|&j| row[j]).collect();
        norm(&solve_directly(&transposed, &row)).powi(2)
    });
    rows.sum::<f64>().sqrt()
}

/// Deterministic uniform numbers in `[low, high)`.
pub(crate) struct Uniform(ChaCha8Rng);

impl Uniform {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(crate) fn vector(&mut self, length: usize, low: f64, high: f64) -> Vec<f64> {
        (0..length).map(|_| self.0.random_range(low..high)).collect()
    }

    pub(crate) fn matrix(&mut self, rows: usize, columns: usize, limit: f64) -> Matrix {
        (0..rows).map(|_| self.vector(columns, -limit, limit)).collect()
    }
}

pub(crate) fn device() -> Device {
    Device::flex()
}

/// A tensor from its rows.
pub(crate) fn tensor(rows: &[Vec<f64>]) -> Tensor<2> {
    let shape = [rows.len(), rows.first().map_or(1, Vec::len)];
    let values: Vec<f32> = rows.iter().flatten().map(|&x| x as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), &device())
}

/// A column `[batch, 1]`.
pub(crate) fn column(values: &[f64]) -> Tensor<2> {
    tensor(&values.iter().map(|&x| vec![x]).collect::<Vec<_>>())
}

pub(crate) fn indices(rows: &[usize]) -> Tensor<1, Int> {
    let rows: Vec<i64> = rows.iter().map(|&r| r as i64).collect();
    let count = rows.len();
    Tensor::from_data(TensorData::new(rows, [count]), &device())
}

/// A state of zeros.
pub(crate) fn zeros(samples: usize, sizes: &[usize]) -> State {
    State::new(sizes.iter().map(|&n| Tensor::zeros([samples, n], &device())).collect()).unwrap()
}

/// The values of every sample, all components side by side.
pub(crate) fn values(state: &State) -> Vec<Vec<f32>> {
    let mut samples = vec![Vec::new(); state.batch()];
    for component in state.components() {
        let [_, n] = component.dims();
        let flat: Vec<f32> = component.clone().into_data().try_to_vec().unwrap();
        for (sample, row) in samples.iter_mut().zip(flat.chunks_exact(n)) {
            sample.extend_from_slice(row);
        }
    }
    samples
}

/// The bits of every sample, all components side by side.
pub(crate) fn bits(state: &State) -> Vec<Vec<u32>> {
    values(state).into_iter().map(|v| v.into_iter().map(f32::to_bits).collect()).collect()
}

/// The same in f64.
pub(crate) fn host(state: &State) -> Matrix {
    values(state).into_iter().map(|v| v.into_iter().map(f64::from).collect()).collect()
}

/// `s = A s + b` with a matrix of its own for every sample.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    matrix: Tensor<3>,
    shift: Tensor<2>,
}

impl FixedPointMap for Linear {
    fn apply(&self, state: &State, _iteration: usize) -> State {
        state.map(|s| {
            let [batch, n] = s.dims();
            let product = (self.matrix.clone() * s.reshape([batch, 1, n])).sum_dim(2);
            product.reshape([batch, n]) + self.shift.clone()
        })
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        Self {
            matrix: self.matrix.clone().select(0, rows.clone()),
            shift: self.shift.clone().select(0, rows.clone()),
        }
    }
}

/// Host side of [`Linear`].
#[derive(Debug, Clone)]
pub(crate) struct LinearProblem {
    pub(crate) matrices: Vec<Matrix>,
    pub(crate) shifts: Matrix,
}

impl LinearProblem {
    /// One symmetric matrix per row of `spectra`, with these eigenvalues and random eigenvectors.
    pub(crate) fn symmetric(spectra: &[Vec<f64>], seed: u64) -> Self {
        let mut uniform = Uniform::new(seed);
        let matrices = spectra.iter().map(|eigenvalues| {
            let n = eigenvalues.len();
            let basis = dense::orthonormal(uniform.matrix(n, n, 1.0));
            (0..n)
                .map(|i| {
                    let entry = |j: usize| -> f64 {
                        (0..n).map(|k| basis[k][i] * eigenvalues[k] * basis[k][j]).sum()
                    };
                    (0..n).map(entry).collect()
                })
                .collect()
        });
        let matrices: Vec<Matrix> = matrices.collect();
        let shifts = spectra.iter().map(|e| uniform.vector(e.len(), -1.0, 1.0)).collect();
        Self { matrices, shifts }
    }

    /// Rotations of the plane by `angle`, stretched by `radius`, one per sample.
    pub(crate) fn rotations(stretches: &[(f64, f64)], seed: u64) -> Self {
        let matrices = stretches.iter().map(|&(radius, angle)| {
            let (sin, cos) = angle.sin_cos();
            vec![vec![radius * cos, -radius * sin], vec![radius * sin, radius * cos]]
        });
        let shifts = Uniform::new(seed).matrix(stretches.len(), 2, 1.0);
        Self { matrices: matrices.collect(), shifts }
    }

    pub(crate) fn map(&self) -> Linear {
        let (batch, n) = (self.shifts.len(), self.shifts[0].len());
        let flat: Vec<Vec<f64>> = self.matrices.iter().map(|m| m.concat()).collect();
        Linear { matrix: tensor(&flat).reshape([batch, n, n]), shift: tensor(&self.shifts) }
    }

    pub(crate) fn case(&self, name: &'static str) -> Case<Linear> {
        let (batch, n) = (self.shifts.len(), self.shifts[0].len());
        let all: Vec<usize> = (0..n).collect();
        let answer = self.matrices.iter().zip(&self.shifts).map(|(a, b)| {
            let system: Matrix = (0..n)
                .map(|i| (0..n).map(|j| f64::from(u8::from(i == j)) - a[i][j]).collect())
                .collect();
            solve_directly(&system, b)
        });
        Case {
            name,
            map: self.map(),
            guess: zeros(batch, &[n]),
            answer: answer.collect(),
            sensitivity: self.matrices.iter().map(|a| sensitivity(a, &all)).collect(),
        }
    }
}

/// `count` numbers from `low` to `high`, evenly spaced.
pub(crate) fn spread(low: f64, high: f64, count: usize) -> Vec<f64> {
    (0..count).map(|i| low + (high - low) * i as f64 / (count - 1) as f64).collect()
}

/// Contractions of spectral radius 0.1 to 0.9, with eigenvalues of both signs.
pub(crate) fn contraction() -> Case<Linear> {
    let radii = [0.1, 0.3, 0.5, 0.7, 0.9];
    let spectra: Vec<_> = radii.iter().map(|&r| spread(-r, r, 7)).collect();
    LinearProblem::symmetric(&spectra, 1).case("contraction")
}

/// Contractions of rate 0.98 with many modes: where acceleration pays.
pub(crate) fn slow() -> Case<Linear> {
    let spectra = vec![spread(0.0, 0.98, 12); 3];
    LinearProblem::symmetric(&spectra, 2).case("slow")
}

/// Turns that Picard iteration follows for ever (radius 1) or outwards (radius above 1), and that
/// damping ends: `|d + (1 - d) r e^(i angle)| < 1` for `d = 0.5`.
pub(crate) fn oscillation() -> Case<Linear> {
    LinearProblem::rotations(&[(1.0, 2.0), (1.2, 2.1), (1.0, 3.0), (1.5, 2.5)], 3)
        .case("oscillation")
}

/// `s = a cos s` for several `a`.
pub(crate) fn cosine() -> Case<Cosine> {
    Cosine::case(&[0.2, 0.6, 1.0, -0.8, 1.2])
}
