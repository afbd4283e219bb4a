//! Provenance of stored statistics: an entry of their file next to `mu` and `sigma`.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use hvae_runtime::npz::{self, Values};
use serde::{Deserialize, Serialize};

use crate::extractor::{Extractor, FeatureSpec};

/// Name of the array that holds it: JSON as `uint8`. pytorch-fid reads `mu` and `sigma` only.
pub(crate) const ENTRY: &str = "protocol";
/// Version of the JSON.
const FORMAT: u32 = 1;

/// What a mean and covariance were computed from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Version of this description.
    pub format: u32,
    /// The features.
    pub features: FeatureSpec,
    /// The features in words.
    pub described: String,
    /// The images in words.
    pub source: String,
    /// Number of images.
    pub images: usize,
    /// Commit of the program that wrote the file.
    pub commit: String,
}

impl Origin {
    /// The origin of statistics computed now, by the program built from `commit`.
    pub fn here(extractor: &Extractor, source: &str, images: usize, commit: &str) -> Self {
        Self {
            format: FORMAT,
            features: extractor.spec().clone(),
            described: extractor.description().to_owned(),
            source: source.to_owned(),
            images,
            commit: commit.to_owned(),
        }
    }

    /// Reads the entry of `path`; `None` if there is none, as in files of pytorch-fid.
    pub fn of(path: &Path) -> Result<Option<Self>> {
        if !npz::names(path)?.iter().any(|name| name == ENTRY) {
            return Ok(None);
        }
        let read = || {
            let Values::U8(bytes) = npz::load(path, ENTRY)?.values else { bail!("expected uint8") };
            let value: serde_json::Value = serde_json::from_slice(&bytes)?;
            let format = value.get("format").and_then(serde_json::Value::as_u64);
            ensure!(
                format == Some(FORMAT.into()),
                "format {}, but this program reads format {FORMAT}",
                format.map_or("missing".to_owned(), |format| format.to_string())
            );
            Ok(Some(serde_json::from_value(value)?))
        };
        read().with_context(|| format!("the entry `{ENTRY}` of {}", path.display()))
    }

    /// Refuses statistics of other features than those of `extractor`.
    pub fn check(&self, extractor: &Extractor) -> Result<()> {
        ensure!(
            self.features == *extractor.spec(),
            "they are of the features {}, but --features gives {}: only statistics of the same \
             features can be compared",
            self.described,
            extractor.description()
        );
        Ok(())
    }
}
