//! When and how the phases of a step are run, and how they ended.

use std::sync::Arc;

use hvae_solver::{Outcome, StoppingRule};

use crate::eqprop::Nudge;
use crate::error::require;
use crate::quiet::Agreement;
use crate::relax::{Equilibrium, Relaxation};
use crate::strength::Strength;
use crate::{EpConfig, ModelError};

/// When and how a phase is run, checked.
#[derive(Debug, Clone)]
pub struct Phases {
    pub(crate) free: StoppingRule,
    pub(crate) nudge: Nudge,
    /// Whether losses stay on the device.
    pub(crate) quiet: bool,
    /// With whom to agree on the strength of a nudge.
    pub(crate) agreement: Option<Arc<dyn Agreement>>,
}

impl Phases {
    /// The phases of `config`.
    ///
    /// # Errors
    ///
    /// [`ModelError::Setting`] or [`ModelError::Solver`], naming the setting.
    pub fn new(config: &EpConfig) -> Result<Self, ModelError> {
        let fits = crate::network::FACTORS.contains(&config.nudge);
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
        hvae_solver::Damped::new(config.damping)?;
        let rule = |tolerance, sweeps| {
            StoppingRule::new(tolerance, sweeps)?.with_check_every(config.check_every)
        };
        let nudge = Nudge {
            strength: Strength::Size(config.nudge),
            nudging: config.nudging,
            unconverged: config.unconverged,
            damping: config.damping,
            rule: rule(config.nudged_tolerance, config.nudged_sweeps)?,
        };
        let free = rule(config.tolerance, config.free_sweeps)?;
        Ok(Self { free, nudge, quiet: false, agreement: None })
    }

    /// The same phases for a device that computes while the host goes on: batches stay whole, nudging
    /// strengths and losses stay on the device, and a step reads it at convergence checks alone.
    /// Workers who [agree](Self::agreed) on a strength read it once a network besides. Numbers are
    /// the same up to rounding.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self.free = self.free.with_masking();
        self.nudge.rule = self.nudge.rule.with_masking();
        if let Strength::Size(size) = self.nudge.strength {
            self.nudge.strength = Strength::SizeOnDevice(size);
        }
        self
    }

    /// The same phases for one of several workers, who nudge as `agreement` says.
    #[must_use]
    pub fn agreed(mut self, agreement: Arc<dyn Agreement>) -> Self {
        self.agreement = Some(agreement);
        self
    }

    /// The free equilibrium of `relaxation`.
    pub(crate) fn free(&self, relaxation: &Relaxation<'_>) -> Result<Equilibrium, ModelError> {
        relaxation.free_equilibrium(self.nudge.damping, &self.free)
    }
}

/// How each sample of each phase of a step ended.
#[derive(Debug, Clone, Default)]
pub struct PhaseOutcomes {
    /// Encoder, image clamped.
    pub encoder_free: Vec<Outcome>,
    /// Decoder, latent clamped.
    pub decoder_free: Vec<Outcome>,
    /// Decoder with the reconstruction cost; with a centred nudge each sample twice.
    pub decoder_nudged: Vec<Outcome>,
    /// Encoder with the cost handed down, likewise.
    pub encoder_nudged: Vec<Outcome>,
}
