//! The tensors of a module as the bytes of a safetensors file.

use anyhow::{Context, Result, ensure};
use burn::module::{Module, ModuleVisitor, Param};
use burn::store::{ApplyError, ApplyResult, ModuleStore, SafetensorsStore};
use burn::tensor::Tensor;
use safetensors::SafeTensors;

/// Faults of a file that are told one by one.
const SHOWN: usize = 3;

/// The tensors of `module` under their names; equal ones give equal bytes.
///
/// # Errors
///
/// When the device cannot be read.
pub fn to_bytes<M: Module>(module: &M) -> Result<Vec<u8>> {
    // Metadata come in no fixed order; without them equal tensors give equal files.
    let mut store = SafetensorsStore::from_bytes(None).clear_metadata().skip_enum_variants(true);
    store.collect_from(module).context("collecting tensors")?;
    store.get_bytes().context("collecting tensors")
}

/// `module` with the tensors in `bytes`: every one of them, and none besides.
///
/// # Errors
///
/// When the bytes are no such file, or lack a tensor, hold others or other shapes.
pub fn from_bytes<M: Module>(bytes: Vec<u8>, mut module: M) -> Result<M> {
    let whole = SafeTensors::deserialize(&bytes).is_ok();
    ensure!(whole, "it is not a safetensors file, or it is damaged");
    // What does not fit is told below, in our words.
    let mut store = SafetensorsStore::from_bytes(Some(bytes))
        .allow_partial(true)
        .validate(false)
        .skip_enum_variants(true);
    let result = store.apply_to(&mut module).context("reading its tensors")?;
    let faults = faults(&result);
    ensure!(faults.is_empty(), "{}", in_short(&faults));
    Ok(module)
}

/// What is wrong with the tensors of a file, tensor by tensor.
fn faults(result: &ApplyResult) -> Vec<String> {
    let errors = result.errors.iter().map(|error| match error {
        ApplyError::ShapeMismatch { path, expected, found } => {
            let [found, expected] =
                [found, expected].map(|shape| shape.iter().copied().collect::<Vec<_>>());
            format!("`{path}` has the shape {found:?}, but {expected:?} is needed")
        }
        ApplyError::DTypeMismatch { path, expected, found } => {
            format!("`{path}` holds {}, but {} is needed", found.name(), expected.name())
        }
        ApplyError::AdapterError { path, .. } | ApplyError::LoadError { path, .. } => {
            format!("`{path}` cannot be read")
        }
    });
    let missing = result.missing.iter().map(|(path, _)| format!("`{path}` is missing"));
    let unused = result.unused.iter().map(|path| format!("`{path}` has no place in the model"));
    errors.chain(missing).chain(unused).collect()
}

/// The first of them, and how many more there are.
fn in_short(faults: &[String]) -> String {
    let shown = faults.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    match faults.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
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
