//! The HTML page of `hvae report`: self-contained, without scripts or external resources.

mod chart;
mod curves;
mod shown;
mod tables;

use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use minijinja::value::Serde;
use minijinja::{Environment as Templates, context};
use serde::Serialize;
use serde_json::Value;

use crate::run::{environment::Environment, summary::Summary};

pub(crate) use chart::Chart;
pub(crate) use curves::{bars, scatter};
pub(crate) use shown::{duration, number, percent, shown};
pub(crate) use tables::{Table, Tile};

/// All values are escaped.
const TEMPLATE: &str = include_str!("page.html");
/// What pages are made of.
const PIECES: &str = include_str!("pieces.html");
const STYLE: &str = include_str!("page.css");

#[derive(Debug, Serialize)]
pub(crate) struct Picture {
    title: String,
    caption: String,
    /// A PNG as a data URI.
    uri: String,
}

impl Picture {
    pub(crate) fn new(title: &str, caption: &str, bytes: &[u8]) -> Self {
        let data = base64::engine::general_purpose::STANDARD.encode(bytes);
        let uri = format!("data:image/png;base64,{data}");
        Self { title: title.to_owned(), caption: caption.to_owned(), uri }
    }
}

/// Content of a page in addition to a run's summary.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    /// What training drew.
    pub(crate) pictures: Vec<Picture>,
    /// What latents decode to, and where they are.
    pub(crate) latents: Vec<Picture>,
    pub(crate) planes: Vec<Chart>,
    /// Number of parameters, if the model can be loaded.
    pub(crate) parameters: Option<usize>,
    /// What is missing from the page, and why.
    pub(crate) notes: Vec<String>,
}

pub(crate) fn render(
    summary: &Summary,
    environment: Option<&Environment>,
    extras: &Extras,
) -> Result<String> {
    let environment = environment.map(|e| pairs(&serde_json::to_value(e).unwrap_or_default()));
    let (sections, scores) = (curves::all(summary), tables::scores(summary));
    let last = tables::last_epoch(summary);
    let Extras { pictures, latents, planes, parameters, notes } = extras;
    let contents = [("Pictures", !pictures.is_empty())]
        .into_iter()
        .chain(sections.iter().map(|section| (section.title, true)))
        .chain([
            ("Latent space", !latents.is_empty() || !planes.is_empty()),
            ("Scores", !scores.is_empty()),
            ("Last epoch", !last.is_empty()),
            ("Configuration", true),
            ("Environment", true),
        ]);
    let contents: Vec<&str> = contents.filter(|(_, is_there)| *is_there).map(|(t, _)| t).collect();
    let page = context! {
        name => Path::new(&summary.path).file_name().map(|n| n.to_string_lossy().into_owned()),
        kind => summary.config.model.kind.name(),
        dataset => summary.config.data.dataset.to_string(),
        seed => summary.config.training.seed,
        done => summary.done(),
        latest => &summary.latest,
        best => &summary.best,
        tiles => Serde(tables::tiles(summary, *parameters)),
        contents,
        sections => Serde(sections),
        pictures => Serde(pictures),
        latents => Serde(latents),
        planes => Serde(planes),
        scores => Serde(scores),
        last => Serde(last),
        notes,
        config => summary.config.to_toml()?,
        environment,
    };
    fill(TEMPLATE, page)
}

/// A page: `template` with these values, and with the style and the pieces of all pages.
pub(crate) fn fill(template: &str, values: minijinja::Value) -> Result<String> {
    let mut templates = Templates::new();
    templates.set_auto_escape_callback(|_| minijinja::AutoEscape::Html);
    templates.add_template("pieces", PIECES).context("the built-in pieces")?;
    templates.add_template("page", template).context("the built-in template")?;
    let page = templates.get_template("page").context("the built-in template")?;
    let (version, commit) = (env!("CARGO_PKG_VERSION"), crate::COMMIT);
    let all = context! { style => STYLE, version, commit, ..values };
    page.render(all).context("writing the page")
}

/// Names and values of an object's fields.
fn pairs(value: &Value) -> Vec<Vec<String>> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "unknown".to_owned(),
        other => other.to_string(),
    };
    let fields = value.as_object().into_iter().flatten();
    fields.map(|(key, value)| vec![key.clone(), text(value)]).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;
    use crate::config::RunConfig;
    use crate::run::RunDir;

    #[test]
    fn file_contents_are_escaped() {
        let root = tempfile::tempdir().unwrap();
        let run = RunDir::create(&root.path().join("a<b>&c"), &RunConfig::default(), None).unwrap();
        let summary = Summary::of(&run).unwrap();
        let extras = Extras {
            notes: vec!["<script>alert(1)</script>".to_owned()],
            pictures: vec![Picture::new("Dots", "a picture", b"not really")],
            ..Extras::default()
        };
        let page = render(&summary, None, &extras).unwrap();
        assert!(page.contains("a&lt;b&gt;&amp;c") && !page.contains("<script"), "{page}");
        let decoded = page.replace("&#x2f;", "/").replace("&#x3d;", "=");
        assert!(decoded.contains("data:image/png;base64,bm90IHJlYWxseQ=="), "{page}");
    }
}
