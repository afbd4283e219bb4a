//! The weights of FID Inception v3: found, checked, and loaded whole or not at all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use burn::store::burn_pack::Tensor as StoredTensor;
use burn::store::{ModuleStore, PytorchStore};
use burn::tensor::{DType, Device};

use crate::extractor::cache_folder;
use crate::inception::Inception;
use crate::inception::conv::{Conv, Stored};
use hvae_data::remote::RemoteFile;

/// The file that pytorch-fid 0.3.0 uses.
pub const FILE: RemoteFile = RemoteFile {
    name: "pt_inception-2015-12-05-6726825d.pth",
    url: "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    bytes: 95_628_359,
    sha256: "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
};

/// Layers behind the features: in the file, but of no use here.
const UNUSED: [(&str, &[usize]); 2] = [("fc.weight", &[1008, 2048]), ("fc.bias", &[1008])];
/// Counters of training steps, which newer files have for each normalisation.
const COUNTER: &str = "num_batches_tracked";

/// Where downloaded weights lie.
pub fn usual_place() -> PathBuf {
    cache_folder().join(FILE.name)
}

/// Loads the weights from `path`, or from their usual place; returns their hash too.
///
/// # Errors
///
/// When the file is missing, truncated or altered, or not the weights of this network.
pub fn load(path: Option<&Path>, device: &Device) -> Result<(Inception, String)> {
    let place = path.map_or_else(usual_place, Path::to_owned);
    if path.is_none() && !place.exists() {
        bail!(
            "the weights of Inception are not here. Fetch them with `hvae weights fetch`, or give \
             a copy of {} with --inception-weights PATH; --features mnist-classifier needs neither",
            FILE.name
        );
    }
    load_checked(&place, &FILE, device)
}

/// Loads the weights from `path`, which must be the very file `expected`.
///
/// # Errors
///
/// As [`load`].
pub fn load_checked(
    path: &Path,
    expected: &RemoteFile,
    device: &Device,
) -> Result<(Inception, String)> {
    expected.verify(path).with_context(|| {
        format!(
            "cannot use {}: `hvae weights fetch` gets the right file, and --inception-weights PATH \
             takes a copy of it",
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

/// The name and shape of every tensor of the file, but for the counters.
///
/// # Errors
///
/// None in practice.
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

/// The network of these tensors: every one that it needs, none that it does not know, each of its
/// own shape, in single precision and finite.
///
/// # Errors
///
/// For the first that is not so, by its name.
pub fn build(mut tensors: BTreeMap<String, StoredTensor>, device: &Device) -> Result<Inception> {
    let expected = expected_tensors()?;
    let missing: Vec<_> = expected.keys().filter(|name| !tensors.contains_key(*name)).collect();
    ensure!(missing.is_empty(), "it lacks {}", some(&missing));
    tensors.retain(|name, _| !name.ends_with(COUNTER));
    let foreign: Vec<_> = tensors.keys().filter(|name| !expected.contains_key(*name)).collect();
    ensure!(foreign.is_empty(), "it holds {}, which Inception does not have", some(&foreign));
    for (name, shape) in &expected {
        let found: Vec<usize> = tensors[name].shape.iter().copied().collect();
        ensure!(found == *shape, "{name} has the shape {found:?}; expected {shape:?}");
    }
    Inception::new(&mut |layer, shape| {
        let mut take = |part: &str| {
            let name = format!("{layer}.{part}");
            let tensor =
                tensors.remove(&name).with_context(|| format!("{name} is asked for twice"));
            numbers(tensor?).with_context(|| name)
        };
        let stored = Stored {
            weight: take("conv.weight")?,
            scale: take("bn.weight")?,
            shift: take("bn.bias")?,
            mean: take("bn.running_mean")?,
            variance: take("bn.running_var")?,
        };
        ensure!(
            stored.variance.iter().all(|variance| *variance >= 0.0),
            "{layer}.bn.running_var holds a variance below 0"
        );
        Ok(Conv::fold(&stored, shape, device))
    })
}

fn numbers(tensor: StoredTensor) -> Result<Vec<f32>> {
    ensure!(tensor.dtype == DType::F32, "it is {:?}, expected single precision", tensor.dtype);
    let bytes = tensor.into_bytes().map_err(|error| anyhow::anyhow!("{error}"))?;
    let numbers: Vec<f32> =
        bytes.as_chunks::<4>().0.iter().map(|&number| f32::from_le_bytes(number)).collect();
    ensure!(
        numbers.iter().all(|number| number.is_finite()),
        "it holds numbers that are not finite"
    );
    Ok(numbers)
}

/// The first few of `names`.
fn some(names: &[&String]) -> String {
    let shown: Vec<_> = names.iter().take(3).map(|name| name.as_str()).collect();
    let more =
        if names.len() > 3 { format!(" and {} more", names.len() - 3) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}
