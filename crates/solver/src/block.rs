//! Maps that split into blocks of components: simultaneous updates and block sweeps.

use burn::tensor::{Int, Tensor};

use crate::{FixedPointMap, SolverError, State, error::distinct};

/// A map whose components are grouped into blocks; the components of one block do not depend on
/// each other.
///
/// For a layered network the blocks are its even and its odd layers. Components in no block stay as
/// guessed.
pub trait BlockMap: Sized {
    /// The components of each block, in the order in which a sweep updates the blocks. No component
    /// is named twice; blocks may be empty.
    fn blocks(&self) -> &[Vec<usize>];

    /// The image `f_k(s)` of component `k`, `[batch, n_k]`.
    fn update(&self, component: usize, state: &State) -> Tensor<2>;

    /// This map restricted to the samples `rows`.
    #[must_use]
    fn select(&self, rows: &Tensor<1, Int>) -> Self;

    /// Whether `f_k` depends on component `k` itself.
    ///
    /// Where it does not, a [`Sweep`] that begins with `k` never reads its old value and does not
    /// measure it. A wrong `false` makes samples count as converged that are not; a wrong `true`
    /// only makes them wait for what no longer matters.
    fn is_self_coupled(&self, component: usize) -> bool;

    /// As [`FixedPointMap::weight`].
    fn weight(&self, component: usize) -> f64 {
        let _ = component;
        1.0
    }
}

/// That the blocks of `map` name different components of a state of so many.
fn check_blocks<M: BlockMap>(map: &M, components: usize) -> Result<(), SolverError> {
    distinct("blocks", map.blocks().iter().flatten().copied(), components)
}

/// All components at once, each from the old state: `f(s)` as it stands.
#[derive(Debug, Clone)]
pub struct Simultaneous<M>(pub M);

impl<M: BlockMap> FixedPointMap for Simultaneous<M> {
    fn apply(&self, state: &State) -> State {
        let mut image = state.clone();
        for &component in self.0.blocks().iter().flatten() {
            image.put(component, self.0.update(component, state));
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

/// Block after block, each from the newest values (block Gauss-Seidel); with two blocks, even-odd
/// splitting (Goemaere et al. 2024, arXiv 2311.15673).
///
/// One application costs as much as one of [`Simultaneous`] and has the same fixed points. Where
/// every block update is the exact minimiser of an energy over that block, sweeps descend it.
#[derive(Debug, Clone)]
pub struct Sweep<M>(pub M);

impl<M: BlockMap> FixedPointMap for Sweep<M> {
    fn apply(&self, state: &State) -> State {
        let mut image = state.clone();
        for block in self.0.blocks() {
            let updates: Vec<_> = block.iter().map(|&k| (k, self.0.update(k, &image))).collect();
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

    /// Every block but the first that is not empty, whose old values a sweep never reads; all
    /// components when that block is coupled to itself or is the only one.
    fn carried(&self, components: usize) -> Vec<usize> {
        let mut blocks = self.0.blocks().iter().filter(|block| !block.is_empty());
        let first = blocks.next().map_or(&[][..], Vec::as_slice);
        let mut carried: Vec<usize> = blocks.flatten().copied().collect();
        if carried.is_empty() || first.iter().any(|&k| self.0.is_self_coupled(k)) {
            return (0..components).collect();
        }
        carried.sort_unstable();
        carried
    }

    fn check(&self, components: usize) -> Result<(), SolverError> {
        check_blocks(&self.0, components)
    }
}
