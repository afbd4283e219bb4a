//! The update as a fixed-point map, on states or on weights.

use burn::tensor::{Int, Tensor};
use hvae_device::is_plain_cpu;
use hvae_solver::{FixedPointMap, Method, Solution, State, StoppingRule, solve};

use crate::error::{ModelError, require, require_shape};
use crate::modern::network::{ModernHopfield, soft};

/// What a row of the solver's state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// The state `xi`, `[B, d]`: an update costs two products with `[N, d]`.
    States,
    /// Its weights `p` with `xi = X' p`, `[B, N]`: an update costs one product with `[N, N]`, less
    /// work when `N < 2 d`.
    Weights,
}

/// The update `xi <- X' softmax(beta X xi)` of a batch, each row at its own `beta`, as a map whose
/// fixed points any method of the solver finds.
///
/// In [`Space::Weights`] the map is `p <- softmax(beta X X' p)`. Fixed points and iterates
/// correspond one to one from the first update on; residuals are measured on what is iterated.
#[derive(Debug, Clone)]
pub struct Retrieval<'a> {
    network: &'a ModernHopfield,
    betas: Tensor<2>,
    /// `K + 1 k'`, `[N, N]`: as weights sum to 1, its product with `p` is `p K + k`.
    kernel: Option<Tensor<2>>,
}

impl ModernHopfield {
    /// The dynamics of states with the inverse temperatures `betas`, one a row, on states or on
    /// weights. An error for no row, or a `beta` that is negative or not finite in `f32`.
    pub fn at(&self, betas: &[f64], space: Space) -> Result<Retrieval<'_>, ModelError> {
        let betas = self.betas(betas)?;
        let kernel = (space == Space::Weights)
            .then(|| self.centred.clone().matmul(self.columns.clone()) + self.bias.clone());
        Ok(Retrieval { network: self, betas, kernel })
    }
}

impl Retrieval<'_> {
    /// The same dynamics, without another product of all patterns, at other `betas`.
    pub fn with_betas(&self, betas: &[f64]) -> Result<Self, ModelError> {
        let betas = self.network.betas(betas)?;
        Ok(Self { betas, ..self.clone() })
    }

    /// The weights `softmax(beta t)` of overlaps `t`, `[B, N]`; see [`ModernHopfield::overlaps`].
    /// `B` is the number of `betas`.
    pub fn weights(&self, overlaps: Tensor<2>) -> Tensor<2> {
        soft(overlaps, &self.betas)
    }

    /// One update of `rows`: states `[B, d]` or weights `[B, N]`, as its [`Space`] says.
    pub fn update(&self, rows: Tensor<2>) -> Tensor<2> {
        let network = self.network;
        if let Some(kernel) = &self.kernel {
            return self.weights(rows.matmul(kernel.clone()));
        }
        let eta = rows - network.mean.clone();
        let overlaps = eta.matmul(network.columns.clone()) + network.bias.clone();
        self.weights(overlaps).matmul(network.centred.clone()) + network.mean.clone()
    }

    /// Iterates `method` from `guess`, states or weights, until each row has ended. Off the CPU the
    /// batch stays whole, whether or not `rule` asks for it. A row that does not converge is an
    /// outcome, not an error.
    pub fn solve<M: Method>(
        self,
        guess: Tensor<2>,
        method: &M,
        rule: &StoppingRule,
    ) -> Result<Solution, ModelError> {
        let (count, dimension) = (self.network.count(), self.network.dimension());
        let width = if self.kernel.is_some() { count } else { dimension };
        let [rows, _] = self.betas.dims();
        require_shape("guess", &guess, [rows, width])?;
        require(rows > 0, "guess", 0, "at least one row is needed")?;
        // A GPU pays for every new shape.
        let rule = if is_plain_cpu(&guess) { *rule } else { rule.with_masking() };
        Ok(solve(self, State::new(vec![guess])?, method, &rule)?)
    }
}

impl FixedPointMap for Retrieval<'_> {
    fn apply(&self, state: &State, _iteration: usize) -> State {
        state.map(|rows| self.update(rows))
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        let betas = self.betas.clone().select(0, rows.clone());
        Self { betas, ..self.clone() }
    }
}
