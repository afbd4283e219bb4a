//! The difference of two states as a gradient, and which samples count in it.

use burn::tensor::{Bool, Device, Tensor};
use hvae_solver::{Outcome, Termination};

use crate::Coupling;
use crate::eqprop::Unconverged;
use crate::strength::Beta;

/// For every sample of a batch whether it counts: all do, or under [`Unconverged::Drop`] those that
/// converged in each of `phases`. A phase holds the samples once or, one batch after the other, many
/// times; the first holds them once.
pub(crate) fn counts(unconverged: Unconverged, phases: &[&[Outcome]]) -> Vec<bool> {
    let rows = phases[0].len();
    let done = |o: &Outcome| o.termination == Termination::Converged;
    let in_all = |i: usize| phases.iter().all(|p| p[i..].iter().step_by(rows).all(done));
    (0..rows).map(|i| unconverged == Unconverged::Use || in_all(i)).collect()
}

/// The samples of a batch that count, on the device.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// True for the others, `[batch, 1]`; `None` when all count, and nothing is sent to the device.
    dropped: Option<Tensor<2, Bool>>,
    count: usize,
}

impl Kept {
    /// Those that [`counts`] names.
    pub(crate) fn new(counts: &[bool], device: &Device) -> Self {
        let count = counts.iter().filter(|&&c| c).count();
        let dropped = (count < counts.len()).then(|| {
            let kept = counts.iter().map(|&c| f32::from(u8::from(c))).collect();
            hvae_device::upload(kept, [counts.len(), 1], device).equal_elem(0.0)
        });
        Self { dropped, count }
    }

    /// How many count.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// `tensor` (`[batch, n]`) with zeros in the rows of samples that do not count.
    pub(crate) fn only(&self, tensor: Tensor<2>) -> Tensor<2> {
        let Some(dropped) = &self.dropped else { return tensor };
        let dims = tensor.dims();
        // A sample that is not finite must go, and 0 times NaN is NaN.
        tensor.mask_fill(dropped.clone().expand(dims), 0.0)
    }

    /// The mean over the samples that count, `[1]`, of `values` (`[batch]`).
    pub(crate) fn mean(&self, values: Tensor<1>) -> Tensor<1> {
        if self.dropped.is_none() {
            return values.mean();
        }
        self.only(values.unsqueeze_dim(1)).sum().div_scalar(self.count as f64)
    }
}

/// Two states `a` and `b` of one network, at the strengths `beta_a` and `beta_b` of a nudge, whose
/// difference gives
///
/// ```text
/// [dE/dtheta(a) - dE/dtheta(b)] / (beta_a - beta_b),        averaged over the batch
/// ```
///
/// Products of states are contrasted through sums and differences,
/// `s_a t_a - s_b t_b = [(s_a - s_b)(t_a + t_b) + (s_a + s_b)(t_a - t_b)] / 2`:
/// a difference of nearby states may be known to all its digits, one of their products is not.
#[derive(Debug)]
pub(crate) struct Contrast {
    /// The state of each layer that is the same in both, `[batch, n_k]`.
    held: Vec<Option<Tensor<2>>>,
    /// `s_a + s_b` of each of the other layers.
    sum: Vec<Option<Tensor<2>>>,
    /// `s_a - s_b` likewise.
    difference: Vec<Option<Tensor<2>>>,
    beta: Beta,
    /// `(beta_a - beta_b) / beta`.
    spread: f64,
    rows: usize,
}

impl Contrast {
    /// Of the layers in `held`, which are the same in both states, and in `moved`: layer, sum of its
    /// states in `a` and `b`, their difference. Samples that are not `kept` are left out, but count in
    /// the mean.
    pub(crate) fn new(
        held: Vec<Option<Tensor<2>>>,
        moved: impl Iterator<Item = (usize, Tensor<2>, Tensor<2>)>,
        kept: &Kept,
        (beta, spread): (Beta, f64),
    ) -> Self {
        let layers = held.len();
        let (mut sums, mut differences, mut rows) = (vec![None; layers], vec![None; layers], 0);
        for (k, sum, difference) in moved {
            rows = sum.dims()[0];
            sums[k] = Some(kept.only(sum));
            differences[k] = Some(kept.only(difference));
        }
        let held = held.into_iter().map(|s| s.map(|s| kept.only(s))).collect();
        Self { held, sum: sums, difference: differences, beta, spread, rows }
    }

    /// `dC/dW_kl` of a coupling between two layers, of the weight's shape; `None` where neither has
    /// moved.
    pub(crate) fn weight(&self, k: usize, l: usize) -> Option<Tensor<2>> {
        let (d, sum) = (&self.difference, &self.sum);
        let product = match (&d[k], &d[l]) {
            (Some(_), Some(_)) => {
                let one = product(d[k].as_ref(), sum[l].as_ref())?;
                let other = product(sum[k].as_ref(), d[l].as_ref())?;
                (one + other).mul_scalar(0.5)
            }
            (None, Some(_)) => product(self.held[k].as_ref(), d[l].as_ref())?,
            (Some(_), None) => product(d[k].as_ref(), self.held[l].as_ref())?,
            (None, None) => return None,
        };
        Some(self.share(product))
    }

    /// `dC/dR_k` of the couplings within a layer, symmetric with zero diagonal; every entry counts as
    /// a parameter of its own, see [the front page](crate).
    pub(crate) fn recurrent(&self, within: &Coupling) -> Option<Tensor<2>> {
        let k = within.lower;
        let product = product(self.difference[k].as_ref(), self.sum[k].as_ref())?;
        Some(self.share(within.changeable(product).mul_scalar(0.5)))
    }

    /// `dC/db_k`, `[n_k]`.
    pub(crate) fn bias(&self, k: usize) -> Option<Tensor<1>> {
        let sum = self.difference[k].clone()?.sum_dim(0);
        Some(self.share(sum.squeeze_dim::<1>(0)))
    }

    /// What [`EpGradient::input`](crate::EpGradient::input) needs: the differences, `beta` and the
    /// spread.
    pub(crate) fn into_parts(self) -> (Vec<Option<Tensor<2>>>, Beta, f64) {
        (self.difference, self.beta, self.spread)
    }

    /// Energies hold states with a minus sign.
    fn share<const D: usize>(&self, sum: Tensor<D>) -> Tensor<D> {
        self.beta.divide(sum, -self.spread * self.rows as f64)
    }
}

/// `s' t`, summed over the batch.
fn product(s: Option<&Tensor<2>>, t: Option<&Tensor<2>>) -> Option<Tensor<2>> {
    Some(s?.clone().transpose().matmul(t?.clone()))
}
