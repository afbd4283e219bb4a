//! The Python module `hvae`.
#![recursion_limit = "256"]

use pyo3::prelude::*;

/// The compiled part of the module `hvae`.
#[pymodule]
mod _hvae {
    use super::*;

    #[pyfunction]
    fn version() -> &'static str {
        hvae::VERSION
    }
}
