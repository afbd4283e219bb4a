//! Initial states: at patterns, near the mean, at random.

use anyhow::Result;
use burn::tensor::Tensor;
use hvae_device::upload;
use hvae_model::modern::ModernHopfield;
use hvae_runtime::rng::{self, Stream};
use serde::Serialize;

use crate::transition::patterns::PatternSet;

/// A family of initial states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Family {
    /// At a pattern.
    Pattern,
    /// Near the mean: displaced by [`NEAR`] times the distance between patterns, in a random
    /// direction.
    Mean,
    /// As far from the mean as the patterns, in a random direction.
    Random,
}

impl Family {
    pub(super) const ALL: [Self; 3] = [Self::Pattern, Self::Mean, Self::Random];

    pub(super) fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// Displacement of initial states near the mean, relative to the distance between patterns.
const NEAR: f64 = 1e-3;

/// The initial states, the same at every `beta`.
#[derive(Debug)]
pub(crate) struct Starts {
    /// Their overlaps with the patterns, `[S, N]`.
    pub(super) overlaps: Tensor<2>,
    /// The family of each, `[S]`.
    pub(super) families: Vec<Family>,
}

impl Starts {
    /// `count` initial states: a third at patterns (at most one per pattern), the rest split evenly
    /// between the other two families.
    pub(crate) fn new(set: &PatternSet, count: usize, seed: u64) -> Result<Self> {
        let at_patterns = (count / 3).max(1).min(set.count());
        let near = (count - at_patterns) / 2;
        let away = count - at_patterns - near;
        let (network, d) = (&set.network, &set.description);
        let mut states = vec![network.patterns().narrow(0, 0, at_patterns)];
        for (rows, length, index) in [(near, NEAR * d.distance, 0), (away, d.radius, 1)] {
            if rows > 0 {
                states.push(directions(network, rows, length, seed, index) + network.mean());
            }
        }
        let mut families = vec![Family::Pattern; at_patterns];
        families.resize(at_patterns + near, Family::Mean);
        families.resize(count, Family::Random);
        Ok(Self { overlaps: network.overlaps(Tensor::cat(states, 0))?, families })
    }
}

/// `rows` random vectors of length `length`, in the space of the patterns: `[rows, d]`.
pub(super) fn directions(
    network: &ModernHopfield,
    rows: usize,
    length: f64,
    seed: u64,
    index: u64,
) -> Tensor<2> {
    let dimension = network.dimension();
    let mut values = rng::normal(seed, Stream::Starts, index, rows * dimension);
    for row in values.chunks_mut(dimension) {
        let norm = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let factor = (length / norm.max(f64::MIN_POSITIVE)) as f32;
        for value in row {
            *value *= factor;
        }
    }
    upload(values, dimension, &network.device())
}
