//! The features of a set of images, one row per image.

/// Features of some images, for scores that compare individual images.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureSet {
    /// Features per image.
    pub dims: usize,
    /// `[images, dims]` in row-major order.
    pub values: Vec<f32>,
}

impl FeatureSet {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.values.len() / self.dims
    }

    /// Whether there are no images.
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
    pub(crate) fn fixture(name: &str) -> Self {
        let array = Self::fixture_array(name);
        let hvae_runtime::npz::Values::F32(values) = array.values else { panic!("{name}") };
        Self { dims: array.shape[1], values }
    }

    /// Scores of that fixture.
    pub(crate) fn fixture_numbers(name: &str) -> Vec<f64> {
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
