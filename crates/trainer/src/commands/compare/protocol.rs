//! What the scores of several runs were measured on, and whether they can be compared.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use hvae_data::{ImageSet, Split, images::Images};

use crate::commands::context::Context;
use crate::config::RunConfig;
use crate::evaluation::likelihood;
use crate::run::dir::RunDir;
use crate::run::environment::Environment;

/// Digits of a SHA-256 that are shown.
const DIGITS: usize = 12;

/// What the scores of a run depend on besides its weights.
pub(super) struct Basis {
    run: String,
    dataset: String,
    test: ImageSet,
    training: String,
    training_sha256: Option<String>,
    likelihood: String,
}

impl Basis {
    /// The protocol of `run`, with its test images.
    pub(super) fn of(run: &RunDir, config: &RunConfig, cx: &Context) -> Result<(Self, Images)> {
        let test = cx.images_of(run, &config.data, Split::Test)?;
        let images = match (config.data.train_images, config.data.validation_images) {
            (Some(count), _) => format!("the first {count}"),
            (None, Some(held_out)) => format!("all but the last {held_out}"),
            (None, None) => "all".to_owned(),
        };
        let basis = Self {
            run: run.path().display().to_string(),
            dataset: config.data.dataset.to_string(),
            test: test.set().clone(),
            training: format!("{images} training images of {}", config.data.dataset),
            training_sha256: Environment::of(run)?.map(|then| then.images_sha256),
            likelihood: likelihood::protocol(&config.model, config.data.binarise),
        };
        Ok((basis, test))
    }
}

/// How the runs differ in what their scores depend on, as warnings.
pub(super) fn differences(bases: &[Basis]) -> Result<Vec<String>> {
    let Some((first, others)) = bases.split_first() else { return Ok(Vec::new()) };
    for other in others {
        let pixels = first.test.bytes().len().min(other.test.bytes().len());
        if first.test.bytes()[..pixels] != other.test.bytes()[..pixels] {
            bail!(
                "{} is tested on {} and {} on {}: with different test images no score can be \
                 compared. Compare runs of one data set",
                first.run,
                first.dataset,
                other.run,
                other.dataset
            );
        }
    }
    let count = |basis: &Basis| format!("{} test images", basis.test.len());
    let likelihood = |basis: &Basis| basis.likelihood.clone();
    let mut found = vec![
        differ(bases, count, "scores are means over different numbers of test images"),
        differ(bases, likelihood, "ELBO and NLL of different likelihoods cannot be compared"),
    ];
    let hashes: BTreeSet<_> = bases.iter().map(|basis| &basis.training_sha256).collect();
    if hashes.len() > 1 || hashes.contains(&None) {
        let several = hashes.iter().filter(|hash| hash.is_some()).count() > 1;
        let training = |basis: &Basis| match &basis.training_sha256 {
            Some(hash) if several => {
                let start = hash.get(..DIGITS).unwrap_or(hash);
                format!("{}, sha256 {start}", basis.training)
            }
            _ => basis.training.clone(),
        };
        found.push(differ(bases, training, "the models were trained on different images"));
    }
    Ok(found.into_iter().flatten().collect())
}

/// `consequence`, and which runs have which `text`, if they differ.
fn differ(bases: &[Basis], text: impl Fn(&Basis) -> String, consequence: &str) -> Option<String> {
    let groups = groups(bases.iter().map(|basis| (basis.run.as_str(), text(basis))));
    let each = groups.iter().map(|(text, runs)| format!("{text} ({})", runs.join(", ")));
    let each = each.collect::<Vec<_>>().join("; ");
    (groups.len() > 1).then(|| format!("{consequence}: {each}"))
}

/// `what: text` if the text is the same for all runs, else a line for each text with its runs.
pub(super) fn lines<'a>(what: &str, texts: impl Iterator<Item = (&'a str, String)>) -> Vec<String> {
    let groups = groups(texts);
    let line = |(text, runs): &(String, Vec<&str>)| match groups.len() {
        1 => format!("{what}: {text}"),
        _ => format!("{what} of {}: {text}", runs.join(", ")),
    };
    groups.iter().map(line).collect()
}

/// The distinct texts in the order of their first appearance, each with its runs.
fn groups<'a>(texts: impl Iterator<Item = (&'a str, String)>) -> Vec<(String, Vec<&'a str>)> {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for (run, text) in texts {
        match groups.iter_mut().find(|(other, _)| *other == text) {
            Some((_, runs)) => runs.push(run),
            None => groups.push((text, vec![run])),
        }
    }
    groups
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;
    use hvae_data::synthetic::synthetic;

    fn basis(run: &str, test: ImageSet) -> Basis {
        Basis {
            run: run.to_owned(),
            dataset: "synthetic".to_owned(),
            test,
            training: "all training images of synthetic".to_owned(),
            training_sha256: None,
            likelihood: "Bernoulli decoder".to_owned(),
        }
    }

    fn images(count: usize) -> ImageSet {
        synthetic(count, 1, Split::Test)
    }

    #[test]
    fn runs_that_agree_have_one_protocol_and_no_warning() {
        // The training images of one run are not known.
        let mut a = basis("a", images(20));
        a.training_sha256 = Some("0123456789abcdef".to_owned());
        assert!(differences(&[a, basis("b", images(20))]).unwrap().is_empty());
        assert!(differences(&[]).unwrap().is_empty());
        // The same images under two names.
        let [c, mut d] = ["c", "d"].map(|run| {
            let training_sha256 = Some("0123456789abcdef".to_owned());
            Basis { training_sha256, ..basis(run, images(20)) }
        });
        d.training = "all training images of copy.npz".to_owned();
        assert!(differences(&[c, d]).unwrap().is_empty());
        let texts = [("a", "x".to_owned()), ("b", "x".to_owned())];
        assert_eq!(lines("FID", texts.into_iter()), ["FID: x"]);
    }

    #[test]
    fn every_difference_is_reported_with_its_runs() {
        let (mut a, mut b, c) =
            (basis("a", images(20)), basis("b", images(30)), basis("c", images(20)));
        a.training_sha256 = Some("0".repeat(64));
        b.training_sha256 = Some("1".repeat(64));
        b.likelihood = "Gaussian decoder".to_owned();
        let found = differences(&[a, b, c]).unwrap();
        assert_eq!(found.len(), 3);
        for (warning, parts) in found.iter().zip([
            ["20 test images (a, c)", "30 test images (b)"],
            ["Bernoulli decoder (a, c)", "Gaussian decoder (b)"],
            ["sha256 000000000000 (a)", "sha256 111111111111 (b)"],
        ]) {
            assert!(parts.iter().all(|part| warning.contains(part)), "{warning}");
        }
        let texts = ["x", "y", "x"].map(str::to_owned);
        let found = lines("NLL", ["a", "b", "c"].into_iter().zip(texts));
        assert_eq!(found, ["NLL of a, c: x", "NLL of b: y"]);
    }
}
