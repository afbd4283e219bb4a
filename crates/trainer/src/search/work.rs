//! Works on a study until nothing is left: claims a trial, trains it, records how it ended.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Error, Result, ensure};
use burn::tensor::Device;
use hvae_data::config::DataConfig;
use hvae_data::images::Images;
use hvae_device::fault;
use hvae_runtime::{interrupt, terminal};

use crate::api::train::{check_every, load};
use crate::cli::global::Global;
use crate::config::RunConfig;
use crate::observers::Observer;
use crate::report::duration;
use crate::run::{Environment, EpochMetrics, RunDir, environment, history};
use crate::search::file::Settings;
use crate::search::progress::{TrialProgress, epochs, outlook, shown};
use crate::search::space::Space;
use crate::search::study::{Claim, Claimed, Study};
use crate::search::trial::{State, Trial};
use crate::training::memory::MemoryEstimate;
use crate::training::{Finished, Trainer, TrainingRequest};

/// How often a process looks whether another one has left it something to do.
const POLL: Duration = Duration::from_millis(500);
/// After as many failures in a row something else than the parameters is wrong.
const FAILURES: usize = 10;

/// Device and images, which are read once for all trials.
pub(crate) struct Bench<'a> {
    global: &'a Global,
    device: &'a Device,
    /// Folder of the images, if not the usual one.
    data_dir: Option<PathBuf>,
    images: Option<(DataConfig, [Images; 2], Environment)>,
}

impl<'a> Bench<'a> {
    /// On this device, with the images that the trials of `study` have been trained on.
    pub(crate) fn new(global: &'a Global, device: &'a Device, study: &Study) -> Result<Self> {
        let given = global.data_dir.clone();
        let trials = study.trials()?;
        let mut recorded = trials.iter().filter_map(|trial| {
            let run = RunDir::open(&study.run(trial)).ok()?;
            environment::data_dir(None, &run).ok().flatten()
        });
        let data_dir = given.or_else(|| recorded.next());
        Ok(Self { global, device, data_dir, images: None })
    }

    /// Trains the run in the folder `path` until it has done `until` epochs, or continues to; also
    /// returns what it has measured so far.
    pub(crate) fn train(
        &mut self,
        path: &Path,
        config: &RunConfig,
        until: usize,
        observer: Box<dyn Observer>,
    ) -> Result<(Finished, Vec<EpochMetrics>)> {
        let is_there = path.join("config.toml").is_file();
        let existing = is_there.then(|| RunDir::open(path)).transpose()?;
        let existing = existing.filter(|run| !run.is_unstarted());
        let mut config = match &existing {
            Some(run) => run.config()?,
            None => config.clone(),
        };
        if let (None, Some(every)) = (&existing, check_every(self.device)) {
            config.ep.check_every = every;
        }
        let (images, environment) = self.images(&config)?;
        MemoryEstimate::of(&config).require(self.device)?;
        let (devices, observers) = (vec![self.device.clone()], vec![observer]);
        let request = TrainingRequest {
            config: config.clone(),
            images,
            devices,
            environment,
            observers,
            weights: None,
        };
        let mut trainer = match existing {
            Some(run) => Trainer::resume(run.locked()?, request)?,
            None => Trainer::create(RunDir::create(path, &config, None)?, request)?,
        };
        let finished = trainer.train_until(until)?;
        Ok((finished, history::read(trainer.run())?))
    }

    /// The images of a configuration.
    fn images(&mut self, config: &RunConfig) -> Result<([Images; 2], Environment)> {
        let data = &config.data;
        if !self.images.as_ref().is_some_and(|(of, ..)| of == data) {
            let folder = self.data_dir.as_ref();
            let images = load(config, folder, self.device)?;
            let (device, folder) = (self.global.device.clone(), folder.map(PathBuf::as_path));
            let environment = Environment::current(device, &data.dataset, folder, &images);
            self.images = Some((data.clone(), images, environment));
        }
        let found = self.images.as_ref().map(|(_, images, of)| (images.clone(), of.clone()));
        Ok(found.expect("they were read"))
    }
}

/// Works on `study` until no trial is left, or the user asks to stop.
pub(crate) fn work(study: &Study, bench: &mut Bench<'_>) -> Result<Finished> {
    // Before a trial begins: what is wrong with them is wrong with every trial.
    bench.images(&study.space.config(&Settings::new())?)?;
    interrupt::ask_first()?;
    let mut failures = 0;
    loop {
        if interrupt::requested() {
            return Ok(Finished::Interrupted);
        }
        let claim = match study.claim()? {
            Claimed::Trial(claim) => claim,
            Claimed::Wait => {
                std::thread::sleep(POLL);
                continue;
            }
            Claimed::Done => return Ok(Finished::Complete),
        };
        let Some(trial) = run(study, bench, &claim)? else { return Ok(Finished::Interrupted) };
        failures = if trial.state == State::Failed { failures + 1 } else { 0 };
        ensure!(
            failures < FAILURES,
            "{failures} trials in a row have failed, the last with: {}",
            trial.reason.unwrap_or_default()
        );
    }
}

/// Trains a claimed trial and records it; `None` if the user asked to stop.
fn run(study: &Study, bench: &mut Bench<'_>, claim: &Claim) -> Result<Option<Trial>> {
    let (space, mut trial) = (&study.space, claim.trial.clone());
    let config = space.config(&trial.parameters)?;
    let name = format!("trial {}/{}", trial.number, space.file.budget.trials);
    let progress = TrialProgress::new(name.clone(), outlook(space, &study.trials()?));
    let path = study.run(&trial);
    let trained = fault::guard(|| bench.train(&path, &config, trial.until, Box::new(progress)));
    match trained {
        Ok((Finished::Interrupted, _)) => {
            // It was stopped, not lost.
            study.record(Trial { lost: 0, ..trial })?;
            return Ok(None);
        }
        Ok((Finished::Complete, epochs)) => {
            trial.lost = 0;
            trial.measure(&epochs, &space.objectives, Space::parameters_of(&config));
            settle(&mut trial, space);
        }
        Err(error) if is_of_the_machine(&error) => {
            return Err(error.context(format!("{name}; the same command continues from here")));
        }
        Err(error) => trial.fail(&format!("{error:#}")),
    }
    let ended = describe(&trial, space);
    let trials = study.record(trial.clone())?;
    terminal::line(&format!("{name}  {ended}  [{}]", outlook(space, &trials)));
    Ok(Some(trial))
}

/// The state of a trial that was trained as far as it should be.
fn settle(trial: &mut Trial, space: &Space) {
    let budget = &space.file.budget;
    if trial.epochs.last().is_none_or(|last| last.values.is_none()) {
        let names: Vec<&str> = space.objectives.names().collect();
        trial.fail(&format!("{} is no number, or was not measured", names.join(" or ")));
    } else if trial.until >= budget.epochs || trial.done() < trial.until {
        // Without patience it ends before its time.
        trial.state = State::Complete;
    } else {
        trial.state = State::Paused;
    }
}

/// Whether an error has nothing to do with the parameters: a full disk, or a stop.
fn is_of_the_machine(error: &Error) -> bool {
    error.is::<interrupt::Stopped>()
        || error
            .chain()
            .any(|cause| cause.is::<std::io::Error>() || cause.is::<interrupt::Stopped>())
}

fn describe(trial: &Trial, space: &Space) -> String {
    let values = trial.values().map_or(String::new(), |values| shown(space, values));
    let (done, seconds) = (epochs(trial.done()), duration(trial.seconds));
    match trial.state {
        State::Complete | State::Running => format!("{values} after {done}, {seconds}"),
        State::Paused => format!("{values}, paused at {done}, {seconds}"),
        State::Failed => format!("failed: {}", trial.reason.as_deref().unwrap_or("unknown")),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_full_disk_is_no_fault_of_a_trial() {
        let full = Error::from(std::io::Error::from(std::io::ErrorKind::StorageFull));
        assert!(is_of_the_machine(&full.context("writing a checkpoint")));
        assert!(is_of_the_machine(&Error::new(interrupt::Stopped).context("stopped")));
        assert!(!is_of_the_machine(&anyhow!("a state is not finite").context("step 3")));
    }
}
