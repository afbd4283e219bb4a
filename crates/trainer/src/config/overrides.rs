//! Single keys of a configuration, set from the command line.

use anyhow::{Context, Result, bail};

/// A mistake on the command line that the grammar of its flags cannot detect.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")] // With its causes, because an outer error prints only this.
pub struct Usage(pub anyhow::Error);

impl Usage {
    /// The mistake that `text` describes.
    pub fn new(text: impl Into<String>) -> Self {
        Self(anyhow::Error::msg(text.into()))
    }
}

/// Sets `section.key=value` in `table`.
pub(super) fn set(table: &mut toml::Table, text: &str) -> Result<()> {
    let (path, value) = setting(text)?;
    insert(table, &path, value).with_context(|| format!("--set {text}"))
}

/// The name and the value in `section.key=value`.
pub(crate) fn setting(text: &str) -> Result<(String, toml::Value)> {
    let Some((path, value)) = text.split_once('=') else {
        bail!("--set {text}: expected section.key=value, such as training.learning_rate=0.002");
    };
    let value = value.trim();
    let parsed = format!("value = {value}").parse::<toml::Table>().ok();
    let value = parsed
        .and_then(|mut t| t.remove("value"))
        .or_else(|| list_of_words(value))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()));
    Ok((path.trim().to_owned(), value))
}

/// Sets `section.key`, the `path`.
pub(super) fn insert(mut table: &mut toml::Table, path: &str, value: toml::Value) -> Result<()> {
    let mut sections: Vec<&str> = path.split('.').collect();
    let key = sections.pop().unwrap_or_default();
    for section in sections {
        let entry = table.entry(section).or_insert_with(|| toml::Table::new().into());
        let Some(inner) = entry.as_table_mut() else {
            bail!("{section} is a value, not a section");
        };
        table = inner;
    }
    table.insert(key.to_owned(), value);
    Ok(())
}

/// `[one, another]` without the quotes that a shell would remove.
fn list_of_words(text: &str) -> Option<toml::Value> {
    let words = text.strip_prefix('[')?.strip_suffix(']')?.split(',');
    Some(words.map(|word| toml::Value::String(word.trim().to_owned())).collect::<Vec<_>>().into())
}
