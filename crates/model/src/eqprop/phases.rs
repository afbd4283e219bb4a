//! Settings of equilibrium propagation: how the free and nudged phases of a step are run.

use std::sync::Arc;

use hvae_solver::{Damped, StoppingRule};
use serde::{Deserialize, Serialize};

use crate::dynamics::{Equilibrium, Exact, PhaseId, Relaxation, Role, Side, Substrate};
use crate::energy::HopfieldNetwork;
use crate::energy::network::FACTORS;
use crate::eqprop::cost::Cost;
use crate::eqprop::estimate::estimate;
use crate::eqprop::gradient::EpGradient;
use crate::eqprop::nudge::{AllReduce, Nudge, NudgeSize, Nudging, Unconverged};
use crate::error::{ModelError, require};
use crate::scalar::ReadPolicy;

/// How equilibria are found and contrasted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EpConfig {
    /// Which nudged phases are run.
    pub nudging: Nudging,
    /// Size of a nudge, between 1e-15 and 1e15: `beta` is chosen for every batch and network so
    /// that `c beta delta`, the push on the gained pre-activations of the nudged layers, has this
    /// root mean square. The bias of the estimate then stays the same while the costs change.
    pub nudge: f64,
    /// Relative residual at which a sample of a free phase has converged, >= 0.
    pub tolerance: f64,
    /// Relative residual at which a sample of a nudged phase has converged: relative to how far the
    /// nudge has taken the states, so that it is about the relative error of the gradient.
    pub nudged_tolerance: f64,
    /// Maximum number of sweeps of a free phase, >= 1.
    pub free_sweeps: usize,
    /// Maximum number of sweeps of a nudged phase, >= 1.
    pub nudged_sweeps: usize,
    /// Sweeps between two convergence checks, >= 1.
    pub check_every: usize,
    /// Damping of every sweep, in `[0, 1)`.
    pub damping: f64,
    /// What happens to samples that do not converge.
    pub unconverged: Unconverged,
}

impl Default for EpConfig {
    fn default() -> Self {
        Self {
            nudging: Nudging::Positive,
            nudge: 1e-4,
            tolerance: 1e-3,
            nudged_tolerance: 1e-2,
            free_sweeps: 30,
            nudged_sweeps: 15,
            check_every: 1,
            damping: 0.0,
            unconverged: Unconverged::Use,
        }
    }
}

/// How phases are run, checked.
#[derive(Debug, Clone)]
pub struct PhaseSettings {
    free: StoppingRule,
    pub(crate) nudge: Nudge,
    workers: Option<Arc<dyn AllReduce>>,
    substrate: Arc<dyn Substrate>,
    /// Index and part of the batch.
    batch: PhaseId,
}

impl PhaseSettings {
    /// The phases of `config`, in exact arithmetic.
    ///
    /// With [`ReadPolicy::Deferred`] batches keep their size, nudging strengths and losses stay on
    /// the device, and a step reads it at convergence checks only; [workers](Self::with_workers)
    /// that share a strength read it once a network besides.
    ///
    /// # Errors
    ///
    /// Naming the setting that is out of range.
    pub fn new(config: &EpConfig, read: ReadPolicy) -> Result<Self, ModelError> {
        let fits = FACTORS.contains(&config.nudge);
        require(fits, "nudge", config.nudge, "must lie between 1e-15 and 1e15")?;
        for (name, sweeps) in [
            ("free_sweeps", config.free_sweeps),
            ("nudged_sweeps", config.nudged_sweeps),
            ("check_every", config.check_every),
        ] {
            require(sweeps >= 1, name, sweeps, "must be at least 1")?;
        }
        for (name, tolerance) in
            [("tolerance", config.tolerance), ("nudged_tolerance", config.nudged_tolerance)]
        {
            let valid = tolerance.is_finite() && tolerance >= 0.0;
            require(valid, name, tolerance, "must be 0 or more")?;
        }
        Damped::new(config.damping)?;
        let rule = |tolerance, sweeps| {
            let rule =
                StoppingRule::new(tolerance, sweeps)?.with_check_every(config.check_every)?;
            Ok::<_, ModelError>(match read {
                ReadPolicy::EveryStep => rule,
                ReadPolicy::Deferred => rule.with_masking(),
            })
        };
        let nudge = Nudge {
            size: NudgeSize { rms: config.nudge, read },
            nudging: config.nudging,
            unconverged: config.unconverged,
            damping: config.damping,
            rule: rule(config.nudged_tolerance, config.nudged_sweeps)?,
        };
        let free = rule(config.tolerance, config.free_sweeps)?;
        let batch = PhaseId::default();
        Ok(Self { free, nudge, workers: None, substrate: Arc::new(Exact), batch })
    }

    /// The same phases for part `part` (from 0) of a batch that several workers share, which nudge
    /// with one strength.
    #[must_use]
    pub fn with_workers(self, workers: Arc<dyn AllReduce>, part: usize) -> Self {
        Self { workers: Some(workers), batch: PhaseId { part, ..self.batch }, ..self }
    }

    /// The same phases of step or batch number `index`, on which the random numbers of a
    /// [`Substrate`] depend.
    #[must_use]
    pub fn numbered(self, index: u64) -> Self {
        Self { batch: PhaseId { index, ..self.batch }, ..self }
    }

    /// The same phases carried out by `substrate`.
    #[must_use]
    pub fn on(self, substrate: Arc<dyn Substrate>) -> Self {
        Self { substrate, ..self }
    }

    /// When the device may be read.
    pub fn read_policy(&self) -> ReadPolicy {
        self.nudge.size.read
    }

    /// The dynamics of `network` when its layers play these roles: used as `side`, with the weights
    /// that the device holds for `weights`.
    pub(crate) fn relaxation<'n>(
        &'n self,
        weights: Side,
        side: Side,
        network: &'n HopfieldNetwork,
        roles: Vec<Role>,
    ) -> Result<Relaxation<'n>, ModelError> {
        let phase = PhaseId { weights, side, ..self.batch };
        Relaxation::on(&*self.substrate, phase, network, roles)
    }

    pub(crate) fn free(&self, relaxation: &Relaxation<'_>) -> Result<Equilibrium, ModelError> {
        relaxation.free_equilibrium(self.nudge.damping, &self.free)
    }

    pub(crate) fn gradient(
        &self,
        relaxation: &Relaxation<'_>,
        free: &Equilibrium,
        cost: Cost<'_>,
    ) -> Result<EpGradient, ModelError> {
        estimate(relaxation, free, cost, &self.nudge, self.workers.as_deref())
    }
}
