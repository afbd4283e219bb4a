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

/// The preset of the kind of model in `table`, overridden by `table`, without settings that are
/// `none`.
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
