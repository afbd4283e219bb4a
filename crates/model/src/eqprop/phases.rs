//! How the free and nudged phases of a step are run.

use std::sync::Arc;

use hvae_solver::{Damped, StoppingRule};

use crate::dynamics::relaxation::{Equilibrium, Relaxation};
use crate::dynamics::substrate::{Exact, Substrate};
use crate::energy::network::FACTORS;
use crate::eqprop::all_reduce::{self, AllReduce};
use crate::eqprop::config::EpConfig;
use crate::eqprop::cost::Cost;
use crate::eqprop::estimate;
use crate::eqprop::gradient::EpGradient;
use crate::eqprop::nudge::Nudge;
use crate::eqprop::nudge_size::NudgeSize;
use crate::error::{ModelError, require};
use crate::scalar::ReadPolicy;

/// How phases are run, checked.
#[derive(Debug, Clone)]
pub struct PhaseSettings {
    free: StoppingRule,
    nudge: Nudge,
    /// The workers that nudge with one strength, if there are several.
    workers: Option<Arc<dyn AllReduce>>,
    substrate: Arc<dyn Substrate>,
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
    /// [`ModelError::Setting`] or [`ModelError::Solver`], naming the setting.
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
        Ok(Self { free, nudge, workers: None, substrate: Arc::new(Exact) })
    }

    /// The same phases for one of several workers, which nudge with one strength.
    #[must_use]
    pub fn with_workers(mut self, workers: Arc<dyn AllReduce>) -> Self {
        self.workers = Some(workers);
        self
    }

    /// The same phases carried out by `substrate`.
    #[must_use]
    pub fn on(mut self, substrate: Arc<dyn Substrate>) -> Self {
        self.substrate = substrate;
        self
    }

    /// When the device may be read.
    pub fn read_policy(&self) -> ReadPolicy {
        self.nudge.size.read
    }

    /// How nudged phases are run.
    pub(crate) fn nudge(&self) -> &Nudge {
        &self.nudge
    }

    /// What carries out the phases.
    pub(crate) fn substrate(&self) -> &dyn Substrate {
        &*self.substrate
    }

    /// The free equilibrium of `relaxation`.
    pub(crate) fn free(&self, relaxation: &Relaxation<'_>) -> Result<Equilibrium, ModelError> {
        relaxation.free_equilibrium(self.nudge.damping, &self.free)
    }

    /// The gradient of `cost` about the equilibrium `free`.
    pub(crate) fn gradient(
        &self,
        relaxation: &Relaxation<'_>,
        free: &Equilibrium,
        cost: Cost<'_>,
    ) -> Result<EpGradient, ModelError> {
        let size = self.nudge.size;
        estimate::estimate(relaxation, free, cost, &self.nudge, |norm| match &self.workers {
            Some(workers) => all_reduce::beta(size, norm, &**workers),
            None => size.beta(norm),
        })
    }
}
