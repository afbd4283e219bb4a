use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use hvae_data::{Split, images::Images};
use hvae_runtime::{files, terminal};
use hvae_scores::FeatureChoice;
use serde::Serialize;

use crate::api::trained::Trained;
use crate::cli::scoring::{COUNT, NLL_IMAGES, NLL_SAMPLES, ScoreArgs};
use crate::commands::context::{Context, Ended, Run};
use crate::commands::output::write_json;
use crate::commands::trained::RunArgs;
use crate::evaluation::scores::{ScoreSettings, Scores, Scoring};
use crate::run::dir::{CheckpointChoice, RunDir};

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
    /// Sizes of the estimates
    #[command(flatten)]
    scores: ScoreArgs,
    /// Seed of all samples
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    run: RunArgs,
    /// Output file [default: in the run's folder, named after the flags that are not the defaults]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Run for Eval {
    fn run(self, cx: &Context) -> Result<Ended> {
        let path = self.json.clone().unwrap_or_else(|| self.run.folder.join(self.file_name()));
        RunDir::open(&self.run.folder)?;
        files::require_writable(&path)?;
        let trained = self.run.load(cx)?;
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
        let ScoreArgs { features, count, nll_images, nll_samples } = &self.scores;
        let (features, seed) = (&features.features, self.seed);
        let other_nll = (*nll_images, *nll_samples) != (NLL_IMAGES, NLL_SAMPLES);
        let other_features = *features != FeatureChoice::MnistClassifier;
        let parts = [
            Some("evaluation".to_owned()),
            (self.run.checkpoint != CheckpointChoice::Latest).then(|| "best".to_owned()),
            other_features.then(|| format!("features-{}", features.name())),
            (*count != COUNT).then(|| format!("count{count}")),
            other_nll.then(|| format!("nll{nll_images}x{nll_samples}")),
            (seed != 0).then(|| format!("seed{seed}")),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("-") + ".json"
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
            count: args.count,
            nll_images: args.nll_images,
            nll_samples: args.nll_samples,
            batch: args.features.batch,
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
