//! What carries out the dynamics: exact arithmetic, or a device with its imperfections.

use std::fmt::Debug;

use burn::tensor::Tensor;
use hvae_solver::StoppingRule;

use crate::energy::{HopfieldNetwork, LayerId};

/// Encoder or decoder of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Side {
    /// Images are clamped.
    #[default]
    Encoder,
    /// Latents are clamped.
    Decoder,
}

/// Whether a cost acts on a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Phase {
    /// Without a cost.
    #[default]
    Free,
    /// With one.
    Nudged,
}

/// Which phase it is: what a device's random numbers depend on, besides a seed of its own. The
/// default is that of a network which belongs to no model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PhaseId {
    /// Whose weights the device holds: in both uses of a weight-tied network the encoder's.
    pub weights: Side,
    /// What the network is used as.
    pub side: Side,
    /// Free or nudged. The states of a nudged phase lie side by side in one batch.
    pub phase: Phase,
    /// The training step, or the batch of an evaluation; see
    /// [`PhaseSettings::numbered`](crate::PhaseSettings::numbered).
    pub index: u64,
    /// Which worker's part of that batch, from 0.
    pub part: usize,
}

/// Where and when a layer is updated or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Site {
    /// In which phase.
    pub phase: PhaseId,
    /// Which layer.
    pub layer: LayerId,
    /// Which sweep of the phase, from 1; of a read-out the last one.
    pub sweep: usize,
}

/// How a nudged phase is relaxed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NudgedPhase {
    /// As the deviation from the free equilibrium, which keeps its relative accuracy however small
    /// the nudge is. It cannot be measured: noise and read-out do not act on it.
    Deviation,
    /// As two states, one for each strength that is contrasted, which start from the free
    /// equilibrium.
    States {
        /// Of how many of the last sweeps of a phase, free or nudged, the mean is read: 1 reads the
        /// last state. The others follow the sweeps that the stopping rule asks for.
        average_last: usize,
    },
}

/// A network as a device holds it, once for each direction of its couplings. Biases are those of
/// `up`.
#[derive(Debug, Clone)]
pub struct Programmed {
    /// For signals from lower to upper layers.
    pub up: HopfieldNetwork,
    /// For signals from upper to lower layers.
    pub down: HopfieldNetwork,
}

/// What carries out the dynamics, and how it departs from exact arithmetic. Every method defaults
/// to no departure, which costs nothing.
///
/// | departure | method |
/// |---|---|
/// | weight bits, mismatch, programming noise, drift, unequal directions | [`Self::program`] |
/// | noise on the states in every sweep | [`Self::noise`], [`Self::stopping`] |
/// | noise, averages and bits of a read-out | [`Self::read_out`], [`Self::nudged_phase`] |
pub trait Substrate: Debug + Send + Sync {
    /// The weights that the device holds instead of those of `network`; `None` if they are the
    /// same. Called once for the free and nudged phase of each use of a network. All signals pass
    /// through these weights: those of sweeps, of loop gains, of a readout and its forces, and of
    /// the gradient in a clamped layer.
    ///
    /// What is fixed when a device is made depends on [`PhaseId::weights`] only, what is drawn when
    /// weights are written on the index, too.
    fn program(&self, network: &HopfieldNetwork, phase: PhaseId) -> Option<Programmed> {
        let _ = (network, phase);
        None
    }

    /// Noise `e` on the gained input of a layer that has the old `state`, of its shape
    /// (`[batch, n]`): the new one is `g(c a + e)`. `None` without noise.
    fn noise(&self, state: &Tensor<2>, site: Site) -> Option<Tensor<2>> {
        let _ = (state, site);
        None
    }

    /// Whether [`Self::noise`] may be anything but `None`. Phases without noise run faster in host
    /// memory.
    fn is_noisy(&self) -> bool {
        true
    }

    /// What is read of the `state` of a layer, `[batch, n]`, at the end of a phase.
    fn read_out(&self, state: Tensor<2>, site: Site) -> Tensor<2> {
        let _ = site;
        state
    }

    /// When a phase ends that `rule` would end in exact arithmetic.
    ///
    /// Under noise a residual does not vanish. A relative tolerance of 0, an absolute one of
    /// [`f64::MAX`] and a single check run a fixed number of sweeps on the whole batch, after which
    /// every finite sample counts as converged.
    fn stopping(&self, rule: StoppingRule) -> StoppingRule {
        rule
    }

    /// How nudged phases are relaxed.
    fn nudged_phase(&self) -> NudgedPhase {
        NudgedPhase::Deviation
    }
}

/// Exact arithmetic, up to the rounding of f32.
#[derive(Debug, Clone, Copy, Default)]
pub struct Exact;

impl Substrate for Exact {
    fn is_noisy(&self) -> bool {
        false
    }
}
