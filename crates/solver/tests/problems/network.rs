//! Symmetric networks `s_k = tanh(b_k + sum_j s_j W_jk)`, in blocks.

use burn::tensor::{Int, Tensor};
use hvae_solver::{BlockMap, FixedPointMap, Sweep, Synchronous};

use super::{Case, Matrix, Uniform, distance, offsets, sensitivity, tensor, zeros};
use hvae_solver::State;

/// A network on the device. A coupling `(a, b, W)` adds `s_a W` to the field of `b` and `s_b W^T`
/// to that of `a`; with `a = b`, a component is coupled to itself.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    couplings: Vec<(usize, usize, Tensor<2>)>,
    drive: Vec<Tensor<2>>,
    blocks: Vec<Vec<usize>>,
}

impl Network {
    pub(crate) fn with_blocks(&self, blocks: &[&[usize]]) -> Self {
        Self { blocks: blocks.iter().map(|b| b.to_vec()).collect(), ..self.clone() }
    }

    /// With a drive that is not a number in one sample.
    pub(crate) fn poisoned(&self, component: usize, sample: usize) -> Self {
        let mut map = self.clone();
        let [batch, n] = map.drive[component].dims();
        let mut poison = vec![vec![0.0]; batch];
        poison[sample] = vec![f64::NAN];
        let poison = tensor(&poison).expand([batch, n]);
        map.drive[component] = map.drive[component].clone() + poison;
        map
    }
}

impl BlockMap for Network {
    fn blocks(&self) -> &[Vec<usize>] {
        &self.blocks
    }

    fn update(&self, component: usize, state: &State, _iteration: usize) -> Tensor<2> {
        let mut field = self.drive[component].clone();
        for (a, b, weight) in &self.couplings {
            if *b == component {
                field = field + state.component(*a).clone().matmul(weight.clone());
            } else if *a == component {
                field = field + state.component(*b).clone().matmul(weight.clone().transpose());
            }
        }
        field.tanh()
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        let drive = self.drive.iter().map(|d| d.clone().select(0, rows.clone())).collect();
        Self { drive, ..self.clone() }
    }

    fn is_self_coupled(&self, component: usize) -> bool {
        self.couplings.iter().any(|(a, b, _)| *a == component && *b == component)
    }
}

/// A network on the host, with its fixed points.
#[derive(Debug, Clone)]
pub(crate) struct NetworkCase {
    name: &'static str,
    sizes: Vec<usize>,
    blocks: Vec<Vec<usize>>,
    couplings: Vec<(usize, usize, Matrix)>,
    /// Weights between all units.
    weights: Matrix,
    /// Drive of every sample, all components side by side.
    drive: Matrix,
}

/// What a network is made from; `gain` is about the largest singular value of a coupling.
pub(crate) struct Plan<'a> {
    pub(crate) name: &'static str,
    pub(crate) sizes: &'a [usize],
    pub(crate) couplings: &'a [(usize, usize)],
    pub(crate) blocks: &'a [&'a [usize]],
    pub(crate) gain: f64,
    pub(crate) samples: usize,
    pub(crate) seed: u64,
}

impl NetworkCase {
    pub(crate) fn new(plan: &Plan<'_>) -> Self {
        let mut uniform = Uniform::new(plan.seed);
        let starts = offsets(plan.sizes);
        let units: usize = plan.sizes.iter().sum();
        let mut weights = vec![vec![0.0; units]; units];
        let couplings = plan.couplings.iter().map(|&(a, b)| {
            let (m, n) = (plan.sizes[a], plan.sizes[b]);
            // A random matrix of standard deviation d has largest singular value about
            // d (sqrt(m) + sqrt(n)); a uniform number in (-l, l) has d = l / sqrt(3).
            let limit = plan.gain * 3.0_f64.sqrt() / ((m as f64).sqrt() + (n as f64).sqrt());
            let mut weight = uniform.matrix(m, n, limit);
            if a == b {
                weight =
                    (0..n).map(|i| (0..n).map(|j| weight[i.min(j)][i.max(j)]).collect()).collect();
            }
            for (i, row) in weight.iter().enumerate() {
                for (j, &w) in row.iter().enumerate() {
                    // What f32 makes of it, so that host and device have the same network.
                    let w = f64::from(w as f32);
                    weights[starts[a] + i][starts[b] + j] = w;
                    weights[starts[b] + j][starts[a] + i] = w;
                }
            }
            (a, b, weight)
        });
        let couplings = couplings.collect();
        // Scales of their own, so that samples take different numbers of iterations.
        let drive = (0..plan.samples).map(|i| {
            let scale = 2.0 * (i + 1) as f64 / plan.samples as f64;
            uniform.vector(units, -scale, scale).into_iter().map(|x| f64::from(x as f32)).collect()
        });
        let drive = drive.collect();
        let blocks = plan.blocks.iter().map(|b| b.to_vec()).collect();
        Self { name: plan.name, sizes: plan.sizes.to_vec(), blocks, couplings, weights, drive }
    }

    pub(crate) fn map(&self) -> Network {
        let mut start = 0;
        let mut drive = Vec::new();
        for &n in &self.sizes {
            let part: Matrix = self.drive.iter().map(|d| d[start..start + n].to_vec()).collect();
            drive.push(tensor(&part));
            start += n;
        }
        let couplings = self.couplings.iter().map(|(a, b, w)| (*a, *b, tensor(w))).collect();
        Network { couplings, drive, blocks: self.blocks.clone() }
    }

    pub(crate) fn guess(&self) -> State {
        zeros(self.drive.len(), &self.sizes)
    }

    fn image(&self, state: &[f64], drive: &[f64]) -> Vec<f64> {
        let field = super::multiply(&self.weights, state);
        field.iter().zip(drive).map(|(a, b)| (a + b).tanh()).collect()
    }

    /// `|f(s) - s| / |f(s)|` of a sample over all units.
    pub(crate) fn residual(&self, sample: usize, state: &[f64]) -> f64 {
        let image = self.image(state, &self.drive[sample]);
        distance(&image, state) / super::norm(&image)
    }

    /// The fixed point of a sample, by damped iteration in f64 to the last digits.
    fn fixed_point(&self, drive: &[f64]) -> Vec<f64> {
        let mut state = vec![0.0; drive.len()];
        for _ in 0..20_000 {
            let image = self.image(&state, drive);
            let change = distance(&image, &state);
            state.iter_mut().zip(image).for_each(|(s, f)| *s = 0.5 * (*s + f));
            if change < 1e-14 {
                return state;
            }
        }
        unreachable!("{}: the reference did not converge", self.name);
    }

    /// `J = diag(1 - s^2) W` at a fixed point.
    fn jacobian(&self, state: &[f64]) -> Matrix {
        let slope = |i: usize| 1.0 - state[i] * state[i];
        let row = |(i, w): (usize, &Vec<f64>)| w.iter().map(|w| slope(i) * w).collect();
        self.weights.iter().enumerate().map(row).collect()
    }

    /// The Jacobian of a sweep: each block's rows, applied to the rows as they stand.
    fn sweep_jacobian(&self, jacobian: &Matrix) -> Matrix {
        let units = jacobian.len();
        let unit = |i: usize, j: usize| f64::from(u8::from(i == j));
        let mut total: Matrix =
            (0..units).map(|i| (0..units).map(|j| unit(i, j)).collect()).collect();
        for block in &self.blocks {
            let before = total.clone();
            for i in self.units(block) {
                total[i] = (0..units)
                    .map(|j| (0..units).map(|k| jacobian[i][k] * before[k][j]).sum())
                    .collect();
            }
        }
        total
    }

    /// The units of `components`.
    fn units(&self, components: &[usize]) -> Vec<usize> {
        let starts = offsets(&self.sizes);
        components.iter().flat_map(|&k| starts[k]..starts[k] + self.sizes[k]).collect()
    }

    fn case<F: FixedPointMap>(&self, map: F, change: impl Fn(Matrix) -> Matrix) -> Case<F> {
        let measured = self.units(&map.measured(self.sizes.len()));
        let answer: Matrix = self.drive.iter().map(|d| self.fixed_point(d)).collect();
        let jacobians = answer.iter().map(|s| change(self.jacobian(s)));
        Case {
            name: self.name,
            sensitivity: jacobians.map(|j| sensitivity(&j, &measured)).collect(),
            map,
            guess: self.guess(),
            answer,
        }
    }

    /// Only the map, for networks without a single answer.
    pub(crate) fn synchronous_unsolved(&self) -> Synchronous<Network> {
        Synchronous(self.map())
    }

    /// Only the map, for networks without a single answer.
    pub(crate) fn sweep_unsolved(&self) -> Sweep<Network> {
        Sweep(self.map())
    }

    pub(crate) fn synchronous(&self) -> Case<Synchronous<Network>> {
        self.case(Synchronous(self.map()), |j| j)
    }

    pub(crate) fn sweep(&self) -> Case<Sweep<Network>> {
        self.case(Sweep(self.map()), |j| self.sweep_jacobian(&j))
    }

    /// Two layers, two blocks.
    pub(crate) fn pair() -> Self {
        Self::new(&Plan {
            name: "pair",
            sizes: &[9, 6],
            couplings: &[(0, 1)],
            blocks: &[&[0], &[1]],
            gain: 0.8,
            samples: 5,
            seed: 4,
        })
    }

    /// Four layers in a chain: two blocks of two components, odd layers first.
    pub(crate) fn chain() -> Self {
        Self::new(&Plan {
            name: "chain",
            sizes: &[5, 8, 7, 4],
            couplings: &[(0, 1), (1, 2), (2, 3)],
            blocks: &[&[1, 3], &[0, 2]],
            gain: 0.6,
            samples: 5,
            seed: 5,
        })
    }

    /// Three layers, each coupled to both others: three blocks.
    pub(crate) fn triangle() -> Self {
        Self::new(&Plan {
            name: "triangle",
            sizes: &[5, 6, 4],
            couplings: &[(0, 1), (1, 2), (0, 2)],
            blocks: &[&[0], &[1], &[2]],
            gain: 0.45,
            samples: 5,
            seed: 6,
        })
    }

    /// Two layers, the first of which is also coupled to itself.
    pub(crate) fn self_coupled() -> Self {
        Self::new(&Plan {
            name: "self-coupled",
            sizes: &[6, 5],
            couplings: &[(0, 0), (0, 1)],
            blocks: &[&[0], &[1]],
            gain: 0.5,
            samples: 5,
            seed: 7,
        })
    }

    /// As [`Self::pair`] with more samples, enough that a product with a few samples less takes
    /// the same kernel.
    pub(crate) fn crowd() -> Self {
        Self::new(&Plan {
            name: "crowd",
            sizes: &[9, 6],
            couplings: &[(0, 1)],
            blocks: &[&[0], &[1]],
            gain: 0.8,
            samples: 64,
            seed: 9,
        })
    }

    /// Two samples of layers so large that a product of one row takes another kernel.
    pub(crate) fn two() -> Self {
        Self::new(&Plan {
            name: "two",
            sizes: &[512, 784],
            couplings: &[(0, 1)],
            blocks: &[&[0], &[1]],
            gain: 0.8,
            samples: 2,
            seed: 10,
        })
    }

    /// Two layers that contract slowly and far from linearly.
    pub(crate) fn stiff() -> Self {
        Self::new(&Plan {
            name: "stiff",
            sizes: &[20, 16],
            couplings: &[(0, 1)],
            blocks: &[&[0], &[1]],
            gain: 1.6,
            samples: 40,
            seed: 8,
        })
    }
}
