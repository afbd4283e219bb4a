//! Where statistics of features are from: an entry of their file, beside `mu` and `sigma`.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::extractor::{Extractor, Features};
use hvae_runtime::npz;
use hvae_runtime::npz::Values;

/// Name of the array that holds it: JSON as `uint8`. pytorch-fid reads `mu` and `sigma` alone.
pub const ENTRY: &str = "protocol";
/// Version of what stands there.
const FORMAT: u32 = 1;

/// What mean and covariance were taken of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Version of this description.
    pub format: u32,
    /// The features.
    pub features: Features,
    /// The features in words.
    pub described: String,
    /// The images in words.
    pub source: String,
    /// How many.
    pub images: usize,
    /// Commit of the program that wrote it.
    pub commit: String,
}

impl Origin {
    /// That of statistics which are taken now.
    pub fn here(extractor: &Extractor, source: &str, images: usize, commit: &str) -> Self {
        Self {
            format: FORMAT,
            features: extractor.given().clone(),
            described: extractor.protocol().to_owned(),
            source: source.to_owned(),
            images,
            commit: commit.to_owned(),
        }
    }

    /// As it stands in a file.
    ///
    /// # Errors
    ///
    /// When it has no form as JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).context("describing statistics")
    }

    /// That of the statistics in `path`; none if the file does not say, as those of pytorch-fid.
    ///
    /// # Errors
    ///
    /// When what the file says cannot be understood.
    pub fn of(path: &Path) -> Result<Option<Self>> {
        if !npz::names(path)?.iter().any(|name| name == ENTRY) {
            return Ok(None);
        }
        let read = || {
            let Values::U8(bytes) = npz::load(path, ENTRY)?.values else {
                bail!("it must hold uint8")
            };
            let value: serde_json::Value = serde_json::from_slice(&bytes)?;
            let format = value.get("format").and_then(serde_json::Value::as_u64);
            ensure!(
                format == Some(FORMAT.into()),
                "it has format {}, but this program reads format {FORMAT}",
                format.map_or("missing".to_owned(), |format| format.to_string())
            );
            Ok(Some(serde_json::from_value(value)?))
        };
        read().with_context(|| format!("the entry `{ENTRY}` of {}", path.display()))
    }

    /// Refuses statistics in other features than those of `extractor`.
    ///
    /// # Errors
    ///
    /// Then.
    pub fn check(&self, extractor: &Extractor) -> Result<()> {
        ensure!(
            self.features == *extractor.given(),
            "they were taken in features of {}, but --features gives {}: distances are between \
             statistics in the same features",
            self.described,
            extractor.protocol()
        );
        Ok(())
    }
}
