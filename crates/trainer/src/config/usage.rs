//! Errors of the command line.

use std::fmt;

/// A mistake on the command line that the grammar of its flags cannot detect.
#[derive(Debug)]
pub struct Usage(pub anyhow::Error);

impl Usage {
    /// The mistake that `text` describes.
    pub fn new(text: impl Into<String>) -> Self {
        Self(anyhow::Error::msg(text.into()))
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // With its causes, because an outer error prints only this.
        write!(f, "{:#}", self.0)
    }
}

impl std::error::Error for Usage {}
