//! Weights kept small enough for equilibria to exist, and factors on their learning rates.

use burn::module::ParamId;
use hvae_device::is_plain_cpu;

use crate::energy::coupling::Coupling;
use crate::energy::layer::LayerId;
use crate::energy::network::HopfieldNetwork;
use crate::scalar::Scalar;

/// Strengths below count as this one, whose inverse is finite in f32.
const SMALLEST_STRENGTH: f64 = 1e-20;

impl HopfieldNetwork {
    /// Scales every coupling between two unbounded layers, and every coupling within a layer, down
    /// to the strength `limit`, if it is stronger:
    ///
    /// ```text
    /// strength of W_kl: sqrt(c_k c_l) |W_kl|       strength of R_k: c_k max g_k' |R_k|
    /// ```
    ///
    /// with spectral norms, by power iteration from a fixed start. A few iterations give a lower
    /// bound, some percent too low where the largest singular values lie close together; the limit
    /// may be exceeded by as much. With `n` layers, all coupled with each other, `limit < 1/n`
    /// makes the energy convex among them; with a larger one only the residual shows whether an
    /// equilibrium was reached. A coupling with a layer of bounded range is left as it is, because
    /// the energy stays bounded below and updating the two layers in turn descends it. So is one
    /// with a layer that never relaxes, to which there is no feedback.
    ///
    /// On a device other than the CPU strengths stay there, and it is not read.
    #[must_use]
    pub fn limit_couplings(mut self, limit: f64, relaxes: impl Fn(LayerId) -> bool) -> Self {
        let mut couplings = std::mem::take(&mut self.couplings);
        for c in couplings.iter_mut().filter(|c| relaxes(c.lower) && relaxes(c.upper)) {
            if let Some(factor) = self.limited_by(c) {
                limit_coupling(c, limit, factor);
            }
        }
        Self { couplings, ..self }
    }

    /// The strength of a coupling whose spectral norm is 1; `None` for one that needs no limit.
    fn limited_by(&self, c: &Coupling) -> Option<f64> {
        let (lower, upper) = (self.spec(c.lower), self.spec(c.upper));
        if c.is_within() {
            return Some(lower.gain * lower.activation.max_slope());
        }
        let bounded = lower.activation.is_bounded() || upper.activation.is_bounded();
        (!bounded).then(|| (lower.gain * upper.gain).sqrt())
    }

    /// Factor on the learning rate of each parameter: `1/max(m, 1)`, where `m` is how far the
    /// parameter moves a layer's gained input. For a weight between layers `k` and `l` it is the
    /// larger of `a_k c_l` and `a_l c_k`, for one within layer `k`, and for a bias, `c_k`. Where
    /// layer `k` is clamped, its state is multiplied by `a_k = amplitude(k)`.
    pub fn learning_rate_scales(&self, amplitude: impl Fn(LayerId) -> f64) -> Vec<(ParamId, f64)> {
        let gain = |k: LayerId| self.spec(k).gain;
        let weights = self.couplings.iter().map(|c| {
            let (k, l) = (c.lower, c.upper);
            let moves = if c.is_within() {
                gain(k)
            } else {
                (amplitude(k) * gain(l)).max(amplitude(l) * gain(k))
            };
            (c.id(), moves)
        });
        let biases = self.layers.iter().filter_map(|l| Some((l.bias.as_ref()?.id, l.spec.gain)));
        weights.chain(biases).map(|(id, moves)| (id, 1.0 / moves.max(1.0))).collect()
    }
}

/// Scales `c` down to the strength `limit`, which is `factor` times its spectral norm.
fn limit_coupling(c: &mut Coupling, limit: f64, factor: f64) {
    let norm = c.interaction.linear().norm();
    let scale = if is_plain_cpu(&norm) {
        let strength = factor * Scalar::Device(norm).read();
        if strength <= limit || strength.is_nan() {
            return;
        }
        Scalar::Host(limit / strength)
    } else {
        let strength = norm.mul_scalar(factor).clamp_min(SMALLEST_STRENGTH);
        Scalar::Device(strength.recip().mul_scalar(limit).clamp_max(1.0))
    };
    c.interaction.linear_mut().weights_mut().scale(&scale);
}
