//! Whether a fixed point is stable: the largest eigenvalue of the update's Jacobian.

use burn::tensor::{Int, Tensor};
use hvae_solver::{FixedPointMap, Outcome, Picard, State, StoppingRule, solve};

use crate::error::{ModelError, require, require_shape};
use crate::modern::network::{ModernHopfield, host, norm};

/// The largest eigenvalue of `beta Cov_p(X)` at a state, and how well it is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stability {
    /// `lambda >= 0`. Below 1 the fixed point is stable, and a small deviation shrinks by this
    /// factor per update, asymptotically; above 1 it is unstable.
    pub eigenvalue: f64,
    /// How the power iteration ended. Its eigenvalue is a lower bound in any case, and much
    /// better known than its vector.
    pub outcome: Outcome,
}

/// The largest eigenvalue of the Jacobian `beta Cov_p(X) = beta X' (diag p - p p') X` of the
/// update, at the fixed points with `weights` `[B, N]`, by power iteration from `start`, `[B, d]`.
///
/// `start` should be random; where it has no part along the leading eigenvector the
/// eigenvalue found is another. `rule` bounds the change of the vector in an iteration.
pub fn stability(
    network: &ModernHopfield,
    weights: Tensor<2>,
    betas: &[f64],
    start: Tensor<2>,
    rule: &StoppingRule,
) -> Result<Vec<Stability>, ModelError> {
    let rows = betas.len();
    let column = network.betas(betas)?;
    for (what, tensor, width) in
        [("weights", &weights, network.count()), ("start", &start, network.dimension())]
    {
        require_shape(what, tensor, [rows, width])?;
    }
    let sum = host(norm(start.clone()));
    require(sum.iter().all(|&n| n > 0.0), "start", "0", "a direction is not zero")?;
    let jacobian = Jacobian { network, weights, betas: column };
    let unit = start.clone() / norm(start);
    let solution = solve(jacobian.clone(), State::new(vec![unit])?, &Picard, rule)?;
    let vector = solution.state.component(0).clone();
    let quotient = (jacobian.times(vector.clone()) * vector).sum_dim(1);
    let pairs = host(quotient).into_iter().zip(solution.outcomes);
    Ok(pairs.map(|(eigenvalue, outcome)| Stability { eigenvalue, outcome }).collect())
}

/// The power iteration `v <- J v / |J v|` as a fixed-point map. `J` has no negative eigenvalue, so
/// the sign of `v` settles.
#[derive(Clone)]
struct Jacobian<'a> {
    network: &'a ModernHopfield,
    weights: Tensor<2>,
    betas: Tensor<2>,
}

impl Jacobian<'_> {
    /// `beta Y' (diag p - p p') Y v` of each row.
    fn times(&self, rows: Tensor<2>) -> Tensor<2> {
        let overlaps = rows.matmul(self.network.columns.clone());
        let mean = (overlaps.clone() * self.weights.clone()).sum_dim(1);
        let spread = (overlaps - mean) * self.weights.clone();
        spread.matmul(self.network.centred.clone()) * self.betas.clone()
    }
}

impl FixedPointMap for Jacobian<'_> {
    fn apply(&self, state: &State, _iteration: usize) -> State {
        state.map(|rows| {
            let image = self.times(rows);
            // Twice, as the squares of a vector deep in a minimum may be 0 in f32.
            let largest = image.clone().abs().max_dim(1).clamp_min(f32::MIN_POSITIVE);
            let image = image / largest;
            let length = norm(image.clone()).clamp_min(f32::MIN_POSITIVE);
            image / length
        })
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        Self {
            network: self.network,
            weights: self.weights.clone().select(0, rows.clone()),
            betas: self.betas.clone().select(0, rows.clone()),
        }
    }
}
