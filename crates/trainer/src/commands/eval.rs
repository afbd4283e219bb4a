//! `hvae eval`.

use anyhow::Result;
use burn::tensor::Device;
use hvae_runtime::{files, terminal};
use hvae_scores::FeatureChoice;
use serde::Serialize;

use crate::cli::Global;
use crate::commands::fid::{extractor, write_json};
use crate::commands::{Trained, load, test_images, training_images};
use crate::evaluation::args::{COUNT, EvalArgs, NLL_IMAGES, NLL_SAMPLES, ScoreArgs};
use crate::evaluation::scores::{ScoreSettings, Scores, Scoring};
use crate::run::{RunDir, Which};

/// The scores of a run as they are stored.
#[derive(Debug, Clone, Serialize)]
pub(super) struct RunScores {
    run: String,
    checkpoint: &'static str,
    commit: &'static str,
    #[serde(flatten)]
    pub(super) scores: Scores,
}

pub(super) fn run(args: &EvalArgs, global: &Global, device: &Device) -> Result<()> {
    let path = args.json.clone().unwrap_or_else(|| args.run.join(file_name(args)));
    RunDir::open(&args.run)?;
    files::require_writable(&path)?;
    let trained = load(&args.run, args.checkpoint, device)?;
    let found = score(&trained, &args.scores, args.seed, global, device)?;
    terminal::result(&format!("{}, {} checkpoint\n{}", found.run, found.checkpoint, found.scores));
    write_json(&path, &serde_json::to_value(&found)?)?;
    terminal::line(&format!("written to {}", path.display()));
    Ok(())
}

/// The file of the scores. Its name holds the settings that differ from the defaults, so that a quick
/// evaluation does not overwrite a thorough one.
fn file_name(args: &EvalArgs) -> String {
    let scores = &args.scores;
    let mut name = "evaluation".to_owned();
    let mut add = |usual: bool, part: String| {
        if !usual {
            name += "-";
            name += &part;
        }
    };
    add(args.checkpoint == Which::Latest, "best".to_owned());
    let features = &scores.features.features;
    add(*features == FeatureChoice::MnistClassifier, format!("features-{}", features.name()));
    add(scores.count == COUNT, format!("count{}", scores.count));
    let usual = (scores.nll_images, scores.nll_samples) == (NLL_IMAGES, NLL_SAMPLES);
    add(usual, format!("nll{}x{}", scores.nll_images, scores.nll_samples));
    add(args.seed == 0, format!("seed{}", args.seed));
    name + ".json"
}

/// The scores of a run.
pub(super) fn score(
    trained: &Trained,
    args: &ScoreArgs,
    seed: u64,
    global: &Global,
    device: &Device,
) -> Result<RunScores> {
    let Trained { run, checkpoint, model, config, phases } = trained;
    let scoring = Scoring {
        model,
        phases,
        config,
        test: &test_images(trained, global, device)?,
        extractor: &extractor(&args.features, device)?,
        settings: ScoreSettings {
            count: args.count as usize,
            nll_images: args.nll_images as usize,
            nll_samples: args.nll_samples as usize,
            batch: args.features.batch.map(|batch| batch as usize),
            seed,
        },
    };
    let scores = scoring.run(|| training_images(trained, global, device))?;
    let checkpoint = match checkpoint {
        Which::Latest => "latest",
        Which::Best => "best",
    };
    Ok(RunScores {
        run: run.path().display().to_string(),
        checkpoint,
        commit: crate::COMMIT,
        scores,
    })
}
