//! `docs/settings.md` against the program: the same keys, and the defaults of every kind.

use std::collections::BTreeMap;
use std::path::Path;

use hvae::config::RunConfig;
use toml::Value;

/// The default settings of a kind, by section and key.
fn resolved(kind: &str) -> BTreeMap<(String, String), Value> {
    let config = RunConfig::resolve(None, &[format!("model.kind=\"{kind}\"")]).unwrap();
    let table: toml::Table = toml::from_str(&config.to_toml().unwrap()).unwrap();
    let sections = table.into_iter().flat_map(|(section, keys)| match keys {
        Value::Table(keys) => keys.into_iter().map(move |(key, v)| ((section.clone(), key), v)),
        other => panic!("{section} = {other} is not in a section"),
    });
    sections.collect()
}

/// A cell of the document as a value: a number, a boolean, a list, or else a name.
fn value(cell: &str) -> Value {
    let bare = cell.trim_matches('`');
    let parsed = format!("v = {bare}").parse::<toml::Table>().ok();
    match parsed.and_then(|mut table| table.remove("v")) {
        Some(Value::Integer(n)) => Value::Float(n as f64),
        Some(found) => found,
        None => Value::String(bare.to_owned()),
    }
}

fn same(found: &Value, documented: &str) -> bool {
    let found = match found {
        Value::Integer(n) => Value::Float(*n as f64),
        other => other.clone(),
    };
    found == value(documented)
}

/// The rows of the tables below each heading `[section]`, cell by cell.
fn rows(text: &str) -> Vec<(String, Vec<&str>)> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            let name = heading.strip_prefix("`[").and_then(|rest| rest.split_once("]`"));
            section = name.map(|(name, _)| name.to_owned()).unwrap_or_default();
        } else if let Some(cells) = line.strip_prefix("| ").filter(|_| !section.is_empty()) {
            found.push((section.clone(), cells.split('|').map(str::trim).collect()));
        }
    }
    found
}

#[test]
fn every_setting_is_documented_with_its_default() {
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/settings.md");
    let text = std::fs::read_to_string(text).unwrap();
    let mut missing = resolved("h-vae");
    let (mut kinds, mut of_kinds): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
    for (section, cells) in rows(&text) {
        let key = cells[0].trim_matches('`').to_owned();
        if cells[0] == "setting" {
            kinds.clear();
        } else if cells[0].is_empty() {
            kinds =
                cells[1..].iter().map(|c| c.trim_matches('`')).filter(|c| !c.is_empty()).collect();
        } else if kinds.is_empty() {
            match (missing.remove(&(section.clone(), key.clone())), cells[1]) {
                (None, "none") => {
                    let none = [format!("{section}.{key}=none")];
                    let unset = RunConfig::resolve(None, &[]).unwrap();
                    assert_eq!(RunConfig::resolve(None, &none).unwrap(), unset);
                }
                (Some(default), cell) => {
                    assert!(same(&default, cell), "{key} is {default}, not {cell}");
                }
                (None, cell) => panic!("{section}.{key} has no default, not {cell}"),
            }
        } else {
            for (kind, cell) in kinds.iter().zip(&cells[1..]) {
                let default = resolved(kind).remove(&(section.clone(), key.clone()));
                let same = default.as_ref().map_or(*cell == "none", |found| same(found, cell));
                assert!(same, "{key} of the {kind} is {default:?}, not {cell}");
            }
            of_kinds.push(key);
        }
    }
    assert!(missing.is_empty(), "not documented: {:?}", missing.keys());
    for kind in ["f-vae", "th-vae", "dh-vae", "tdh-vae"] {
        let usual = resolved("h-vae");
        let own = resolved(kind).into_iter().filter(|(key, value)| usual.get(key) != Some(value));
        for ((_, key), value) in own.filter(|((_, key), _)| key != "kind") {
            assert!(of_kinds.contains(&key), "{key} = {value} of the {kind} is not documented");
        }
    }
}
