//! Where states start: at patterns, near the mean, at random.

use anyhow::Result;
use burn::tensor::Tensor;
use serde::Serialize;

use crate::transition::set::PatternSet;
use hvae_device::host::upload;
use hvae_runtime::rng;
use hvae_runtime::rng::Stream;

/// A family of starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// At a pattern.
    Pattern,
    /// Near the mean: off by [`NEAR`] of the distance between patterns, in a random direction.
    Mean,
    /// The mean plus a random direction as long as the patterns are far from it.
    Random,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pattern, Self::Mean, Self::Random];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pattern => "pattern",
            Self::Mean => "mean",
            Self::Random => "random",
        }
    }
}

/// How far starts near the mean are off, as a share of the distance between patterns.
pub const NEAR: f64 = 1e-3;

/// The starts of every `beta`.
#[derive(Debug)]
pub struct Starts {
    /// Their overlaps with the patterns, which do not depend on `beta`, `[S, N]`.
    pub overlaps: Tensor<2>,
    /// The family of each, `[S]`.
    pub families: Vec<Family>,
}

impl Starts {
    /// `count` starts: a third of them at patterns, or as many as there are patterns; the rest
    /// shared by the two other families.
    ///
    /// # Errors
    ///
    /// When the device cannot compute their overlaps.
    pub fn new(set: &PatternSet, count: usize, seed: u64) -> Result<Self> {
        let at_patterns = (count / 3).max(1).min(set.count());
        let near = (count - at_patterns) / 2;
        let away = count - at_patterns - near;
        let network = &set.network;
        let description = &set.description;
        let patterns = network.patterns().narrow(0, 0, at_patterns);
        let noise = |rows, length, index| {
            let directions = directions(rows, description.dimension, length, seed, index);
            upload(directions, description.dimension, &network.device()) + network.mean()
        };
        let mut states = vec![patterns];
        for (rows, length, index) in
            [(near, NEAR * description.distance, 0), (away, description.radius, 1)]
        {
            if rows > 0 {
                states.push(noise(rows, length, index));
            }
        }
        let mut families = vec![Family::Pattern; at_patterns];
        families.resize(at_patterns + near, Family::Mean);
        families.resize(count, Family::Random);
        Ok(Self { overlaps: network.overlaps(Tensor::cat(states, 0))?, families })
    }
}

/// `rows` random vectors of the length `length`, one after another.
pub(super) fn directions(
    rows: usize,
    dimension: usize,
    length: f64,
    seed: u64,
    index: u64,
) -> Vec<f32> {
    let mut values = rng::normal(seed, Stream::Starts, index, rows * dimension);
    for row in values.chunks_mut(dimension) {
        let norm = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let factor = (length / norm.max(f64::MIN_POSITIVE)) as f32;
        for value in row {
            *value *= factor;
        }
    }
    values
}
