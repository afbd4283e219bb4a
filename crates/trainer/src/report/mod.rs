//! The HTML page of `hvae report`: self-contained, without scripts or external resources.

mod curves;

use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use minijinja::{Environment as Templates, context};
use serde_json::Value;

use crate::{
    figures::plot::{self, Figure},
    run::{environment::Environment, metrics::EpochMetrics, summary::Summary},
};

pub(crate) use curves::scatter;

/// All values are escaped, except for the SVG that is drawn here.
const TEMPLATE: &str = include_str!("page.html");

#[derive(Debug)]
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
    pub(crate) pictures: Vec<Picture>,
    pub(crate) figures: Vec<(String, Figure)>,
    /// What is missing from the page, and why.
    pub(crate) notes: Vec<String>,
}

pub(crate) fn render(
    summary: &Summary,
    environment: Option<&Environment>,
    extras: &Extras,
) -> Result<String> {
    let curves = curves::all(&summary.epochs, summary.config.data.monitor());
    let figures = curves.iter().chain(&extras.figures).map(|(title, figure)| {
        let (svg, single) = (inline(&plot::svg(figure)?), figure.columns == 1);
        Ok(context! { title, svg, single })
    });
    let figures = figures.collect::<Result<Vec<_>>>()?;
    let last = summary.epochs.last().into_iter().flat_map(EpochMetrics::scalars);
    let last: Vec<_> = last.map(|(name, value)| vec![name, shown(value)]).collect();
    let environment = environment.map(|e| pairs(&serde_json::to_value(e).unwrap_or_default()));
    let pictures = extras.pictures.iter();
    let pictures: Vec<_> = pictures
        .map(|p| context! { title => &p.title, caption => &p.caption, uri => &p.uri })
        .collect();
    let mut templates = Templates::new();
    templates.set_auto_escape_callback(|_| minijinja::AutoEscape::Html);
    templates.add_template("page", TEMPLATE).context("the built-in template")?;
    let page = templates.get_template("page").context("the built-in template")?;
    page.render(context! {
        name => Path::new(&summary.path).file_name().map(|n| n.to_string_lossy().into_owned()),
        kind => summary.config.model.kind.name(),
        dataset => summary.config.data.dataset.to_string(),
        done => summary.done(),
        epochs => summary.config.training.epochs,
        seconds => format!("{:.0}", summary.seconds()),
        latest => summary.latest.clone(),
        best => summary.best.clone(),
        last,
        figures,
        pictures,
        notes => extras.notes.clone(),
        config => summary.config.to_toml()?,
        environment,
        version => env!("CARGO_PKG_VERSION"),
        commit => crate::COMMIT,
    })
    .context("writing the page")
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

/// An SVG element to embed in a page: without the XML header.
fn inline(svg: &str) -> String {
    let body = svg.find("<svg").map_or(svg, |at| &svg[at..]);
    body.replacen("<svg ", "<svg role=\"img\" ", 1)
}

/// A number with seven digits, which distinguish a cosine from 1; four if very small or large.
pub(crate) fn shown(value: f64) -> String {
    let size = value.abs();
    if value.fract() == 0.0 && size < 1e15 {
        format!("{value}")
    } else if (1e-3..1e6).contains(&size) {
        let before = size.log10().floor() as i32;
        let after = usize::try_from(6 - before).unwrap_or(0);
        format!("{value:.after$}")
    } else {
        format!("{value:.3e}")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;
    use crate::config::RunConfig;
    use crate::run::RunDir;

    #[test]
    fn numbers_have_seven_digits() {
        for (value, expected) in [
            (0.999_999_7, "0.9999997"),
            (-1_918.129_145_9, "-1918.129"),
            (3.0, "3"),
            (0.001_234_567_89, "0.001234568"),
            (1.5e-5, "1.500e-5"),
        ] {
            assert_eq!(shown(value), expected);
        }
    }

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
