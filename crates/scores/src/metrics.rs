//! The scores that compare individual images rather than means and covariances.

use std::fmt;

use anyhow::Result;
use serde::Serialize;

use crate::features::FeatureSet;
use crate::kid::{Kid, SUBSET_SIZE, SUBSETS, kid};
use crate::prdc::{NEIGHBOURS, Prdc, prdc};

/// KID, precision, recall, density and coverage at their usual settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FeatureMetrics {
    /// Kernel Inception distance.
    pub kid: Kid,
    /// Precision, recall, density and coverage.
    #[serde(flatten)]
    pub prdc: Prdc,
}

impl FeatureMetrics {
    /// The least number of images of each set.
    pub const MIN_IMAGES: usize = NEIGHBOURS + 1;

    /// Compares `samples` with `real` images: KID over 100 subsets of at most 1000 images drawn
    /// from `seed`, the others with 5 nearest neighbours. Each set needs [`Self::MIN_IMAGES`].
    pub fn of(real: &FeatureSet, samples: &FeatureSet, seed: u64) -> Result<Self> {
        Ok(Self { kid: Self::kid(real, samples, seed)?, prdc: Self::prdc(real, samples)? })
    }

    /// KID alone, which needs two images of each set.
    pub fn kid(real: &FeatureSet, samples: &FeatureSet, seed: u64) -> Result<Kid> {
        kid(samples, real, SUBSETS, SUBSET_SIZE, seed)
    }

    /// The others alone.
    pub fn prdc(real: &FeatureSet, samples: &FeatureSet) -> Result<Prdc> {
        prdc(real, samples, NEIGHBOURS)
    }
}

impl fmt::Display for FeatureMetrics {
    /// Two lines: KID, then the others, each with its settings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kid, prdc } = self;
        writeln!(
            f,
            "KID {kid} ({} subsets of {} images; cubic polynomial kernel, unbiased)",
            kid.subsets, kid.size
        )?;
        write!(
            f,
            "precision {:.4}  recall {:.4}  density {:.4}  coverage {:.4} ({} nearest neighbours, \
             {} real images, {} samples)",
            prdc.precision,
            prdc.recall,
            prdc.density,
            prdc.coverage,
            prdc.neighbours,
            prdc.real_images,
            prdc.samples
        )
    }
}
