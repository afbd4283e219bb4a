//! Distances between sets of images in the features of a network: FID, KID, precision, recall,
//! density and coverage.
#![recursion_limit = "256"]

pub mod classifier;
pub mod classifier_training;
pub mod distance;
pub mod extractor;
pub mod inception;
pub mod kid;
pub mod linear;
pub mod origin;
pub mod prdc;
pub mod scoring;
pub mod statistics;
pub mod stream;

/// Features of some images, kept for what needs each one and not only their statistics.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureSet {
    /// Numbers per image.
    pub dims: usize,
    /// Image after image.
    pub values: Vec<f32>,
}

impl FeatureSet {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.values.len() / self.dims
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The features of image `index`.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.dims..][..self.dims]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a failing test should panic")]
impl FeatureSet {
    /// Features of the fixture that `scripts/evaluation_fixtures.py` makes.
    fn fixture(name: &str) -> Self {
        let array = Self::fixture_array(name);
        let hvae_runtime::npz::Values::F32(values) = array.values else { panic!("{name}") };
        Self { dims: array.shape[1], values }
    }

    /// Scores of that fixture.
    fn fixture_numbers(name: &str) -> Vec<f64> {
        let hvae_runtime::npz::Values::F64(values) = Self::fixture_array(name).values else {
            panic!("{name}")
        };
        values
    }

    fn fixture_array(name: &str) -> hvae_runtime::npz::Loaded {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        hvae_runtime::npz::load(&root.join("tests/fixtures/features.npz"), name).unwrap()
    }
}
