//! The best trial of a study with other seeds: how much of its lead is luck.

use std::path::PathBuf;

use anyhow::{Context, Result};
use hvae_runtime::{interrupt, terminal};

use crate::run::{RunDir, history};
use crate::search::progress::{TrialProgress, best, shown};
use crate::search::space::Space;
use crate::search::study::Study;
use crate::search::trial::Trial;
use crate::search::work::Bench;
use crate::training::Finished;

/// Trains the best trial, and the first known point, with as many other seeds: those after their
/// own.
pub(crate) fn confirm(study: &Study, bench: &mut Bench<'_>, seeds: u64) -> Result<Finished> {
    interrupt::ask_first()?;
    let trials = study.trials()?;
    let best = best(&study.space, &trials).context("no trial has a result yet")?;
    let known = known(study, &trials).filter(|known| known.number != best.number);
    for trial in [best].into_iter().chain(known) {
        for seed in (1..=seeds).map(|more| trial.seed + more) {
            let mut config = study.space.config(&trial.parameters)?;
            config.training.seed = seed;
            let name = format!("trial {}, seed {seed}", trial.number);
            let progress = Box::new(TrialProgress::new(name.clone(), String::new()));
            let path = folder(study, trial, seed);
            let (finished, _) = bench.train(&path, &config, usize::MAX, progress)?;
            if finished == Finished::Interrupted {
                return Ok(finished);
            }
            if let Some(values) = values(study, trial, seed)? {
                terminal::line(&format!("{name}  {}", shown(&study.space, &values)));
            }
        }
    }
    Ok(Finished::Complete)
}

/// The trial of the first known point.
pub(crate) fn known<'a>(study: &Study, trials: &'a [Trial]) -> Option<&'a Trial> {
    trials.first().filter(|_| !study.space.known.is_empty())
}

fn folder(study: &Study, trial: &Trial, seed: u64) -> PathBuf {
    study.folder.join(format!("{}-seed-{seed}", trial.run))
}

/// The values of the objectives with other seeds, as far as they are trained.
pub(crate) fn confirmed(study: &Study, trial: &Trial) -> Result<Vec<Vec<f64>>> {
    let mut found = Vec::new();
    for seed in (1..).map(|more| trial.seed + more) {
        if !folder(study, trial, seed).join("config.toml").is_file() {
            return Ok(found);
        }
        found.extend(values(study, trial, seed)?);
    }
    Ok(found)
}

fn values(study: &Study, trial: &Trial, seed: u64) -> Result<Option<Vec<f64>>> {
    let run = RunDir::open(&folder(study, trial, seed))?;
    let (mut of_run, config) = (trial.clone(), run.config()?);
    of_run.measure(&history::read(&run)?, &study.space.objectives, Space::parameters_of(&config));
    let done = of_run.done() >= study.space.file.budget.epochs;
    Ok(of_run.values().filter(|_| done).map(<[f64]>::to_vec))
}
