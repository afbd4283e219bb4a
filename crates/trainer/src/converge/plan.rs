//! What is trained and counted, from the arguments.

use anyhow::{Result, ensure};
use hvae_model::chn_ham::Form;
use serde::{Deserialize, Serialize};

use crate::converge::args::{ConvergeArgs, Forms, Learner, Preset};
use crate::converge::paper;
use crate::converge::paper::{Row, Solver, TABLE};
use hvae_data::CLASSES;
use hvae_data::config::DataConfig;
use hvae_data::dataset::Dataset;

/// Numbers of images and epochs of a preset.
const SMALL: (u64, u16, u32, u32) = (1, 3, 20_000, 2_000);
const FULL: (u64, u16) = (5, 10);

/// What the arguments ask for, checked.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The rows of the table, in its order.
    pub rows: Vec<Row>,
    /// Seeds 1 to this.
    pub seeds: u64,
    /// Epochs of the longest training.
    pub epochs: u16,
    /// Images.
    pub data: DataConfig,
    /// How weights are learnt.
    pub learner: Learner,
    hidden: Vec<usize>,
}

/// A training: everything its weights depend on, but for the code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Layers, pixels and classes included, as the paper calls the network.
    pub layers: u8,
    /// Units per layer.
    pub sizes: Vec<usize>,
    /// Energy.
    pub form: Form,
    /// Whether free phases are even-odd sweeps.
    pub even_odd: bool,
    /// Whether equilibrium propagation is used.
    pub equilibrium_propagation: bool,
    /// Madam's learning rate in the first epoch.
    pub rate: f64,
    /// Epochs over which it falls to a tenth.
    pub epochs: u16,
    /// Images of a step.
    pub batch: usize,
    /// Seed of weights and order.
    pub seed: u64,
    /// Set of images.
    pub dataset: Dataset,
    /// How many of them, if not all.
    pub train_images: Option<usize>,
}

impl Recipe {
    /// What messages call it. Weights of all recipes that are called the same once shared a folder of
    /// this name.
    pub fn name(&self) -> String {
        format!("{}-seed{}", self.network(), self.seed)
    }

    /// Name of the folder of its weights: that above, and in what it differs from the paper.
    pub fn folder(&self) -> String {
        let mut name = self.network();
        let mut add = |usual: bool, part: String| {
            if !usual {
                name += "-";
                name += &part;
            }
        };
        let set = match &self.dataset {
            Dataset::Path(path) => {
                path.file_stem().map_or("images".into(), |s| s.to_string_lossy())
            }
            named => named.to_string().into(),
        };
        add(self.dataset == Dataset::Mnist, set.into_owned());
        add(self.epochs == FULL.1, format!("epochs{}", self.epochs));
        add(self.train_images.is_none(), format!("images{}", self.train_images.unwrap_or(0)));
        let hidden = self.sizes.get(1..self.sizes.len() - 1).unwrap_or_default();
        let sizes: Vec<String> = hidden.iter().map(usize::to_string).collect();
        let usual = paper::hidden(self.layers).is_some_and(|usual| usual == hidden);
        add(usual, format!("hidden{}", sizes.join("-")));
        format!("{name}-seed{}", self.seed)
    }

    /// The first setting in which it differs from `there`, as `key = there, not here`.
    pub fn difference(&self, there: &Self) -> Option<String> {
        let values = |recipe| serde_json::to_value(recipe).unwrap_or_default();
        let (here, there) = (values(self), values(there));
        let keys = here.as_object().into_iter().flat_map(|fields| fields.keys());
        let mut differing = keys.filter(|key| here[*key] != there[*key]);
        differing.next().map(|key| format!("{key} = {}, not {}", there[key], here[key]))
    }

    fn network(&self) -> String {
        let form = match (self.form, self.even_odd) {
            (Form::Chn, false) => "chn",
            (Form::Chn, true) => "chn-eo",
            (Form::Ham, _) => "ham",
        };
        let learner = if self.equilibrium_propagation { "-ep" } else { "" };
        format!("{}l-{form}{learner}", self.layers)
    }
}

impl Plan {
    /// The plan of `args`.
    ///
    /// # Errors
    ///
    /// For arguments that contradict each other.
    pub fn new(args: &ConvergeArgs) -> Result<Self> {
        if let (false, [network]) = (args.hidden.is_empty(), args.networks.as_slice()) {
            let needed = usize::from(*network) - 2;
            let given = args.hidden.len();
            ensure!(
                given == needed,
                "--hidden: the {network}-layer network has {needed} hidden layers, {given} given"
            );
        } else {
            ensure!(args.hidden.is_empty(), "--hidden needs --networks with one network");
        }
        let (seeds, epochs, train, test) = match args.preset {
            Preset::Small => (SMALL.0, SMALL.1, Some(SMALL.2), Some(SMALL.3)),
            Preset::Full => (FULL.0, FULL.1, None, None),
        };
        // The synthetic set is smaller than the preset's share of MNIST.
        let (train, test) =
            if args.dataset == Dataset::Synthetic { (None, None) } else { (train, test) };
        let data = DataConfig {
            dataset: args.dataset.clone(),
            train_images: args.train_images.or(train).map(|n| n as usize),
            test_images: args.test_images.or(test).map(|n| n as usize),
            ..DataConfig::default()
        };
        let wanted = |row: &&Row| {
            let shown = match args.forms {
                Forms::Both => true,
                Forms::Chn => row.form == Form::Chn,
                Forms::Ham => row.form == Form::Ham,
            };
            args.networks.contains(&row.layers) && shown
        };
        let rows: Vec<Row> = TABLE.iter().filter(wanted).copied().collect();
        ensure!(
            !rows.is_empty(),
            "--forms chn: the table has such rows for the 3-layer network alone"
        );
        Ok(Self {
            rows,
            seeds: args.seeds.unwrap_or(seeds),
            epochs: args.epochs.unwrap_or(epochs),
            data,
            learner: args.learner,
            hidden: args.hidden.clone(),
        })
    }

    /// The training whose weights `row` is counted on. A HAM's equilibrium does not depend on how it
    /// is found, so its rows share one, by the fastest solver; and equilibrium propagation in a CHN has
    /// the synchronous form alone.
    pub fn recipe(&self, row: &Row, seed: u64, pixels: usize) -> Recipe {
        let hidden = if self.hidden.is_empty() {
            paper::hidden(row.layers).unwrap_or_default()
        } else {
            self.hidden.clone()
        };
        let equilibrium_propagation = self.learner == Learner::Ep;
        let sizes = std::iter::once(pixels).chain(hidden).chain([usize::from(CLASSES)]).collect();
        Recipe {
            layers: row.layers,
            sizes,
            form: row.form,
            even_odd: row.form == Form::Ham || row.solver.is_even_odd() && !equilibrium_propagation,
            equilibrium_propagation,
            rate: paper::rate(row.layers),
            epochs: self.epochs,
            batch: paper::BATCH,
            seed,
            dataset: self.data.dataset.clone(),
            train_images: self.data.train_images,
        }
    }

    /// The trainings of a seed, each with the rows (by index) that are counted on it.
    pub fn trainings(&self, seed: u64, pixels: usize) -> Vec<(Recipe, Vec<usize>)> {
        let mut groups: Vec<(Recipe, Vec<usize>)> = Vec::new();
        for (i, row) in self.rows.iter().enumerate() {
            let recipe = self.recipe(row, seed, pixels);
            match groups.iter_mut().find(|(known, _)| *known == recipe) {
                Some((_, rows)) => rows.push(i),
                None => groups.push((recipe, vec![i])),
            }
        }
        groups
    }

    /// After how many epochs the weights of `row` are taken: the end where the paper trained to its end.
    pub fn epochs_of(&self, row: &Row) -> u16 {
        if row.epochs == 10 { self.epochs } else { row.epochs.min(self.epochs) }
    }

    /// The epochs of a recipe after which weights are needed, ascending.
    pub fn epochs_needed(&self, recipe: &Recipe, pixels: usize) -> Vec<u16> {
        let mut needed: Vec<u16> = self
            .rows
            .iter()
            .filter(|row| self.recipe(row, recipe.seed, pixels) == *recipe)
            .map(|row| self.epochs_of(row))
            .collect();
        needed.sort_unstable();
        needed.dedup();
        needed
    }

    /// Whether networks and images are the published ones, whatever the length of the training.
    pub fn is_published(&self) -> bool {
        self.data.dataset == Dataset::Mnist && self.hidden.is_empty()
    }

    /// Whether anything falls short of the paper's protocol, in words.
    pub fn shortfall(&self) -> Option<String> {
        let mut parts = Vec::new();
        let mut part = |short: bool, text: String| {
            if short {
                parts.push(text);
            }
        };
        part(self.data.dataset != Dataset::Mnist, format!("images of {}", self.data.dataset));
        part(self.epochs < 10, format!("{} epochs instead of 10", self.epochs));
        if let Some(n) = self.data.train_images {
            part(n < 60_000, format!("{n} training images instead of 60,000"));
        }
        if let Some(n) = self.data.test_images {
            part(n < 10_000, format!("{n} test images instead of 10,000"));
        }
        part(self.seeds < 5, format!("{} seeds instead of 5", self.seeds));
        part(!self.hidden.is_empty(), "other layer sizes".to_owned());
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// The rule of a training's free phase, by which its limits are chosen.
pub fn training_solver(recipe: &Recipe) -> Solver {
    if recipe.even_odd { Solver::EvenOdd } else { Solver::Picard }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a failing test should panic")]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn trainings_of_other_settings_lie_in_other_folders() {
        let folder = |flags: &[&str]| {
            let line = [&["hvae", "converge", "--networks", "3", "--forms", "ham"][..], flags];
            let Command::Converge(args) = Cli::try_parse_from(line.concat()).unwrap().command
            else {
                panic!("another command")
            };
            Plan::new(&args).unwrap().trainings(1, 784)[0].0.folder()
        };
        for (flags, expected) in [
            (&["--preset", "full"][..], "3l-ham-seed1"),
            (&[], "3l-ham-epochs3-images20000-seed1"),
            (&["--preset", "full", "--learner", "ep", "--epochs", "4"], "3l-ham-ep-epochs4-seed1"),
            (&["--preset", "full", "--hidden", "64"], "3l-ham-hidden64-seed1"),
            (&["--preset", "full", "--dataset", "my/set.npz"], "3l-ham-set-seed1"),
        ] {
            assert_eq!(folder(flags), expected);
        }
    }
}
