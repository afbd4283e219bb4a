//! Maps whose components form blocks: synchronous updates and block sweeps.

use burn::tensor::{Int, Tensor};

use crate::error::{SolverError, distinct};
use crate::map::FixedPointMap;
use crate::state::State;

/// A map whose components form blocks. Components of one block do not depend on each other.
///
/// In a layered network the blocks are the even and the odd layers. Components in no block keep
/// their guess.
pub trait BlockMap: Sized {
    /// The components of each block, in the order in which a sweep updates the blocks. Every
    /// component occurs once at most; blocks may be empty.
    fn blocks(&self) -> &[Vec<usize>];

    /// The image `f_k(s)` of component `k`, `[batch, n_k]`. `iteration` as in
    /// [`FixedPointMap::apply`]; each component is updated once per iteration.
    fn update(&self, component: usize, state: &State, iteration: usize) -> Tensor<2>;

    /// This map restricted to the samples `rows`.
    #[must_use]
    fn select(&self, rows: &Tensor<1, Int>) -> Self;

    /// Whether `f_k` depends on component `k` itself.
    ///
    /// If not, a [`Sweep`] that starts with `k` never reads its old value and does not measure it.
    /// A wrong `false` makes samples count as converged too early; a wrong `true` only costs
    /// iterations.
    fn is_self_coupled(&self, component: usize) -> bool;

    /// As [`FixedPointMap::weight`].
    fn weight(&self, component: usize) -> f64 {
        let _ = component;
        1.0
    }
}

fn check_blocks<M: BlockMap>(map: &M, components: usize) -> Result<(), SolverError> {
    distinct("blocks", map.blocks().iter().flatten().copied(), components)
}

/// Synchronous updates (block Jacobi): all components at once, each from the old state.
#[derive(Debug, Clone)]
pub struct Synchronous<M>(pub M);

impl<M: BlockMap> FixedPointMap for Synchronous<M> {
    fn apply(&self, state: &State, iteration: usize) -> State {
        let mut image = state.clone();
        for &component in self.0.blocks().iter().flatten() {
            image.put(component, self.0.update(component, state, iteration));
        }
        image
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        Self(self.0.select(rows))
    }

    fn weight(&self, component: usize) -> f64 {
        self.0.weight(component)
    }

    fn check(&self, components: usize) -> Result<(), SolverError> {
        check_blocks(&self.0, components)
    }
}

/// Block sweeps (block Gauss-Seidel): one block after the other, each from the newest values. With
/// two blocks this is even-odd splitting (Goemaere et al. 2024, arXiv 2311.15673).
///
/// A sweep costs as much as one application of [`Synchronous`] and has the same fixed points. If
/// every block update is the exact minimizer of an energy over that block, sweeps descend it.
#[derive(Debug, Clone)]
pub struct Sweep<M>(pub M);

impl<M: BlockMap> FixedPointMap for Sweep<M> {
    fn apply(&self, state: &State, iteration: usize) -> State {
        let mut image = state.clone();
        for block in self.0.blocks() {
            let update = |&k: &usize| (k, self.0.update(k, &image, iteration));
            let updates: Vec<_> = block.iter().map(update).collect();
            for (component, tensor) in updates {
                image.put(component, tensor);
            }
        }
        image
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        Self(self.0.select(rows))
    }

    fn weight(&self, component: usize) -> f64 {
        self.0.weight(component)
    }

    /// All blocks but the first non-empty one, whose old values a sweep never reads; all components
    /// if that block is coupled to itself or is the only one.
    fn measured(&self, components: usize) -> Vec<usize> {
        let mut blocks = self.0.blocks().iter().filter(|block| !block.is_empty());
        let first = blocks.next().map_or(&[][..], Vec::as_slice);
        let mut measured: Vec<usize> = blocks.flatten().copied().collect();
        if measured.is_empty() || first.iter().any(|&k| self.0.is_self_coupled(k)) {
            return (0..components).collect();
        }
        measured.sort_unstable();
        measured
    }

    fn check(&self, components: usize) -> Result<(), SolverError> {
        check_blocks(&self.0, components)
    }
}
