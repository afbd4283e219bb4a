//! The presets of the kinds of model.

use anyhow::{Context, Result};

/// The settings of a kind of model that are not the defaults.
fn preset(kind: &str) -> &'static str {
    match kind {
        "f-vae" => include_str!("../../../../configs/f-vae.toml"),
        "th-vae" => include_str!("../../../../configs/th-vae.toml"),
        "dh-vae" => include_str!("../../../../configs/dh-vae.toml"),
        "tdh-vae" => include_str!("../../../../configs/tdh-vae.toml"),
        _ => include_str!("../../../../configs/h-vae.toml"),
    }
}

/// Settings that may have no value. TOML has no value for that, so it is written `none`.
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

/// `text`, a complete configuration of this `kind`, with `none` for each setting that it leaves out
/// but the preset of the kind has: read again, the preset's value would take its place.
pub(super) fn with_explicit_none(mut text: String, kind: &str) -> Result<String> {
    let table: toml::Table = text.parse().context("reading the configuration back")?;
    let preset: toml::Table = preset(kind).parse().context("in a built-in preset")?;
    for (section, key) in OPTIONAL {
        let is_in = |table: &toml::Table| table.get(section)?.get(key).map(|_| ());
        if is_in(&preset).is_some() && is_in(&table).is_none() {
            let heading = format!("[{section}]\n");
            text = text.replacen(&heading, &format!("{heading}{key} = \"none\"\n"), 1);
        }
    }
    Ok(text)
}

/// The preset of the kind in `table`, overridden by `table`, without settings that are `none`.
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
