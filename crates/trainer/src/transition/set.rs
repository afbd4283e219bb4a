//! The patterns that the user asked for, as a network.

use anyhow::{Context, Result, bail};
use burn::tensor::{Device, Tensor};
use hvae_model::ModelError;
use hvae_model::modern::{Equidistant, ModernHopfield, Thresholds, beta_eff, equidistant, random};
use serde::Serialize;

use crate::cli::Global;
use crate::config::Usage;
use crate::transition::args::{Kind, PhaseArgs};
use hvae_data::Split;
use hvae_data::config::DataConfig;
use hvae_data::dataset::Dataset;
use hvae_data::images::Images;
use hvae_device::host::download;
use hvae_runtime::rng;
use hvae_runtime::rng::Stream;

/// A network and what is known of its patterns.
#[derive(Debug)]
pub struct PatternSet {
    /// The network.
    pub network: ModernHopfield,
    /// What it is, in words.
    pub description: Description,
    /// The formulas' thresholds for this number of patterns. They hold for equidistant patterns.
    pub formula: Option<Thresholds>,
}

/// Squared distance, relative to the largest squared norm, below which patterns are equal.
const EQUAL: f64 = 1e-9;

/// What a pattern set is.
#[derive(Debug, Clone, Serialize)]
pub struct Description {
    /// Its kind.
    pub kind: String,
    /// Number of patterns `N`.
    pub count: usize,
    /// Dimension `d`.
    pub dimension: usize,
    /// Whether all distances between patterns are the same.
    pub equidistant: bool,
    /// Root mean square distance `D` between two patterns.
    pub distance: f64,
    /// `beta_eff / beta = D^2 / 2`; 1 where all patterns are equal, so that `D = 0`.
    pub scale: f64,
    /// Root mean square distance of the patterns from their mean.
    pub radius: f64,
}

impl PatternSet {
    /// The set that the arguments describe.
    ///
    /// # Errors
    ///
    /// When it cannot exist or cannot be loaded.
    pub fn new(args: &PhaseArgs, global: &Global, device: &Device) -> Result<Self> {
        let count = args.count as usize;
        let images = matches!(args.patterns, Kind::Mnist | Kind::Synthetic);
        if args.cosine.is_some() != (args.patterns == Kind::Equidistant) {
            bail!(Usage::new("--cosine goes with --patterns equidistant, and only with it"));
        }
        if images && args.dimension.is_some() {
            bail!(Usage::new("--dimension: images have their own"));
        }
        let dimension = args.dimension.map_or(count, |d| d as usize);
        let mut rng = rng::generator(args.seed, Stream::Patterns, 0);
        let equal = |cosine| Equidistant { count, dimension, norm: args.norm, cosine };
        let set = match args.patterns {
            Kind::Simplex => Some(Equidistant::simplex(count, dimension, args.norm)),
            Kind::Orthogonal => Some(equal(0.0)),
            Kind::Equidistant => args.cosine.map(equal),
            Kind::Random | Kind::Mnist | Kind::Synthetic => None,
        };
        if let Some(set) = set {
            let kind = format!("norm {}, cosine {}", set.norm, round(set.cosine));
            let patterns = equidistant(&set, &mut rng, device).map_err(by_flag)?;
            return Self::of(patterns, kind, true);
        }
        let patterns = match args.patterns {
            Kind::Mnist => load(Dataset::Mnist, count, global, device)?,
            Kind::Synthetic => load(Dataset::Synthetic, count, global, device)?,
            _ => random(count, dimension, args.norm, &mut rng, device).map_err(by_flag)?,
        };
        let kind = match args.patterns {
            Kind::Mnist => "images of MNIST".to_owned(),
            Kind::Synthetic => "drawn signs".to_owned(),
            _ => format!("random directions, norm {}", args.norm),
        };
        Self::of(patterns, kind, false)
    }

    /// The equidistant set that `set` describes, turned by `seed`.
    ///
    /// # Errors
    ///
    /// When it cannot exist.
    pub fn equidistant(set: &Equidistant, seed: u64, device: &Device) -> Result<Self> {
        let mut rng = rng::generator(seed, Stream::Patterns, 1);
        let kind =
            format!("norm {}, cosine {}, dimension {}", set.norm, round(set.cosine), set.dimension);
        Self::of(equidistant(set, &mut rng, device)?, kind, true)
    }

    fn of(patterns: Tensor<2>, kind: String, equidistant: bool) -> Result<Self> {
        let network = ModernHopfield::new(patterns)?;
        let norms = download(network.patterns().square().sum_dim(1))?;
        let largest = f64::from(norms.into_iter().fold(0.0, f32::max));
        let count = network.count();
        let square = network.distance_squared();
        // Equal patterns are apart by rounding only.
        let square = if square > EQUAL * largest { square } else { 0.0 };
        let scale = if square > 0.0 { beta_eff(1.0, square) } else { 1.0 };
        let radius = (square * (count as f64 - 1.0) / (2.0 * count as f64)).sqrt();
        let description = Description {
            kind,
            count,
            dimension: network.dimension(),
            equidistant: equidistant && square > 0.0,
            distance: square.sqrt(),
            scale,
            radius,
        };
        Ok(Self { network, description, formula: Thresholds::of(count) })
    }

    /// Number of patterns.
    pub fn count(&self) -> usize {
        self.description.count
    }

    /// The inverse temperatures at which `beta_eff` takes these values.
    pub fn betas(&self, effective: &[f64]) -> Vec<f64> {
        effective.iter().map(|b| b / self.description.scale).collect()
    }

    /// How far states at `distance` from the mean are on their way to a pattern: 0 at the mean, 1 at
    /// the patterns' mean distance.
    pub fn order(&self, distance: f64) -> f64 {
        if self.description.radius > 0.0 { distance / self.description.radius } else { 0.0 }
    }
}

/// A setting that cannot be, by the flag that gave it.
fn by_flag(error: ModelError) -> anyhow::Error {
    match error {
        ModelError::Setting { name, value, reason } => {
            Usage::new(format!("--{name} {value}: {reason}")).into()
        }
        other => other.into(),
    }
}

/// A cosine with three digits.
fn round(cosine: f64) -> f64 {
    (cosine * 1e3).round() / 1e3
}

fn load(dataset: Dataset, count: usize, global: &Global, device: &Device) -> Result<Tensor<2>> {
    let config = DataConfig { dataset, train_images: Some(count), ..DataConfig::default() };
    let verbosity = global.verbosity();
    let images = Images::load(&config, Split::Train, &global.data_dir, verbosity, device)?;
    images.batches(count).next().context("the training set is empty")
}

/// `count` values from `from` to `to`, spaced evenly in their logarithm.
pub fn logarithmic(from: f64, to: f64, count: usize) -> Vec<f64> {
    let last = count.saturating_sub(1).max(1) as f64;
    (0..count).map(|i| from * (to / from).powf(i as f64 / last)).collect()
}
