//! What older versions of this program wrote, brought into the form of today.

use hvae_model::Kind;
use serde_json::{Map, Value, json};
use toml::Table;

use crate::images::SIDE;

/// Gain of a hidden layer over that of the one before it, from before it was a setting.
const HIDDEN_GAIN: f64 = 1.0;

/// Decay of averaged weights, from before they were usual.
const EMA_DECAY: f64 = 0.0;

/// What a tied network's ends were held at from before that was a setting: the gains of its layers.
const AMPLITUDES: [(&str, &str); 2] =
    [("image_amplitude", "visible_gain"), ("latent_amplitude", "latent_gain")];

fn kind(name: Option<&str>) -> Option<Kind> {
    Kind::ALL.into_iter().find(|known| Some(known.name()) == name)
}

/// A `state.json` without `ema_decay` is of a run without averaged weights; tied networks had no
/// amplitudes of their own. Format 1 had the best
/// checkpoint alone, or null; no sum of likelihoods, which were Gaussian; and no `hidden_gain`.
pub(super) fn upgrade_state(state: &mut Value) {
    let training = state.pointer_mut("/config/training").and_then(Value::as_object_mut);
    if let Some(training) = training {
        training.entry("ema_decay").or_insert(json!(EMA_DECAY));
    }
    if let Some(model) = state.pointer_mut("/config/model").and_then(Value::as_object_mut)
        && kind(model.get("kind").and_then(Value::as_str)).is_some_and(Kind::is_tied)
    {
        for (amplitude, gain) in AMPLITUDES {
            if let Some(gain) = model.get(gain).cloned() {
                model.entry(amplitude).or_insert(gain);
            }
        }
    }
    if state["format"] != 1 {
        return;
    }
    let best = match state["best"].take() {
        Value::Null => json!([]),
        one @ Value::Array(_) if one[0].is_number() => json!([one]),
        many => many,
    };
    state["best"] = best;
    if let Some(model) = state.pointer_mut("/config/model").and_then(Value::as_object_mut) {
        model.entry("hidden_gain").or_insert(json!(HIDDEN_GAIN));
    }
    let precision = state.pointer("/config/model/precision").and_then(Value::as_f64);
    if let Some(precision) = precision
        && let Some(sums) = state["sums"].as_object_mut()
        && !sums.contains_key("log_likelihood")
    {
        let sum = |sums: &Map<String, Value>, key| sums.get(key).and_then(Value::as_f64);
        let (images, error) = (sum(sums, "images"), sum(sums, "reconstruction_error"));
        let pixels = (SIDE * SIDE) as f64;
        let constant = 0.5 * pixels * (precision / (2.0 * std::f64::consts::PI)).ln();
        let likelihood = images.unwrap_or(0.0) * constant - 0.5 * precision * error.unwrap_or(0.0);
        sums.insert("log_likelihood".to_owned(), json!(likelihood));
    }
}

/// What must be set besides what a configuration says that the program wrote in full, as it does for
/// every run, before it knew these settings. Files that say little mean the defaults of today.
pub(crate) fn settings_before(config: &Table) -> Vec<String> {
    let has = |section: &str, key| {
        config.get(section).and_then(toml::Value::as_table).is_some_and(|s| s.contains_key(key))
    };
    let in_full =
        has("model", "latent_gain") && has("training", "batch_size") && has("ep", "tolerance");
    let mut lacked = vec![
        ("model", "hidden_gain", HIDDEN_GAIN.to_string()),
        ("model", "learned_amplitudes", false.to_string()),
        ("training", "ema_decay", EMA_DECAY.to_string()),
        // Without a reach all pixels are coupled, whatever a kind begins with today.
        ("model", "visible_reach", "none".to_owned()),
    ];
    let model = config.get("model");
    let of_model = |key| model.and_then(|model| model.get(key));
    let kind = kind(of_model("kind").and_then(toml::Value::as_str));
    if kind.is_some_and(Kind::is_tied) {
        let of_gain = |(amplitude, gain)| Some(("model", amplitude, of_model(gain)?.to_string()));
        lacked.extend(AMPLITUDES.into_iter().filter_map(of_gain));
    }
    let lacked = lacked.into_iter().filter(|(section, key, _)| in_full && !has(section, key));
    lacked.map(|(section, key, value)| format!("{section}.{key}={value}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;

    #[test]
    fn a_state_of_format_1_gets_what_it_lacks() {
        let mut state = json!({
            "format": 1,
            "best": [-3.5, 7],
            "sums": {"images": 2, "reconstruction_error": 30.0},
            "config": {"model": {"precision": 10.0}, "training": {"epochs": 3}},
        });
        upgrade_state(&mut state);
        assert_eq!(state["best"], json!([[-3.5, 7]]));
        assert_eq!(state["config"]["model"]["hidden_gain"], 1.0);
        assert_eq!(state["config"]["training"]["ema_decay"], 0.0);
        let found = state["sums"]["log_likelihood"].as_f64().unwrap();
        let expected = 2.0 * 392.0 * (10.0 / std::f64::consts::TAU).ln() - 5.0 * 30.0;
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        let model = json!({"kind": "tdh-vae", "visible_gain": 40.0, "latent_gain": 30.0});
        let mut tied = json!({"format": 2, "config": {"model": model}});
        upgrade_state(&mut tied);
        assert_eq!(tied["config"]["model"]["image_amplitude"], 40.0);
        assert_eq!(tied["config"]["model"]["latent_amplitude"], 30.0);
        let mut none = json!({"format": 1, "best": null});
        upgrade_state(&mut none);
        assert_eq!(none["best"], json!([]));
        let today = json!({"format": 2, "best": [[-3.5, 7]], "sums": {}});
        let mut same = today.clone();
        upgrade_state(&mut same);
        assert_eq!(same, today);
    }

    #[test]
    fn a_whole_configuration_had_none_of_what_it_lacks() {
        let settings = |text: &str| settings_before(&text.parse().unwrap());
        let whole =
            "[training]\nbatch_size = 128\n[ep]\ntolerance = 1e-3\n[model]\nlatent_gain = 30.0\n";
        let all = [
            "model.hidden_gain=1",
            "model.learned_amplitudes=false",
            "training.ema_decay=0",
            "model.visible_reach=none",
        ];
        assert_eq!(settings(whole), all);
        assert_eq!(settings(&format!("{whole}hidden_gain = 30.0\n")), all[1..]);
        let tied =
            format!("{whole}visible_gain = 40.0\nimage_amplitude = 20.0\nkind = \"th-vae\"\n");
        assert_eq!(settings(&tied)[4..], ["model.latent_amplitude=30.0"]);
        assert_eq!(settings(&tied.replace("th-vae", "h-vae")), all);
        assert!(settings("[training]\nbatch_size = 128\n[model]\nlatent_gain = 30.0\n").is_empty());
    }
}
