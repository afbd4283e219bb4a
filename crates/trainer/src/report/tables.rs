//! The numbers of the page.

use serde::Serialize;
use serde_json::Value;

use crate::report::shown::{duration, number, percent, thousands};
use crate::run::metrics::{EpochMetrics, PhaseStats};
use crate::run::summary::Summary;

/// Where there is no number.
const NONE: &str = "–";

/// A number at the top of the page.
#[derive(Debug, Serialize)]
pub(crate) struct Tile {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    /// Its unit, or where it is from.
    pub(crate) note: String,
}

/// A table whose first column has the names of the rows.
#[derive(Debug, Serialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
    pub(crate) note: Option<String>,
}

/// The numbers that people look at first.
pub(super) fn tiles(summary: &Summary, parameters: Option<usize>) -> Vec<Tile> {
    let config = &summary.config;
    let monitor = config.data.monitor();
    let losses = summary.last(|epoch| epoch.test);
    let measured = if losses.is_some() { monitor } else { "training" };
    let losses = losses.or_else(|| summary.last(|epoch| Some(epoch.train)));
    let latents = summary.last(|epoch| epoch.latents.clone());
    let (done, all) = (summary.done(), config.training.epochs);
    let speed = summary.last(|epoch| Some(epoch.images_per_second));
    let layers = [config.data.shape().pixels()].into_iter();
    let layers = layers.chain(config.model.hidden.iter().copied()).chain([config.model.latent]);
    let layers: Vec<String> = layers.map(|units| units.to_string()).collect();
    let (fid, fid_note) = fid(summary);
    let tile = |name, value: Option<String>, note: String| Tile {
        name,
        value: value.unwrap_or_else(|| NONE.to_owned()),
        note,
    };
    vec![
        tile("ELBO", losses.map(|l| number(l.elbo)), format!("nats per image, {measured}")),
        tile(
            "Reconstruction",
            losses.map(|l| number(l.reconstruction_error)),
            format!("squared error per image, {measured}"),
        ),
        tile("KL", losses.map(|l| number(l.divergence)), format!("nats per image, {measured}")),
        tile("Active units", latents.map(|l| l.to_string()), "latents in use".to_owned()),
        tile("FID", fid.map(number), fid_note),
        tile(
            "Epochs",
            Some(format!("{done} of {all}")),
            if done < all { "not finished" } else { "finished" }.to_owned(),
        ),
        tile(
            "Time",
            (done > 0).then(|| duration(summary.seconds())),
            speed.map_or(String::new(), |speed| format!("{} images/s", thousands(speed))),
        ),
        tile("Parameters", parameters.map(|n| thousands(n as f64)), layers.join(" – ")),
    ]
}

/// FID of samples of the prior, by the defaults of `hvae eval` or else by other flags.
fn fid(summary: &Summary) -> (Option<f64>, String) {
    let found = summary.scores.iter().find_map(|(file, scores)| {
        let fid = scores.pointer("/prior/fid")?.as_f64()?;
        let flags = file.trim_start_matches("evaluation").trim_end_matches(".json");
        Some((fid, flags.replace('-', " ")))
    });
    match found {
        Some((fid, flags)) if flags.is_empty() => (Some(fid), "lower is better".to_owned()),
        Some((fid, flags)) => (Some(fid), format!("lower is better; with{flags}")),
        None => (None, "not evaluated: hvae eval".to_owned()),
    }
}

/// The last epoch.
pub(super) fn last_epoch(summary: &Summary) -> Vec<Table> {
    let Some(last) = summary.epochs.last() else { return Vec::new() };
    let tables = [losses(last, summary.config.data.monitor()), phases(last), others(last)];
    tables.into_iter().filter(|table| !table.rows.is_empty()).collect()
}

fn losses(last: &EpochMetrics, monitor: &str) -> Table {
    let row = |name: &str, train: f64, test: Option<f64>| {
        vec![name.to_owned(), number(train), test.map_or(NONE.to_owned(), number)]
    };
    let (train, test) = (&last.train, &last.test);
    Table {
        title: "Losses, means over images".to_owned(),
        head: vec![String::new(), "training".to_owned(), monitor.to_owned()],
        rows: vec![
            row(
                "Reconstruction error, squared",
                train.reconstruction_error,
                test.map(|t| t.reconstruction_error),
            ),
            row("KL divergence, nats", train.divergence, test.map(|t| t.divergence)),
            row("ELBO, nats", train.elbo, test.map(|t| t.elbo)),
        ],
        note: Some(format!(
            "training: over the epoch, while the model learns; {monitor}: after it, with averaged \
             weights if there are any"
        )),
    }
}

fn phases(last: &EpochMetrics) -> Table {
    let row = |(name, stats): (&str, &Option<PhaseStats>)| {
        let stats = stats.as_ref()?;
        let residual = stats.residual.map_or(NONE.to_owned(), number);
        let name = name.replace('_', ", ");
        let not_finite = stats.not_finite.to_string();
        Some(vec![name, number(stats.sweeps), percent(stats.converged), residual, not_finite])
    };
    let head = ["phase", "sweeps", "converged", "residual", "not finite"];
    Table {
        title: "Equilibria, means over samples".to_owned(),
        head: head.map(str::to_owned).into(),
        rows: last.phases.named().into_iter().filter_map(row).collect(),
        note: None,
    }
}

fn others(last: &EpochMetrics) -> Table {
    let rows = [
        ("Loop gain, encoder", last.loop_gains.map(|g| number(g.encoder))),
        ("Loop gain, decoder", last.loop_gains.map(|g| number(g.decoder))),
        ("Cosine of EP and unrolled gradient", last.gradient_check.map(|c| cosine(c.cosine))),
        ("The same, worst parameter", last.gradient_check.map(|c| cosine(c.worst_cosine))),
        ("Their ratio of norms", last.gradient_check.map(|c| number(c.norm_ratio))),
        ("Gradient norm", Some(number(last.gradient_norm))),
        ("Images dropped from gradients", Some(last.dropped.to_string())),
        ("Learning rate", Some(number(last.learning_rate))),
        ("Steps in all", Some(thousands(last.step as f64))),
        ("Training images per second", Some(thousands(last.images_per_second))),
        ("Time of the epoch", Some(duration(last.seconds))),
    ];
    let rows = rows.into_iter().filter_map(|(name, value)| Some(vec![name.to_owned(), value?]));
    Table {
        title: "Gradients and speed".to_owned(),
        head: Vec::new(),
        rows: rows.collect(),
        note: None,
    }
}

/// Cosines near 1 differ in late digits.
fn cosine(value: f64) -> String {
    format!("{value:.6}")
}

/// What `hvae eval` found: of each of its files, the losses and the distances.
pub(super) fn scores(summary: &Summary) -> Vec<Table> {
    let tables = summary.scores.iter().flat_map(|(file, scores)| {
        let file = Evaluation { file, scores };
        [file.losses(), file.distances()]
    });
    tables.filter(|table| !table.rows.is_empty()).collect()
}

/// A file of `hvae eval`.
struct Evaluation<'a> {
    file: &'a str,
    scores: &'a Value,
}

impl Evaluation<'_> {
    fn number(&self, path: &str) -> Option<f64> {
        self.scores.pointer(path)?.as_f64()
    }

    fn text(&self, path: &str) -> Option<&str> {
        self.scores.pointer(path)?.as_str()
    }

    fn losses(&self) -> Table {
        let plain = |path: &str| self.number(path).map(number);
        let latents = self.scores.pointer("/latents/kl").and_then(Value::as_array);
        let all = latents.map_or(0, Vec::len);
        let active = plain("/latents/active_units").map(|active| format!("{active} of {all}"));
        let likelihood = || {
            let mean = self.number("/likelihood/nll/mean")?;
            let error = self.number("/likelihood/nll/standard_error")?;
            Some(format!("{} ± {}", number(mean), number(error)))
        };
        let rows = [
            ("Reconstruction error", plain("/reconstruction_error")),
            ("KL divergence, nats", plain("/kl")),
            ("ELBO, nats", plain("/elbo")),
            ("Active units", active),
            ("Negative log-likelihood, nats", likelihood()),
        ];
        let rows = rows.into_iter().filter_map(|(name, value)| Some(vec![name.to_owned(), value?]));
        let step = self.number("/step").map_or(String::new(), |step| format!(", step {step}"));
        let checkpoint = self.text("/checkpoint").unwrap_or("unknown");
        Table {
            title: format!("Likelihood, {checkpoint} checkpoint{step}"),
            head: Vec::new(),
            rows: rows.collect(),
            note: Some(self.note(&["/loss_protocol", "/likelihood_protocol"])),
        }
    }

    fn distances(&self) -> Table {
        let row = |(name, path): (&str, &str)| {
            let found = ["prior", "mixture"].map(|of| self.number(&format!("/{of}/{path}")));
            let shown = found.map(|value| value.map_or(NONE.to_owned(), number));
            let is_there = found.iter().any(Option::is_some);
            is_there.then(|| [name.to_owned()].into_iter().chain(shown).collect())
        };
        let rows = [
            ("FID", "fid"),
            ("KID", "kid/mean"),
            ("Precision", "precision"),
            ("Recall", "recall"),
            ("Density", "density"),
            ("Coverage", "coverage"),
        ];
        Table {
            title: "Samples against test images".to_owned(),
            head: ["", "prior", "mixture"].map(str::to_owned).into(),
            rows: rows.into_iter().filter_map(row).collect(),
            note: Some(self.note(&["/distance_protocol"])),
        }
    }

    /// How the numbers were found; and, in the last note, which are missing.
    fn note(&self, protocols: &[&str]) -> String {
        let missing = self.scores.get("missing").and_then(Value::as_object).into_iter().flatten();
        let missing = missing
            .map(|(name, why)| format!("no {name}: {}", why.as_str().unwrap_or("unknown")))
            .filter(|_| protocols.contains(&"/distance_protocol"));
        let protocols = protocols.iter().filter_map(|path| self.text(path)).map(str::to_owned);
        let file = [self.file.to_owned()];
        file.into_iter().chain(protocols).chain(missing).collect::<Vec<_>>().join(". ")
    }
}
