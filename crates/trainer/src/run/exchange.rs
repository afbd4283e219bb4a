//! Weights in one safetensors file, for other programs; `docs/exchange.md` describes it.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use hvae_model::{HopfieldNetwork, Kind, Vae};
use hvae_runtime::{files, tensors};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::config::RunConfig;

/// The only key of the file's metadata, so that equal models give equal files.
const KEY: &str = "hvae";
/// Version of its value.
const FORMAT: u32 = 1;

/// What a file says about its tensors.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Metadata {
    /// Version of this description.
    pub(crate) format: u32,
    /// Version of the program that wrote it.
    pub(crate) version: String,
    /// Commit that the program was built from.
    pub(crate) commit: String,
    /// Training steps behind the weights.
    pub(crate) step: usize,
    /// The configuration as TOML.
    pub(crate) config: String,
    /// `encoder` and `decoder`, for programs that build the networks themselves; a weight-tied
    /// model has only an `encoder`.
    pub(crate) networks: HashMap<String, Layout>,
    /// How images are encoded and latents decoded.
    #[serde(flatten)]
    pub(crate) uses: Uses,
}

/// How the networks are used.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Uses {
    /// Whether the networks are feed-forward, without feedback and equilibrium.
    pub(crate) feed_forward: bool,
    /// The fixed standard deviation of the posterior, where log-variances are not learned.
    pub(crate) sigma: Option<f64>,
    /// From images to latents.
    pub(crate) encode: Passage,
    /// From latents to images.
    pub(crate) decode: Passage,
}

/// A network in one of its uses: one layer is clamped, others are read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Passage {
    /// Which network.
    pub(crate) network: String,
    /// The layer that is clamped.
    pub(crate) input: usize,
    /// Scale of the input.
    pub(crate) amplitude: f64,
    /// The tensor of a further factor for each unit, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scale: Option<String>,
    /// Layers that are not used.
    pub(crate) absent: Vec<usize>,
    /// The output layer: means, or images.
    pub(crate) output: usize,
    /// The layer of the log-variances, if they are an output.
    pub(crate) log_variance: Option<usize>,
}

impl Uses {
    fn of(model: &Vae) -> Self {
        let config = &model.config;
        let mean = config.hidden.len() + 1;
        let log_variance = config.sigma.is_none().then_some(mean + 1);
        let tied = config.kind.is_tied();
        let amplitude = |own| if tied { own } else { 1.0 };
        Self {
            feed_forward: config.kind == Kind::FVae,
            sigma: config.sigma,
            encode: Passage {
                network: "encoder".to_owned(),
                input: 0,
                amplitude: amplitude(config.image_amplitude),
                scale: None,
                absent: Vec::new(),
                output: mean,
                log_variance,
            },
            decode: Passage {
                network: if tied { "encoder" } else { "decoder" }.to_owned(),
                input: if tied { mean } else { 0 },
                amplitude: amplitude(config.latent_amplitude),
                scale: model.amplitudes.is_some().then(|| "amplitudes".to_owned()),
                absent: if tied { log_variance.into_iter().collect() } else { Vec::new() },
                output: if tied { 0 } else { mean },
                log_variance: None,
            },
        }
    }
}

/// A network without its weights.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Layout {
    /// Layers in their order, as in [`hvae_model::LayerSpec`].
    pub(crate) layers: Vec<hvae_model::LayerSpec>,
    /// For each coupling the two layers that it joins, by their numbers.
    pub(crate) couplings: Vec<[usize; 2]>,
}

impl Layout {
    fn of(network: &HopfieldNetwork) -> Self {
        Self {
            layers: network.layers.iter().map(|layer| layer.spec.clone()).collect(),
            couplings: network.couplings.iter().map(|c| [c.lower.0, c.upper.0]).collect(),
        }
    }
}

/// Writes `model` into `path`, atomically.
///
/// # Errors
///
/// When the file cannot be written.
pub(crate) fn export(path: &Path, model: &Vae, config: &RunConfig, step: usize) -> Result<()> {
    // Under the prefixes of their tensors' names.
    let networks = std::iter::once(("encoder", &model.encoder))
        .chain(model.decoder.iter().map(|decoder| ("decoder", decoder)))
        .map(|(name, network)| (name.to_owned(), Layout::of(network)));
    let metadata = Metadata {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: crate::COMMIT.to_owned(),
        step,
        config: config.to_toml()?,
        networks: networks.collect(),
        uses: Uses::of(model),
    };
    // Via a value, whose keys are sorted.
    let text = serde_json::to_value(&metadata).context("describing the model")?.to_string();
    let bytes = tensors::to_bytes(model)?;
    let views = SafeTensors::deserialize(&bytes).context("collecting tensors")?;
    let metadata = HashMap::from([(KEY.to_owned(), text)]);
    let file =
        safetensors::serialize(views.tensors(), Some(metadata)).context("collecting tensors")?;
    files::write(path, &file)
}

/// The bytes of the file `path`, and its metadata if this program wrote it.
///
/// # Errors
///
/// When it is not a safetensors file, or has another format.
pub(crate) fn read(path: &Path) -> Result<(Vec<u8>, Option<Metadata>)> {
    let shown = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("reading {shown}"))?;
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
