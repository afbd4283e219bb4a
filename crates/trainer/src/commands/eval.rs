//! `hvae eval`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::cli::scoring::{COUNT, NLL_IMAGES, NLL_SAMPLES, ScoreArgs};
use crate::commands::context::{Context, Ended, Run};
use crate::commands::output::write_json;
use crate::commands::trained::Trained;
use crate::evaluation::scores::{ScoreSettings, Scores, Scoring};
use crate::run::dir::{CheckpointChoice, RunDir};
use hvae_data::Split;
use hvae_data::images::Images;
use hvae_runtime::{files, terminal};
use hvae_scores::FeatureChoice;

/// All scores of a run: reconstruction, likelihood, FID, KID, precision and recall
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae eval checkpoints/h-vae-001
  hvae eval checkpoints/h-vae-001 --features inception
  hvae eval checkpoints/h-vae-001 --nll-images 10000 --nll-samples 1000 --json scores.json
  hvae eval checkpoints/h-vae-001 --count 500 --nll-images 20      (a quick estimate)

Prints a table and writes all scores to RUN/evaluation.json, or, with flags other than the defaults,
to a file named after them, such as RUN/evaluation-count500-nll20x200.json. The real images are the
run's test images; the Gaussian mixture is fitted to latents of its training images.")]
pub struct Eval {
    /// A run's folder
    run: PathBuf,
    /// Sizes of the estimates
    #[command(flatten)]
    scores: ScoreArgs,
    /// Seed of all samples
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Checkpoint of the run
    #[arg(long, value_enum, default_value_t = CheckpointChoice::Latest)]
    checkpoint: CheckpointChoice,
    /// Output file [default: in the run's folder, named after the flags that are not the defaults]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Run for Eval {
    fn run(self, cx: &Context) -> Result<Ended> {
        let path = self.json.clone().unwrap_or_else(|| self.run.join(self.file_name()));
        RunDir::open(&self.run)?;
        files::require_writable(&path)?;
        let trained = Trained::load(&self.run, self.checkpoint, cx)?;
        let test = trained.images(Split::Test, cx)?;
        let found = score(&trained, &test, &self.scores, self.seed, cx)?;
        let (run, checkpoint) = (&found.run, found.checkpoint);
        terminal::result(&format!("{run}, {checkpoint} checkpoint\n{}", found.scores));
        write_json(&path, &found)?;
        terminal::line(&format!("written to {}", path.display()));
        Ok(Ended::Done)
    }
}

impl Eval {
    /// A name that says how the scores differ from those by default, so that a quick estimate does
    /// not replace a thorough one.
    fn file_name(&self) -> String {
        let scores = &self.scores;
        let mut name = "evaluation".to_owned();
        let mut add = |is_default: bool, part: String| {
            if !is_default {
                name += "-";
                name += &part;
            }
        };
        add(self.checkpoint == CheckpointChoice::Latest, "best".to_owned());
        let features = &scores.features.features;
        add(*features == FeatureChoice::MnistClassifier, format!("features-{}", features.name()));
        add(scores.count == COUNT, format!("count{}", scores.count));
        let is_default = (scores.nll_images, scores.nll_samples) == (NLL_IMAGES, NLL_SAMPLES);
        add(is_default, format!("nll{}x{}", scores.nll_images, scores.nll_samples));
        add(self.seed == 0, format!("seed{}", self.seed));
        name + ".json"
    }
}

/// The scores of a run as they are stored.
#[derive(Debug, Serialize)]
pub(super) struct RunScores {
    run: String,
    checkpoint: &'static str,
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
    let Trained { run, checkpoint, model, config, phases, device } = trained;
    let scoring = Scoring {
        model,
        phases,
        config,
        test,
        extractor: &args.features.extractor(device)?,
        settings: ScoreSettings {
            count: args.count as usize,
            nll_images: args.nll_images as usize,
            nll_samples: args.nll_samples as usize,
            batch: args.features.batch(),
            seed,
        },
    };
    Ok(RunScores {
        run: run.path().display().to_string(),
        checkpoint: checkpoint.name(),
        commit: crate::COMMIT,
        scores: scoring.run(|| trained.images(Split::Train, cx))?,
    })
}
