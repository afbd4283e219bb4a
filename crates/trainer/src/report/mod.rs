//! A run as one HTML page with everything in it: no script, no style and no picture from elsewhere.

mod curves;

use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use minijinja::{Environment as Templates, context};
use serde_json::Value;

use crate::figures::plot;
use crate::figures::plot::Figure;
use crate::run::environment::Environment;
use crate::run::metrics::EpochMetrics;
use crate::run::summary::Summary;

pub use curves::scatter;

/// Everything that is escaped comes from files; only pictures made here are not.
const TEMPLATE: &str = include_str!("page.html");

/// A picture with what it shows.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Its heading.
    pub title: String,
    /// A sentence below it.
    pub caption: String,
    /// A PNG as a data URI.
    uri: String,
}

impl Picture {
    /// The PNG in `bytes`.
    pub fn new(title: &str, caption: &str, bytes: &[u8]) -> Self {
        let data = base64::engine::general_purpose::STANDARD.encode(bytes);
        let uri = format!("data:image/png;base64,{data}");
        Self { title: title.to_owned(), caption: caption.to_owned(), uri }
    }

    /// The PNG file `path`; none if there is none.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn of_file(title: &str, caption: &str, path: &Path) -> Result<Option<Self>> {
        if !path.is_file() {
            return Ok(None);
        }
        let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        Ok(Some(Self::new(title, caption, &bytes)))
    }
}

/// What a page shows besides what every run's folder holds.
#[derive(Debug, Default)]
pub struct Extras {
    /// Pictures, in order.
    pub pictures: Vec<Picture>,
    /// Figures with their headings, in order.
    pub figures: Vec<(String, Figure)>,
    /// What had to be left out, and why.
    pub notes: Vec<String>,
}

/// The page about a run.
///
/// # Errors
///
/// When a figure cannot be drawn.
pub fn render(
    summary: &Summary,
    environment: Option<&Environment>,
    extras: &Extras,
) -> Result<String> {
    let epochs = summary.epochs.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
    let mut figures = curves::all(&epochs, summary.config.data.watched());
    figures.extend(extras.figures.iter().map(|(title, figure)| (title.clone(), figure.clone())));
    let figures = figures
        .iter()
        .map(|(title, figure)| {
            Ok(context! {
                title => title,
                svg => inline(&plot::svg(figure)?),
                single => figure.columns == 1,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let environment = environment.map(|e| pairs(&serde_json::to_value(e).unwrap_or_default()));
    let last: Vec<Vec<String>> = summary
        .epochs
        .last()
        .map(EpochMetrics::scalars)
        .unwrap_or_default()
        .into_iter()
        .map(|(name, value)| vec![name, shown(value)])
        .collect();
    let pictures: Vec<_> = extras
        .pictures
        .iter()
        .map(|p| context! { title => p.title.as_str(), caption => p.caption.as_str(), uri => p.uri.as_str() })
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
        last => last,
        figures => figures,
        pictures => pictures,
        notes => extras.notes.clone(),
        config => summary.config.to_toml()?,
        environment => environment,
        version => env!("CARGO_PKG_VERSION"),
        commit => crate::COMMIT,
    })
    .context("writing the page")
}

/// An SVG picture as it stands inside a page: its own header would be of no use there, and its
/// size follows the page.
fn inline(svg: &str) -> String {
    let body = svg.find("<svg").map_or(svg, |at| &svg[at..]);
    body.replacen("<svg ", "<svg role=\"img\" ", 1)
}

/// The fields of an object as text.
fn pairs(value: &Value) -> Vec<Vec<String>> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "unknown".to_owned(),
        other => other.to_string(),
    };
    let fields = value.as_object().into_iter().flatten();
    fields.map(|(key, value)| vec![key.clone(), text(value)]).collect()
}

/// A number with seven digits, which tells a cosine from 1; very small and large ones with four.
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
    fn what_comes_from_files_is_escaped_and_nothing_is_fetched() {
        let root = tempfile::tempdir().unwrap();
        let run = RunDir::create(&root.path().join("a<b>&c"), &RunConfig::default()).unwrap();
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
        for fetched in ["src=\"http", "href=\"http", "url(", "@import", "<link", "<iframe"] {
            assert!(!page.contains(fetched), "{fetched}");
        }
    }
}
