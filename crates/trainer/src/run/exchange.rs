//! Weights in one safetensors file, for other programs; `docs/exchange.md` describes it.

use std::{collections::HashMap, path::Path};

use anyhow::{Context, Result, ensure};
use hvae_model::{HopfieldNetwork, Kind, Vae};
use hvae_runtime::{files, tensors};
use safetensors::SafeTensors;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::RunConfig;

/// The only key of the file's metadata, so that equal models give equal files.
const KEY: &str = "hvae";
/// Version of its value.
const FORMAT: u32 = 1;

/// What is read of the description of a file's tensors.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    format: u32,
    /// The configuration as TOML.
    pub(crate) config: String,
}

/// The description of a model, for programs that build its networks themselves.
fn describe(model: &Vae, config: &RunConfig, step: usize) -> Result<Value> {
    let Vae { encoder, decoder, amplitudes, config: settings, .. } = model;
    let tied = settings.kind.is_tied();
    let mean = settings.hidden.len() + 1;
    let log_variance = settings.sigma.is_none().then_some(mean + 1);
    // A network in one of its uses: the layer `input` is clamped, `output` is read.
    let passage = |network: &str, input: usize, amplitude: f64, output: usize| {
        let amplitude = if tied { amplitude } else { 1.0 };
        json!({
            "network": network, "input": input, "amplitude": amplitude, "absent": [],
            "output": output, "log_variance": null,
        })
    };
    let mut encode = passage("encoder", 0, settings.image_amplitude, mean);
    encode["log_variance"] = json!(log_variance);
    let (name, input, output) = if tied { ("encoder", mean, 0) } else { ("decoder", 0, mean) };
    let mut decode = passage(name, input, settings.latent_amplitude, output);
    if tied {
        decode["absent"] = log_variance.into_iter().collect();
    }
    if amplitudes.is_some() {
        decode["scale"] = json!("amplitudes");
    }
    let layout = |network: &HopfieldNetwork| {
        let layers: Vec<_> = network.layers.iter().map(|layer| &layer.spec).collect();
        let couplings: Vec<_> = network.couplings.iter().map(|c| [c.lower.0, c.upper.0]).collect();
        json!({ "layers": layers, "couplings": couplings })
    };
    // Under the prefixes of their tensors' names.
    let mut networks = json!({ "encoder": layout(encoder) });
    if let Some(decoder) = decoder {
        networks["decoder"] = layout(decoder);
    }
    Ok(json!({
        "format": FORMAT,
        "version": env!("CARGO_PKG_VERSION"),
        "commit": crate::COMMIT,
        "step": step,
        "config": config.to_toml()?,
        "networks": networks,
        "feed_forward": settings.kind == Kind::FVae,
        "sigma": settings.sigma,
        "encode": encode,
        "decode": decode,
    }))
}

/// Writes `model` into `path`, atomically.
pub(crate) fn export(path: &Path, model: &Vae, config: &RunConfig, step: usize) -> Result<()> {
    let metadata = HashMap::from([(KEY.to_owned(), describe(model, config, step)?.to_string())]);
    let bytes = tensors::to_bytes(model)?;
    let views = SafeTensors::deserialize(&bytes).context("collecting tensors")?;
    let file =
        safetensors::serialize(views.tensors(), Some(metadata)).context("collecting tensors")?;
    files::write(path, &file)
}

/// The bytes of the file `path`, and its metadata if this program wrote it.
pub(crate) fn read(path: &Path) -> Result<(Vec<u8>, Option<Metadata>)> {
    let shown = path.display();
    let bytes = files::read_regular(path).with_context(|| format!("reading {shown}"))?;
    let (_, header) = SafeTensors::read_metadata(&bytes)
        .with_context(|| format!("{shown} is not a safetensors file, or is corrupt"))?;
    let Some(text) = header.metadata().as_ref().and_then(|data| data.get(KEY)) else {
        return Ok((bytes, None));
    };
    let metadata: Metadata =
        serde_json::from_str(text).with_context(|| format!("the description in {shown}"))?;
    ensure!(
        metadata.format == FORMAT,
        "{shown} has format {}, but this program reads format {FORMAT}",
        metadata.format
    );
    Ok((bytes, Some(metadata)))
}
