//! The weights of FID Inception v3: finding, checking and loading their file.

use std::{collections::BTreeMap, path::Path, path::PathBuf};

use anyhow::{Context, Result, bail, ensure};
use burn::store::burn_pack::Tensor as StoredTensor;
use burn::store::{ModuleStore, PytorchStore};
use burn::tensor::{DType, Device};
use hvae_data::KnownFile;
use hvae_runtime::tensors::in_short;

use crate::{inception::conv::BatchNormConv, inception::conv::Conv, inception::network::Inception};

/// The file that pytorch-fid 0.3.0 uses.
pub const FILE: KnownFile = KnownFile {
    name: "pt_inception-2015-12-05-6726825d.pth",
    bytes: 95_628_359,
    sha256: "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
};

/// Where pytorch-fid publishes it.
pub const URL: &str = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth";

/// Layers after the features, which are in the file but not used.
const UNUSED: [(&str, &[usize]); 2] = [("fc.weight", &[1008, 2048]), ("fc.bias", &[1008])];
/// Batch counters, which newer files have for each batch normalisation.
const COUNTER: &str = "num_batches_tracked";

/// The default path: in `$XDG_CACHE_HOME/hvae` or `~/.cache/hvae`, else in the working folder.
pub fn default_path() -> PathBuf {
    let folder = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = folder("XDG_CACHE_HOME").or_else(|| {
        folder("HOME").or_else(|| folder("USERPROFILE")).map(|home| home.join(".cache"))
    });
    cache.unwrap_or_default().join("hvae").join(FILE.name)
}

/// Loads the network with the weights of `path`, or of the default path, and their SHA-256.
pub fn load(path: Option<&Path>, device: &Device) -> Result<(Inception, String)> {
    let place = path.map_or_else(default_path, Path::to_owned);
    if path.is_none() && !place.exists() {
        bail!(
            "the weights of Inception are missing: download them with `hvae weights fetch`, or give \
             a copy of {} with --inception-weights PATH; --features mnist-classifier needs neither",
            FILE.name
        );
    }
    load_checked(&place, &FILE, device)
}

/// Loads the network with the weights of `path`, which must have the length and hash of `expected`.
pub fn load_checked(
    path: &Path,
    expected: &KnownFile,
    device: &Device,
) -> Result<(Inception, String)> {
    expected.verify(path).with_context(|| {
        format!(
            "cannot use {}: `hvae weights fetch` downloads the right file, --inception-weights \
             PATH takes a copy of it",
            path.display()
        )
    })?;
    let read = || {
        let mut store = PytorchStore::from_file(path);
        build(store.get_all_tensors()?.clone(), device)
    };
    let network = read().with_context(|| format!("cannot use {}", path.display()))?;
    Ok((network, expected.sha256.to_owned()))
}

/// Name and shape of every tensor of the file, except the batch counters.
pub fn expected_tensors() -> Result<BTreeMap<String, Vec<usize>>> {
    let mut expected: BTreeMap<String, Vec<usize>> =
        UNUSED.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())).collect();
    let device = Device::flex();
    Inception::new(&mut |layer, shape| {
        expected.insert(format!("{layer}.conv.weight"), shape.weight().to_vec());
        for part in ["weight", "bias", "running_mean", "running_var"] {
            expected.insert(format!("{layer}.bn.{part}"), vec![shape.channels[1]]);
        }
        Ok(Conv::without_weights(shape, &device))
    })?;
    Ok(expected)
}

/// The network of these tensors. The error names the one that is missing, unknown, of another shape
/// or type, or not finite.
pub fn build(mut tensors: BTreeMap<String, StoredTensor>, device: &Device) -> Result<Inception> {
    let expected = expected_tensors()?;
    let missing: Vec<_> = expected.keys().filter(|&name| !tensors.contains_key(name)).collect();
    ensure!(missing.is_empty(), "missing tensors: {}", in_short(&missing));
    tensors.retain(|name, _| !name.ends_with(COUNTER));
    let foreign: Vec<_> = tensors.keys().filter(|&name| !expected.contains_key(name)).collect();
    ensure!(foreign.is_empty(), "unknown tensors: {}", in_short(&foreign));
    for (name, shape) in &expected {
        let found: Vec<usize> = tensors[name].shape.iter().copied().collect();
        ensure!(found == *shape, "{name} has shape {found:?}; expected {shape:?}");
    }
    Inception::new(&mut |layer, shape| {
        let mut take = |part: &str| {
            let name = format!("{layer}.{part}");
            let tensor = tensors.remove(&name).with_context(|| format!("{name} is used twice"));
            numbers(tensor?).with_context(|| name)
        };
        let stored = BatchNormConv {
            weight: take("conv.weight")?,
            scale: take("bn.weight")?,
            shift: take("bn.bias")?,
            mean: take("bn.running_mean")?,
            variance: take("bn.running_var")?,
        };
        ensure!(
            stored.variance.iter().all(|variance| *variance >= 0.0),
            "{layer}.bn.running_var has a negative variance"
        );
        Ok(Conv::fold(&stored, shape, device))
    })
}

fn numbers(tensor: StoredTensor) -> Result<Vec<f32>> {
    ensure!(tensor.dtype == DType::F32, "of type {:?}; expected F32", tensor.dtype);
    let bytes = tensor.into_bytes().map_err(|error| anyhow::anyhow!("{error}"))?;
    let numbers: Vec<f32> =
        bytes.as_chunks::<4>().0.iter().map(|&number| f32::from_le_bytes(number)).collect();
    ensure!(numbers.iter().all(|number| number.is_finite()), "values that are not finite");
    Ok(numbers)
}
