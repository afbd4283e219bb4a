//! The tensors of a module as the bytes of a safetensors file.

use anyhow::{Context, Result, ensure};
use burn::module::{Module, ModuleVisitor, Param};
use burn::store::{ModuleStore, SafetensorsStore};
use burn::tensor::Tensor;

/// The tensors of `module` under their names; equal ones give equal bytes.
///
/// # Errors
///
/// When the device cannot be read.
pub fn to_bytes<M: Module>(module: &M) -> Result<Vec<u8>> {
    // Metadata come in no fixed order; without them equal tensors give equal files.
    let mut store = SafetensorsStore::from_bytes(None).clear_metadata();
    store.collect_from(module).context("collecting tensors")?;
    store.get_bytes().context("collecting tensors")
}

/// `module` with the tensors in `bytes`: every one of them, and none besides.
///
/// # Errors
///
/// When the bytes are no such file, or lack a tensor, hold others or other shapes.
pub fn from_bytes<M: Module>(bytes: Vec<u8>, mut module: M) -> Result<M> {
    let mut store = SafetensorsStore::from_bytes(Some(bytes)).allow_partial(false);
    let result = store.apply_to(&mut module)?;
    ensure!(
        result.errors.is_empty() && result.missing.is_empty() && result.unused.is_empty(),
        "{result}"
    );
    Ok(module)
}

/// Whether every number of `module` is finite.
pub fn is_finite<M: Module>(module: &M) -> bool {
    struct Finite(bool);
    impl ModuleVisitor for Finite {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 &= param.val().is_finite().all().into_scalar::<bool>();
        }
    }
    let mut finite = Finite(true);
    module.visit(&mut finite);
    finite.0
}
