use std::path::Path;

use anyhow::Result;
use clap::Args;
use hvae_data::{Split, images::Images};
use hvae_runtime::terminal;
use hvae_scores::FeatureChoice;
use serde::Serialize;

use crate::api::trained::Trained;
use crate::cli::scoring::{COUNT, NLL_IMAGES, NLL_SAMPLES, ScoreArgs};
use crate::commands::context::{Context, Ended, Run};
use crate::commands::output::{JsonArgs, require, write_json};
use crate::commands::trained::RunArgs;
use crate::evaluation::scores::{ScoreSettings, Scores, Scoring};
use crate::run::choice::CheckpointChoice;
use crate::run::dir::RunDir;

/// All scores of a run: reconstruction, likelihood, FID, KID, precision and recall
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae eval checkpoints/h-vae-001
  hvae eval checkpoints/h-vae-001 --features inception
  hvae eval checkpoints/h-vae-001 --nll-images 10000 --nll-samples 1000 --json scores.json
  hvae eval checkpoints/h-vae-001 --count 500 --nll-images 20      (a quick estimate)

Prints a table and writes all scores to --json FILE, by default to RUN/evaluation.json or, with
flags other than the defaults, to a file named after them, such as
RUN/evaluation-count500-nll20x200.json.
A score that cannot be computed, for example because there are too few images, is -, with the reason
below the table. The real images are the
run's test images; the Gaussian mixture is fitted to latents of its training images.")]
pub struct Eval {
    /// Sizes of the estimates
    #[command(flatten)]
    scores: ScoreArgs,
    /// Seed of all samples
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    json: JsonArgs,
}

impl Run for Eval {
    fn run(self, cx: &Context) -> Result<Ended> {
        let path = RunDir::open(&self.run.folder)?.path().join(self.file_name());
        self.json.require()?;
        let can_write = self.json.is_given() || may_write(&path);
        let trained = self.run.load(cx)?;
        let test = trained.images(Split::Test, cx)?;
        let found = score(&trained, &test, &self.scores, self.seed, cx)?;
        let (run, checkpoint) = (&found.run, &found.checkpoint);
        terminal::result(&format!("{run}, {checkpoint} checkpoint\n{}", found.scores));
        if self.json.is_given() {
            self.json.write(&found)?;
        } else if can_write {
            write_json(&path, &found)?;
            terminal::line(&format!("written to {}", path.display()));
        }
        Ok(Ended::Done)
    }
}

impl Eval {
    /// A name that says how the scores differ from those by default, so that a quick estimate does
    /// not replace a thorough one.
    fn file_name(&self) -> String {
        let ScoreArgs { features, count, nll_images, nll_samples } = &self.scores;
        let (features, seed) = (&features.features, self.seed);
        let other_nll = (*nll_images, *nll_samples) != (NLL_IMAGES, NLL_SAMPLES);
        let other_features = *features != FeatureChoice::MnistClassifier;
        let parts = [
            Some("evaluation".to_owned()),
            (self.run.checkpoint != CheckpointChoice::Latest)
                .then(|| self.run.checkpoint.to_string()),
            other_features.then(|| format!("features-{}", features.name())),
            (*count != COUNT).then(|| format!("count{count}")),
            other_nll.then(|| format!("nll{nll_images}x{nll_samples}")),
            (seed != 0).then(|| format!("seed{seed}")),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("-") + ".json"
    }
}

/// Whether the file by default can be written; a warning if not.
fn may_write(path: &Path) -> bool {
    let writable = require(path);
    if let Err(error) = &writable {
        terminal::warning(&format!("scores are only printed: {error:#}; see --json"));
    }
    writable.is_ok()
}

/// The scores of a run as they are stored.
#[derive(Debug, Serialize)]
pub(super) struct RunScores {
    run: String,
    checkpoint: String,
    /// Steps that the weights were trained for.
    step: usize,
    commit: &'static str,
    #[serde(flatten)]
    pub(super) scores: Scores,
}

/// Scores `trained` on its `test` images.
pub(super) fn score(
    trained: &Trained,
    test: &Images,
    args: &ScoreArgs,
    seed: u64,
    cx: &Context,
) -> Result<RunScores> {
    let Trained { run, checkpoint, step, model, config, phases, device } = trained;
    let scoring = Scoring {
        model,
        phases,
        config,
        test,
        extractor: &args.features.extractor(device)?,
        settings: ScoreSettings {
            count: args.count,
            nll_images: args.nll_images,
            nll_samples: args.nll_samples,
            batch: args.features.batch,
            seed,
        },
    };
    Ok(RunScores {
        run: run.path().display().to_string(),
        checkpoint: checkpoint.to_string(),
        step: *step,
        commit: crate::COMMIT,
        scores: scoring.run(|| trained.images(Split::Train, cx))?,
    })
}
