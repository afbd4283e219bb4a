//! Maps that split into blocks of components: simultaneous updates and block sweeps.

use burn::tensor::{Int, Tensor};

use crate::{FixedPointMap, State};

/// A map whose components are grouped into blocks; the components of one block do not depend on
/// each other.
///
/// For a layered network the blocks are its even and its odd layers. Components in no block stay as
/// guessed.
pub trait BlockMap: Sized {
    /// The components of each block, in the order in which a sweep updates the blocks.
    fn blocks(&self) -> &[Vec<usize>];

    /// The image `f_k(s)` of component `k`, `[batch, n_k]`.
    fn update(&self, component: usize, state: &State) -> Tensor<2>;

    /// This map restricted to the samples `rows`.
    #[must_use]
    fn select(&self, rows: &Tensor<1, Int>) -> Self;

    /// Whether `f_k` depends on component `k` itself. False by default.
    fn is_self_coupled(&self, component: usize) -> bool {
        let _ = component;
        false
    }
}

/// All components at once, each from the old state: `f(s)` as it stands.
#[derive(Debug, Clone)]
pub struct Simultaneous<M>(pub M);

impl<M: BlockMap> FixedPointMap for Simultaneous<M> {
    fn apply(&self, state: &State) -> State {
        let mut image = state.clone();
        for &component in self.0.blocks().iter().flatten() {
            image.replace(component, self.0.update(component, state));
        }
        image
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        Self(self.0.select(rows))
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
                image.replace(component, tensor);
            }
        }
        image
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        Self(self.0.select(rows))
    }

    /// Every block but the first, whose old values a sweep never reads; all blocks when the
    /// first is coupled to itself or is the only one.
    fn carried(&self, components: usize) -> Vec<usize> {
        let [first, others @ ..] = self.0.blocks() else {
            return (0..components).collect();
        };
        if others.is_empty() || first.iter().any(|&k| self.0.is_self_coupled(k)) {
            return (0..components).collect();
        }
        let mut carried: Vec<usize> = others.iter().flatten().copied().collect();
        carried.sort_unstable();
        carried
    }
}
