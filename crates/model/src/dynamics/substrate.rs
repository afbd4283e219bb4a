//! What carries out the dynamics: exact arithmetic, or a device with its imperfections.

use std::fmt::Debug;

use burn::tensor::Tensor;
use hvae_solver::StoppingRule;

use crate::energy::layer::LayerId;
use crate::energy::network::HopfieldNetwork;

/// Which phase is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Without a cost.
    Free,
    /// With one.
    Nudged,
}

/// Where and when a layer is updated or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Site {
    /// Which layer.
    pub layer: LayerId,
    /// Which sweep of the phase, from 1; of a read-out the last one.
    pub sweep: usize,
    /// Which phase.
    pub phase: Phase,
}

/// How a nudged phase is relaxed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NudgedPhase {
    /// As the deviation from the free equilibrium, which keeps its relative accuracy however small
    /// the nudge is. Possible in exact arithmetic only.
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
/// to no departure.
pub trait Substrate: Debug + Send + Sync {
    /// The weights that the device holds instead of those of `network`: quantized, with mismatch or
    /// programming noise. Called once a phase; `None` if they are the same.
    fn program(&self, network: &HopfieldNetwork) -> Option<Programmed> {
        let _ = network;
        None
    }

    /// The new state of a layer, `[batch, n]`, where exact arithmetic gives `state`.
    fn update(&self, state: Tensor<2>, site: Site) -> Tensor<2> {
        let _ = site;
        state
    }

    /// What is read of the `state` of a layer, `[batch, n]`, at the end of a phase.
    fn read_out(&self, state: Tensor<2>, site: Site) -> Tensor<2> {
        let _ = site;
        state
    }

    /// When a phase ends that `rule` would end in exact arithmetic: under noise after a fixed
    /// number of sweeps, because the residual does not vanish.
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

impl Substrate for Exact {}
