//! The compiled part of the Python module `hvae`; `python/hvae` adds types and documentation.
#![recursion_limit = "256"]

mod array;
mod compute;
mod modern;
mod network;
mod outcome;
mod run;
mod scores;
mod solve;
mod train;

use pyo3::prelude::*;

#[pymodule]
mod _hvae {
    use std::ffi::OsString;

    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::modern::ModernHopfield;
    #[pymodule_export]
    use crate::network::{Equilibrium, HopfieldNetwork};
    #[pymodule_export]
    use crate::outcome::Outcome;
    #[pymodule_export]
    use crate::run::Run;
    #[pymodule_export]
    use crate::scores::{fid, metrics};
    #[pymodule_export]
    use crate::solve::solve;
    #[pymodule_export]
    use crate::train::train;

    /// Runs the program `hvae` with these arguments, of which the first is its name; the exit code.
    #[pyfunction]
    fn main(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
        py.detach(|| hvae::commands::main(arguments))
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
