//! Single keys of a configuration, set from the command line.

use anyhow::{Context, Result, bail};

/// Sets `section.key=value` in `table`.
pub(super) fn set(table: &mut toml::Table, text: &str) -> Result<()> {
    let Some((path, value)) = text.split_once('=') else {
        bail!("--set {text}: expected section.key=value, such as training.learning_rate=0.002");
    };
    let value = value.trim();
    let parsed = format!("value = {value}").parse::<toml::Table>().ok();
    let value = parsed
        .and_then(|mut t| t.remove("value"))
        .or_else(|| list_of_words(value))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let (sections, key) = match path.trim().rsplit_once('.') {
        Some((sections, key)) => (sections.split('.').collect(), key),
        None => (Vec::new(), path.trim()),
    };
    insert(table, &sections, key, value).with_context(|| format!("--set {text}"))
}

/// Sets `key` in the section at the path `sections`.
pub(super) fn insert(
    mut table: &mut toml::Table,
    sections: &[&str],
    key: &str,
    value: toml::Value,
) -> Result<()> {
    for &section in sections {
        let entry = table.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
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
