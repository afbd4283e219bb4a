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
    pub(crate) fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.dims..][..self.dims]
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use hvae_runtime::npz::{self, Loaded, Values};

    use super::*;

    impl FeatureSet {
        pub(crate) fn new(values: &[f32], dims: usize) -> Self {
            Self { dims, values: values.to_vec() }
        }

        /// Features of the fixture that `scripts/evaluation_fixtures.py` makes.
        pub(crate) fn fixture(name: &str) -> Self {
            let Loaded { shape, values: Values::F32(values) } = fixture("features.npz", name)
            else {
                panic!("{name}")
            };
            Self { dims: shape[1], values }
        }
    }

    pub(crate) fn fixture_numbers(file: &str, name: &str) -> Vec<f64> {
        let Values::F64(values) = fixture(file, name).values else { panic!("{name}") };
        values
    }

    fn fixture(file: &str, name: &str) -> Loaded {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        npz::load(&root.join("tests/fixtures").join(file), name).unwrap()
    }
}
