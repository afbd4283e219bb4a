//! The folder of a study, shared by all processes that work on it.
//!
//! ```text
//! <study>/space.toml  trials.jsonl  runs/trial-0001/  lock  locks/0001
//! ```
//!
//! Whoever holds `lock` may write `trials.jsonl`. Whoever trains a trial holds its file in `locks`;
//! the system releases it with the process, and the trial is taken up again.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use hvae_runtime::files;

use crate::run::{RunDir, history};
use crate::search::file::SpaceFile;
use crate::search::halving::{Next, next};
use crate::search::propose::propose;
use crate::search::space::Space;
use crate::search::trial::{self, State, Trial};

const SPACE: &str = "space.toml";
const TRIALS: &str = "trials.jsonl";
/// How many processes may end in an epoch of a trial.
const LOSSES: usize = 10;

/// A study.
#[derive(Debug)]
pub(crate) struct Study {
    pub(crate) folder: PathBuf,
    pub(crate) space: Space,
}

/// What a process can do now.
#[derive(Debug)]
pub(crate) enum Claimed {
    /// Train this trial.
    Trial(Box<Claim>),
    /// Wait for trials that run elsewhere.
    Wait,
    /// Nothing more.
    Done,
}

/// A trial that this process trains.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) trial: Trial,
    /// Held as long as it is trained.
    _lock: File,
}

/// The trials, which this process alone may change now.
struct Journal<'a> {
    study: &'a Study,
    trials: Vec<Trial>,
    _lock: File,
}

/// Whether a folder is a study.
pub(crate) fn is_study(folder: &Path) -> bool {
    folder.join(SPACE).is_file()
}

impl Study {
    /// The study in `folder`.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let space = Space::new(SpaceFile::read(&folder.join(SPACE))?);
        let space = space.with_context(|| format!("in {}", folder.join(SPACE).display()))?;
        Ok(Self { folder: folder.components().collect(), space })
    }

    /// A new study of a space that was checked, or the one that is there, if it has the same space.
    pub(crate) fn create(folder: &Path, space: &Space) -> Result<Self> {
        let shown = folder.display();
        if !is_study(folder) {
            let scratch = files::scratch_dir_in(files::parent_of(folder))?;
            files::write(&scratch.path().join(SPACE), &space.file.to_toml()?)?;
            files::write(&scratch.path().join(TRIALS), "")?;
            match files::publish_dir(scratch, folder) {
                // Another process may have created it meanwhile.
                Err(error) if !is_study(folder) => return Err(error),
                _ => {}
            }
        }
        let study = Self::open(folder)?;
        if let Some(section) = space.file.difference(&study.space.file)? {
            bail!(
                "{shown} is a study with other {section}: continue it with `hvae search {shown}`, \
                 or choose another --name"
            );
        }
        Ok(study)
    }

    /// Sets the total number of trials.
    pub(crate) fn set_trials(&mut self, trials: usize) -> Result<()> {
        let journal = self.lock()?;
        let mut file = self.space.file.clone();
        file.budget.trials = trials;
        file.budget.check()?;
        files::write(&self.folder.join(SPACE), &file.to_toml()?)?;
        drop(journal);
        self.space.file = file;
        Ok(())
    }

    /// The folder of a trial's run.
    pub(crate) fn run(&self, trial: &Trial) -> PathBuf {
        self.folder.join(&trial.run)
    }

    /// The trials so far.
    pub(crate) fn trials(&self) -> Result<Vec<Trial>> {
        let path = self.folder.join(TRIALS);
        let shown = path.display();
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {shown}"))?;
        trial::parse(&text).with_context(|| format!("in {shown}"))
    }

    /// Claims what is to be trained next: a trial whose process has ended, one that goes on, or a
    /// new one.
    pub(crate) fn claim(&self) -> Result<Claimed> {
        let mut journal = self.lock()?;
        for number in 0..journal.trials.len() {
            if journal.trials[number].state == State::Running
                && let Some(lock) = self.lock_trial(number + 1)?
            {
                self.count_loss(&mut journal.trials[number]);
                journal.save()?;
                let trial = journal.trials[number].clone();
                if trial.state == State::Running {
                    return Ok(Claimed::Trial(Box::new(Claim { trial, _lock: lock })));
                }
            }
        }
        let (budget, objectives) = (&self.space.file.budget, &self.space.objectives);
        let known = self.space.known.len();
        let mut job = next(&journal.trials, budget, objectives, known, true);
        if let Next::New(until) = job {
            if let Some(parameters) = propose(&self.space, &journal.trials)? {
                let seed = self.space.config(&parameters)?.training.seed;
                let number = journal.trials.len() + 1;
                return journal.claim(Trial::new(number, parameters, seed, until));
            }
            job = next(&journal.trials, budget, objectives, known, false);
        }
        if let Next::Continue(number, until) = job {
            let trial = journal.trials[number - 1].clone();
            return journal.claim(Trial { state: State::Running, until, ..trial });
        }
        let running = journal.trials.iter().any(|trial| trial.state == State::Running);
        Ok(if running { Claimed::Wait } else { Claimed::Done })
    }

    /// Counts that the process of a trial has ended. One that ends again and again before another
    /// epoch may need more memory than there is.
    fn count_loss(&self, trial: &mut Trial) {
        let run = RunDir::open(&self.run(trial)).and_then(|run| history::read(&run));
        let epochs = run.unwrap_or_default();
        trial.lost = if epochs.len() > trial.epochs.len() { 1 } else { trial.lost + 1 };
        let config = self.space.config(&trial.parameters);
        let parameters = config.map_or(f64::NAN, |config| Space::parameters_of(&config));
        trial.measure(&epochs, &self.space.objectives, parameters);
        if trial.lost > LOSSES {
            trial.fail(&format!("its process has ended {LOSSES} times before another epoch"));
        }
    }

    /// Records how a trial ended; returns all trials.
    pub(crate) fn record(&self, trial: Trial) -> Result<Vec<Trial>> {
        let mut journal = self.lock()?;
        let number = trial.number;
        journal.trials[number - 1] = trial;
        journal.save()?;
        Ok(journal.trials)
    }

    /// Refuses to work on a study that another process works on, unless both join it.
    pub(crate) fn alone(&self) -> Result<File> {
        let path = self.folder.join("alone");
        let (lock, shown) = (open(&path)?, self.folder.display());
        let others = matches!(lock.try_lock(), Err(TryLockError::WouldBlock));
        ensure!(!others, "another process searches {shown}: work on it too with --join");
        Ok(lock)
    }

    fn lock(&self) -> Result<Journal<'_>> {
        let path = self.folder.join("lock");
        let shown = path.display();
        let lock = open(&path)?;
        lock.lock().with_context(|| format!("locking {shown}, without which nothing is shared"))?;
        files::remove_stale_scratch(&self.folder)?;
        Ok(Journal { study: self, trials: self.trials()?, _lock: lock })
    }

    /// The lock of a trial; `None` if another process has it.
    fn lock_trial(&self, number: usize) -> Result<Option<File>> {
        let path = self.folder.join(format!("locks/{number:04}"));
        std::fs::create_dir_all(files::parent_of(&path))
            .with_context(|| format!("creating the folder of {}", path.display()))?;
        let lock = open(&path)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(lock)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("locking {}", path.display()))
            }
        }
    }
}

impl Journal<'_> {
    /// Claims a trial that no process has.
    fn claim(&mut self, trial: Trial) -> Result<Claimed> {
        let lock = self.study.lock_trial(trial.number)?;
        // Its process has recorded its end, and is about to let it go.
        let Some(lock) = lock else { return Ok(Claimed::Wait) };
        match self.trials.get_mut(trial.number - 1) {
            Some(old) => *old = trial.clone(),
            None => self.trials.push(trial.clone()),
        }
        self.save()?;
        Ok(Claimed::Trial(Box::new(Claim { trial, _lock: lock })))
    }

    fn save(&self) -> Result<()> {
        files::write(&self.study.folder.join(TRIALS), &trial::to_text(&self.trials)?)
    }
}

fn open(path: &Path) -> Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(path);
    file.with_context(|| format!("opening {}", path.display()))
}
