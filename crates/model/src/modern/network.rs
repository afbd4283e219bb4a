//! The network: its patterns, its energy, and what can be read from a state.

use burn::tensor::{Device, Int, Tensor, activation::softmax};
use hvae_device::{read, upload};

use crate::error::{ModelError, require, require_shape};

/// A modern Hopfield network over `N` patterns of dimension `d`.
///
/// States are rows `xi`, `[B, d]`; every row has its own inverse temperature. See the
/// [module](super) for the formulas and the symbols.
#[derive(Debug, Clone)]
pub struct ModernHopfield {
    /// Centred patterns `Y`, `[N, d]`.
    pub(super) centred: Tensor<2>,
    /// `Y'`, `[d, N]`, laid out in rows.
    pub(super) columns: Tensor<2>,
    /// Mean pattern `x~`, `[1, d]`.
    pub(super) mean: Tensor<2>,
    /// `k_i = <y_i, x~>`, `[1, N]`.
    pub(super) bias: Tensor<2>,
    /// `|y_i|^2`, `[1, N]`.
    squares: Tensor<2>,
    /// `(M^2 - |x~|^2) / 2`.
    offset: f64,
    /// Mean of `|x_i - x_j|^2` over pairs `i < j`; 0 for one pattern.
    distance_squared: f64,
}

/// What can be read from states, one row each.
#[derive(Debug, Clone)]
pub struct Readings {
    /// `xi - x~`, `[B, d]`.
    pub centred: Tensor<2>,
    /// `E(xi) >= 0`, `[B, 1]`.
    pub energy: Tensor<2>,
    /// `|xi - x~|`, `[B, 1]`.
    pub to_mean: Tensor<2>,
    /// `min_i |xi - x_i|`, `[B, 1]`.
    pub to_nearest: Tensor<2>,
    /// The pattern at which that minimum is taken, `[B]`.
    pub nearest: Tensor<1, Int>,
    /// `-sum_i p_i ln p_i` of the weights `p = softmax(beta X xi)`, in `[0, ln N]`, `[B, 1]`.
    pub entropy: Tensor<2>,
}

impl ModernHopfield {
    /// A network that stores the rows of `patterns`, `[N, d]`, on their device. An error without a
    /// pattern or a dimension, or for a value, or a square of a norm, that is not finite.
    pub fn new(patterns: Tensor<2>) -> Result<Self, ModelError> {
        let [count, dimension] = patterns.dims();
        require(count >= 1, "patterns", count, "at least one pattern is needed")?;
        require(dimension >= 1, "dimension", dimension, "patterns need at least one value")?;
        let norms = host(patterns.clone().square().sum_dim(1));
        if norms.iter().any(|n| !n.is_finite()) {
            return Err(ModelError::NotFinite {
                what: "patterns".to_owned(),
                remedy: "remove missing values and scale the patterns down".to_owned(),
            });
        }
        let mean = patterns.clone().mean_dim(0);
        let centred = patterns - mean.clone();
        // The host lays it out in rows: products with a view are slower.
        let columns = Tensor::from_data(centred.clone().transpose().into_data(), &centred.device());
        let bias = (centred.clone() * mean.clone()).sum_dim(1).reshape([1, count]);
        let squares = centred.clone().square().sum_dim(1).reshape([1, count]);
        let largest = norms.iter().copied().fold(0.0, f64::max);
        let mean_square: f64 = host(mean.clone().square().sum_dim(1)).iter().sum();
        let spread: f64 = host(squares.clone()).iter().sum();
        Ok(Self {
            centred,
            columns,
            mean,
            bias,
            squares,
            offset: (largest - mean_square) / 2.0,
            distance_squared: 2.0 * spread / (count.max(2) - 1) as f64,
        })
    }

    /// Number of patterns `N`.
    pub fn count(&self) -> usize {
        self.centred.dims()[0]
    }

    /// Dimension `d` of patterns and states.
    pub fn dimension(&self) -> usize {
        self.centred.dims()[1]
    }

    /// The device that holds the patterns.
    pub fn device(&self) -> Device {
        self.centred.device()
    }

    /// The patterns, `[N, d]`.
    pub fn patterns(&self) -> Tensor<2> {
        self.centred.clone() + self.mean.clone()
    }

    /// The mean pattern `x~`, `[1, d]`.
    pub fn mean(&self) -> Tensor<2> {
        self.mean.clone()
    }

    /// `D^2`, the mean of `|x_i - x_j|^2` over pairs of patterns; 0 for one pattern. Then
    /// `beta_eff = beta D^2 / 2`.
    pub fn distance_squared(&self) -> f64 {
        self.distance_squared
    }

    /// `betas` as a column on the device, `[B, 1]`, checked.
    pub(super) fn betas(&self, betas: &[f64]) -> Result<Tensor<2>, ModelError> {
        require(!betas.is_empty(), "betas", "[]", "at least one inverse temperature is needed")?;
        for &beta in betas {
            let ok = (beta as f32).is_finite() && beta >= 0.0;
            require(ok, "beta", beta, "an inverse temperature is finite and not negative")?;
        }
        Ok(upload(betas.iter().map(|&b| b as f32).collect(), 1, &self.device()))
    }

    /// The overlaps `t = Y (xi - x~) + Y x~` of `states` `[B, d]`, `[B, N]`. Up to a shift of each
    /// row they are `X xi`, and they do not depend on `beta`.
    pub fn overlaps(&self, states: Tensor<2>) -> Result<Tensor<2>, ModelError> {
        require_shape("states", &states, [states.dims()[0], self.dimension()])?;
        Ok((states - self.mean.clone()).matmul(self.columns.clone()) + self.bias.clone())
    }

    /// The energies of `states` `[B, d]`, `[B, 1]`.
    pub fn energy(&self, states: Tensor<2>, betas: &[f64]) -> Result<Tensor<2>, ModelError> {
        let rows = states.dims()[0];
        let column = self.betas(betas)?;
        require(rows == betas.len(), "betas", betas.len(), "one for each state is needed")?;
        let overlaps = self.overlaps(states.clone())?;
        let partition = Partition::new(&overlaps, &column);
        Ok(self.energy_of(&(states - self.mean.clone()), partition.mean_exponential))
    }

    /// All that can be read from the states `X' p` with weights `p`, `[B, N]`.
    pub fn read(&self, weights: Tensor<2>, betas: &[f64]) -> Result<Readings, ModelError> {
        let [rows, _] = weights.dims();
        require_shape("weights", &weights, [rows, self.count()])?;
        require(rows == betas.len(), "betas", betas.len(), "one for each state is needed")?;
        let column = self.betas(betas)?;
        let eta = weights.matmul(self.centred.clone());
        let inner = eta.clone().matmul(self.columns.clone());
        let nearest = (self.squares.clone() - inner.clone() * 2.0).argmin(1).reshape([rows]);
        let apart = eta.clone() - self.centred.clone().select(0, nearest.clone());
        let partition = Partition::new(&(inner + self.bias.clone()), &column);
        Ok(Readings {
            energy: self.energy_of(&eta, partition.mean_exponential),
            to_mean: norm(eta.clone()),
            to_nearest: norm(apart),
            nearest,
            entropy: partition.entropy,
            centred: eta,
        })
    }

    /// `(M^2 - |x~|^2)/2 + |eta|^2/2 - L(beta, t)`, `[B, 1]`.
    fn energy_of(&self, eta: &Tensor<2>, mean_exponential: Tensor<2>) -> Tensor<2> {
        eta.clone().square().sum_dim(1) * 0.5 + self.offset - mean_exponential
    }
}

/// `softmax(beta t)` of each row. The shift by the maximum comes before the multiplication, so no
/// finite `beta` overflows.
pub(super) fn soft(overlaps: Tensor<2>, betas: &Tensor<2>) -> Tensor<2> {
    let largest = overlaps.clone().max_dim(1);
    softmax((overlaps - largest) * betas.clone(), 1)
}

/// Below this `beta (max t - min t)` the mean exponential is a series: its logarithm would cancel.
const SERIES: f32 = 0.03;
/// Exponents below this give weights that f32 cannot tell from 0.
const LEAST: f32 = -100.0;

/// Two statistics of the softmax over the overlaps `t` of each row, both `[B, 1]`.
struct Partition {
    /// `L(beta, t) = ln(mean_i exp(beta t_i)) / beta`, and the mean of `t` at `beta = 0`.
    mean_exponential: Tensor<2>,
    /// `-sum_i p_i ln p_i` of `p = softmax(beta t)`.
    entropy: Tensor<2>,
}

impl Partition {
    fn new(overlaps: &Tensor<2>, betas: &Tensor<2>) -> Self {
        let count = overlaps.dims()[1] as f64;
        let largest = overlaps.clone().max_dim(1);
        let exponents = ((overlaps.clone() - largest.clone()) * betas.clone()).clamp_min(LEAST);
        let raised = exponents.clone().exp();
        let sum = raised.clone().sum_dim(1);
        let entropy = sum.clone().log() - (raised * exponents).sum_dim(1) / sum.clone();
        let mut mean_exponential = largest.clone() + (sum / count).log() / betas.clone();
        let range = (largest - overlaps.clone().min_dim(1)) * betas.clone();
        let small = range.lower_elem(SERIES);
        if small.clone().any().into_scalar::<bool>() {
            mean_exponential = mean_exponential.mask_where(small, series(overlaps, betas));
        }
        Self { mean_exponential, entropy: entropy.clamp_min(0.0) }
    }
}

/// `L(beta, t)` for small `beta` by its cumulants: with `u = beta (t - mean t)`,
/// `ln mean exp(u) = mean u^2 / 2 + mean u^3 / 6 + ...`
fn series(overlaps: &Tensor<2>, betas: &Tensor<2>) -> Tensor<2> {
    let mean = overlaps.clone().mean_dim(1);
    let shift = overlaps.clone() - mean.clone();
    let square = shift.clone().square();
    let second = square.clone().mean_dim(1) * betas.clone() * 0.5;
    let third = (square * shift).mean_dim(1) * betas.clone() * betas.clone() * (1.0 / 6.0);
    mean + second + third
}

/// Euclidean norm of each row, `[B, 1]`.
pub(super) fn norm(rows: Tensor<2>) -> Tensor<2> {
    rows.square().sum_dim(1).sqrt()
}

/// The values of a tensor.
pub(super) fn host(tensor: Tensor<2>) -> Vec<f64> {
    read(tensor).into_iter().map(f64::from).collect()
}
