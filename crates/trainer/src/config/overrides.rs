//! What a configuration file is merged with: the preset of its kind, and what the command line changes.

use anyhow::{Context, Result, bail};

/// What a model of each kind is trained with unless a file or an override says otherwise, where
/// that is not the default of all.
fn preset(kind: &str) -> &'static str {
    match kind {
        "f-vae" => include_str!("../../../../configs/f-vae.toml"),
        "th-vae" => include_str!("../../../../configs/th-vae.toml"),
        "dh-vae" => include_str!("../../../../configs/dh-vae.toml"),
        "tdh-vae" => include_str!("../../../../configs/tdh-vae.toml"),
        _ => include_str!("../../../../configs/h-vae.toml"),
    }
}

/// Settings that may be without a value, which is written `none`: no TOML value says so.
const OPTIONAL: [(&str, &str); 8] = [
    ("training", "clip_norm"),
    ("training", "patience"),
    ("training", "checkpoint_every"),
    ("data", "train_images"),
    ("data", "validation_images"),
    ("data", "test_images"),
    ("model", "sigma"),
    ("model", "visible_reach"),
];

/// `table` laid over the preset of the kind of model it names, without what is `none`.
pub(super) fn over_preset(table: toml::Table) -> Result<toml::Table> {
    let kind = table.get("model").and_then(|m| m.get("kind")).and_then(toml::Value::as_str);
    let mut base: toml::Table =
        preset(kind.unwrap_or_default()).parse().context("in a built-in preset")?;
    for (section, values) in table {
        match (base.get_mut(&section), values) {
            (Some(toml::Value::Table(base)), toml::Value::Table(values)) => base.extend(values),
            (_, values) => {
                base.insert(section, values);
            }
        }
    }
    for (section, key) in OPTIONAL {
        if let Some(toml::Value::Table(values)) = base.get_mut(section)
            && values.get(key).and_then(toml::Value::as_str) == Some("none")
        {
            values.remove(key);
        }
    }
    Ok(base)
}

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

/// Sets `key` of the section at the path `sections`.
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

/// `[one, another]` without the quotes that a shell would take for its own.
fn list_of_words(text: &str) -> Option<toml::Value> {
    let words = text.strip_prefix('[')?.strip_suffix(']')?.split(',');
    Some(words.map(|word| toml::Value::String(word.trim().to_owned())).collect::<Vec<_>>().into())
}
