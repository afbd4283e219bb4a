//! A modern Hopfield network with the geometry of its patterns.

use anyhow::Result;
use burn::tensor::{Device, Tensor};
use hvae_device::download;
use hvae_model::modern::{Equidistant, ModernHopfield, Thresholds, beta_eff, equidistant, random};
use hvae_runtime::rng::{self, Stream};
use serde::Serialize;

#[derive(Debug)]
pub(crate) struct PatternSet {
    pub(crate) network: ModernHopfield,
    pub(crate) description: Description,
    /// Thresholds by formula for this number of patterns. They hold for equidistant patterns.
    pub(crate) formula: Option<Thresholds>,
}

/// Squared distance, relative to the largest squared norm, below which patterns count as equal.
const EQUAL: f64 = 1e-9;

/// Above this cosine, patterns are stored without their common part, in which single precision
/// would drown their differences. It is orthogonal to these, and neither the weights of a state nor
/// its distances nor its energy depend on it.
const NEAR_ONE: f64 = 0.9;

/// A pattern set in words and numbers.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Description {
    pub(crate) kind: String,
    /// Number of patterns `N`.
    pub(crate) count: usize,
    /// Dimension `d`.
    pub(crate) dimension: usize,
    /// Whether all pairs of patterns are at the same distance.
    pub(crate) equidistant: bool,
    /// Root mean square distance `D` between two patterns.
    pub(crate) distance: f64,
    /// `beta_eff / beta = D^2 / 2`; 1 if all patterns are equal (`D = 0`).
    pub(crate) scale: f64,
    /// Root mean square distance of the patterns from their mean.
    pub(crate) radius: f64,
}

pub(super) struct Measured {
    pub(super) order: f64,
    pub(super) energy: f64,
}

impl PatternSet {
    /// Equidistant patterns; `seed` and `draw` determine their orientation.
    pub(crate) fn equidistant(
        shape: &Equidistant,
        seed: u64,
        draw: u64,
        device: &Device,
    ) -> Result<Self> {
        let mut rng = rng::generator(seed, Stream::Patterns, draw);
        shape.check()?;
        let rounded = (shape.cosine * 1e3).round() / 1e3;
        let near_one = shape.cosine > NEAR_ONE && shape.cosine < 1.0 && shape.count > 1;
        let cosine = if near_one { shape.cosine } else { rounded };
        let kind = format!("norm {}, cosine {cosine}", shape.norm);
        let mut stored = *shape;
        if near_one {
            let count = shape.count as f64;
            let from_mean = shape.norm * ((1.0 - shape.cosine) * (count - 1.0) / count).sqrt();
            stored = Equidistant::simplex(shape.count, shape.dimension, from_mean);
        }
        let mut set = Self::new(equidistant(&stored, &mut rng, device)?, kind)?;
        set.description.equidistant = set.description.distance > 0.0;
        Ok(set)
    }

    /// `count` patterns of norm `norm` in random directions.
    pub(crate) fn random(
        count: usize,
        dimension: usize,
        norm: f64,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        let mut rng = rng::generator(seed, Stream::Patterns, 0);
        let patterns = random(count, dimension, norm, &mut rng, device)?;
        Self::new(patterns, format!("random directions, norm {norm}"))
    }

    /// The rows of `patterns` `[N, d]`, described as `kind`.
    pub(crate) fn new(patterns: Tensor<2>, kind: String) -> Result<Self> {
        let network = ModernHopfield::new(patterns)?;
        let norms = download(network.patterns().square().sum_dim(1))?;
        let largest = f64::from(norms.into_iter().fold(0.0, f32::max));
        let count = network.count();
        let square = network.distance_squared();
        // Distances between equal patterns are rounding errors.
        let square = if square > EQUAL * largest { square } else { 0.0 };
        let description = Description {
            kind,
            count,
            dimension: network.dimension(),
            equidistant: false,
            distance: square.sqrt(),
            scale: if square > 0.0 { beta_eff(1.0, square) } else { 1.0 },
            radius: (square * (count as f64 - 1.0) / (2.0 * count as f64)).sqrt(),
        };
        Ok(Self { network, description, formula: Thresholds::of(count) })
    }

    pub(crate) fn count(&self) -> usize {
        self.description.count
    }

    /// The inverse temperatures for the given values of `beta_eff`.
    pub(super) fn betas(&self, effective: &[f64]) -> Vec<f64> {
        effective.iter().map(|b| b / self.description.scale).collect()
    }

    /// Order parameter of a state at `distance` from the mean: 0 at the mean, 1 at the distance of
    /// the patterns.
    pub(super) fn order(&self, distance: f64) -> f64 {
        if self.description.radius > 0.0 { distance / self.description.radius } else { 0.0 }
    }

    /// Weights `[rows, N]` that are 1 for the first pattern.
    pub(super) fn at_pattern(&self, rows: usize) -> Tensor<2> {
        let corners = Tensor::<2>::eye(self.count(), &self.network.device());
        corners.narrow(0, 0, 1).repeat_dim(0, rows)
    }

    /// Order parameter and energy of the states with the softmax weights `[B, N]`.
    pub(super) fn measure(&self, weights: Tensor<2>, betas: &[f64]) -> Result<Vec<Measured>> {
        let readings = self.network.read(weights, betas)?;
        let values = download(Tensor::cat(vec![readings.to_mean, readings.energy], 1))?;
        let of = |v: &[f32]| Measured { order: self.order(v[0].into()), energy: v[1].into() };
        Ok(values.chunks_exact(2).map(of).collect())
    }

    /// The energy of the mean at each `beta_eff`.
    pub(super) fn energy_of_mean(&self, effective: &[f64]) -> Result<Vec<f64>> {
        let states = self.network.mean().repeat_dim(0, effective.len());
        let energies = download(self.network.energy(states, &self.betas(effective))?)?;
        Ok(energies.into_iter().map(f64::from).collect())
    }
}
