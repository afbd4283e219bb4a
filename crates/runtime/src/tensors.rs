//! The tensors of a module as the bytes of a safetensors file.

use anyhow::{Context, Result, ensure};
use burn::module::{Module, ModuleVisitor, Param};
use burn::store::{ApplyError, ApplyResult, ModuleStore, SafetensorsStore};
use burn::tensor::Tensor;
use safetensors::SafeTensors;

/// Faults that a message lists.
const SHOWN: usize = 3;

/// The tensors of `module` under their names; equal tensors give equal bytes.
pub fn to_bytes<M: Module>(module: &M) -> Result<Vec<u8>> {
    // The order of metadata is not fixed; without them equal tensors give equal bytes.
    let mut store = SafetensorsStore::from_bytes(None).clear_metadata().skip_enum_variants(true);
    store.collect_from(module).context("collecting tensors")?;
    store.get_bytes().context("collecting tensors")
}

/// `module` with the tensors in `bytes`, which must be exactly those of the module.
pub fn from_bytes<M: Module>(bytes: Vec<u8>, mut module: M) -> Result<M> {
    let whole = SafeTensors::deserialize(&bytes).is_ok();
    ensure!(whole, "it is not a safetensors file, or it is damaged");
    // Faults are described below.
    let mut store = SafetensorsStore::from_bytes(Some(bytes))
        .allow_partial(true)
        .validate(false)
        .skip_enum_variants(true);
    let result = store.apply_to(&mut module).context("reading its tensors")?;
    let faults = faults(&result);
    ensure!(faults.is_empty(), "{}", in_short(&faults));
    Ok(module)
}

/// The names of the tensors in a safetensors file.
pub fn names(bytes: &[u8]) -> Result<Vec<String>> {
    let file = SafeTensors::deserialize(bytes).ok();
    let file = file.context("it is not a safetensors file, or it is damaged")?;
    Ok(file.names().into_iter().map(str::to_owned).collect())
}

/// A sentence for each tensor that does not fit.
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

/// The first of `faults`, and the number of the others.
pub fn in_short(faults: &[impl AsRef<str>]) -> String {
    let shown = faults.iter().take(SHOWN).map(AsRef::as_ref).collect::<Vec<_>>().join("; ");
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
