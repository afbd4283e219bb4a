//! A chain of layers `s_k = tanh(b_k + sum_l W_kl s_l)` with symmetric couplings.

use burn::tensor::{Device, Int, Tensor, TensorData};
use hvae_solver::{BlockMap, State};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SEED: u64 = 1;

/// About the largest possible gain of one application; below 1, but near enough to make it slow.
const GAIN: f64 = 0.95;

#[derive(Clone)]
pub(crate) struct Chain {
    /// `W` between layers `k` and `k + 1`, `[n_k, n_(k + 1)]`.
    weights: Vec<Tensor<2>>,
    /// `b_k` of every sample, `[batch, n_k]`.
    biases: Vec<Tensor<2>>,
    /// The even layers, then the odd ones.
    blocks: [Vec<usize>; 2],
}

impl Chain {
    /// A chain of layers of these `sizes`. The biases of the samples differ in scale, so that
    /// samples take different numbers of iterations.
    pub(crate) fn random(sizes: &[usize], batch: usize, device: &Device) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let mut uniform = |[rows, columns]: [usize; 2], limit: &dyn Fn(usize) -> f64| {
            let values = (0..rows * columns)
                .map(|i| (rng.random_range(-1.0..1.0) * limit(i / columns)) as f32);
            Tensor::from_data(TensorData::new(values.collect(), [rows, columns]), device)
        };
        // Uniform numbers in (-l, l) have standard deviation l / sqrt(3); the largest singular
        // value of a random matrix is about that times sqrt(m) + sqrt(n). A chain of L layers whose
        // couplings all had the largest singular value g, with the same vectors throughout, would
        // have gain 2 g cos(pi / (L + 1)).
        let angle = std::f64::consts::PI / (sizes.len() + 1) as f64;
        let largest = GAIN / (2.0 * angle.cos());
        let limit =
            |m: usize, n: usize| largest * 3.0_f64.sqrt() / ((m as f64).sqrt() + (n as f64).sqrt());
        let pairs = sizes.windows(2).map(|n| uniform([n[0], n[1]], &|_| limit(n[0], n[1])));
        let weights = pairs.collect();
        let scale = |sample: usize| 2.0 * (sample + 1) as f64 / batch as f64;
        let biases = sizes.iter().map(|&n| uniform([batch, n], &scale)).collect();
        // The largest layer is even: a sweep does not measure what it updates first.
        let blocks = [0, 1].map(|first| (first..sizes.len()).step_by(2).collect());
        Self { weights, biases, blocks }
    }

    /// Zeros in all layers.
    pub(crate) fn guess(&self) -> State {
        let zeros = self.biases.iter().map(Tensor::zeros_like).collect();
        State::new(zeros).expect("all layers have one batch size")
    }
}

impl BlockMap for Chain {
    fn blocks(&self) -> &[Vec<usize>] {
        &self.blocks
    }

    fn update(&self, k: usize, state: &State, _iteration: usize) -> Tensor<2> {
        let mut input = self.biases[k].clone();
        if k > 0 {
            let below = state.component(k - 1).clone();
            input = input + below.matmul(self.weights[k - 1].clone());
        }
        if let Some(weight) = self.weights.get(k) {
            let above = state.component(k + 1).clone();
            input = input + above.matmul(weight.clone().transpose());
        }
        input.tanh()
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        let biases = self.biases.iter().map(|b| b.clone().select(0, rows.clone())).collect();
        Self { biases, ..self.clone() }
    }

    fn is_self_coupled(&self, _k: usize) -> bool {
        false
    }
}
