//! Settings of equilibrium propagation, as plain data.

use serde::{Deserialize, Serialize};

use crate::eqprop::nudge::{Nudging, Unconverged};

/// How equilibria are found and contrasted.
///
/// | setting | default | meaning | range |
/// |---|---|---|---|
/// | `nudging` | `positive` | which nudged phases | `centred`, `positive`, `negative` |
/// | `nudge` | 1e-4 | root mean square of `c beta delta`, the push on gained inputs | > 0 |
/// | `tolerance` | 3e-4 | relative residual of a converged free phase | >= 0 |
/// | `nudged_tolerance` | 3e-3 | the same of a nudged phase, relative to the deviation | >= 0 |
/// | `free_sweeps` | 30 | maximum number of sweeps of a free phase | >= 1 |
/// | `nudged_sweeps` | 15 | maximum number of sweeps of a nudged phase | >= 1 |
/// | `check_every` | 1 | sweeps between two convergence checks | >= 1 |
/// | `damping` | 0 | of every sweep | in [0, 1) |
/// | `unconverged` | `use` | what happens to samples that do not converge | `use`, `drop` |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EpConfig {
    /// Which nudged phases are run.
    pub nudging: Nudging,
    /// Size of a nudge: `beta` is chosen for every batch and network so that `c beta delta`, the
    /// push on the gained pre-activations of the nudged layers, has this root mean square. The
    /// bias of the estimate then stays the same while the costs change over training.
    pub nudge: f64,
    /// Relative residual at which a sample of a free phase has converged.
    pub tolerance: f64,
    /// Relative residual at which a sample of a nudged phase has converged: relative to how far the
    /// nudge has taken the states, so that it is about the relative error of the gradient.
    pub nudged_tolerance: f64,
    /// Maximum number of sweeps of a free phase.
    pub free_sweeps: usize,
    /// Maximum number of sweeps of a nudged phase.
    pub nudged_sweeps: usize,
    /// Sweeps between two convergence checks.
    pub check_every: usize,
    /// Damping of every sweep.
    pub damping: f64,
    /// What happens to samples that do not converge.
    pub unconverged: Unconverged,
}

impl Default for EpConfig {
    fn default() -> Self {
        Self {
            nudging: Nudging::Positive,
            nudge: 1e-4,
            tolerance: 3e-4,
            nudged_tolerance: 3e-3,
            free_sweeps: 30,
            nudged_sweeps: 15,
            check_every: 1,
            damping: 0.0,
            unconverged: Unconverged::Use,
        }
    }
}
