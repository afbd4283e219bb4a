//! Which networks are trained, and which rows of the table are measured on them.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};
use hvae_data::{config::DataConfig, dataset::Dataset};
use hvae_model::chn_ham::Form;
use serde::{Deserialize, Serialize};

use crate::cli::values::count;
use crate::converge::paper::{self, Row, Solver, TABLE};

/// Classes of the data sets of the paper.
pub(crate) const CLASSES: usize = 10;
/// Epochs of the paper.
const PAPER_EPOCHS: u16 = 10;
/// Seeds of the paper.
const PAPER_SEEDS: u64 = 5;

/// Scale of the computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Preset {
    /// 1 seed, 3 epochs of 20,000 training images, the first 2,000 test images: for two CPU cores
    Small,
    /// 5 seeds, 10 epochs of all training images, all test images, as in the paper
    Full,
}

/// Which rows of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Forms {
    /// All rows
    Both,
    /// Continuous Hopfield networks
    Chn,
    /// Hierarchical associative memories
    Ham,
}

/// How weights are learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Learner {
    /// Recurrent backpropagation, as in the paper
    Rbp,
    /// Equilibrium propagation
    Ep,
}

/// What to train and measure; `None` takes the preset's value.
#[derive(Debug, Clone, Args)]
pub(crate) struct PlanOptions {
    /// Networks, by their number of layers: 3, 5, 7
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "3,5,7", value_parser = layers)]
    networks: Vec<u8>,
    /// Rows of the table
    #[arg(long, value_enum, default_value_t = Forms::Both)]
    forms: Forms,
    /// Defaults of the options below
    #[arg(long, value_enum, default_value_t = Preset::Small)]
    preset: Preset,
    /// Trainings of each network, with the seeds 1 to N [default: 1, or 5 in the full preset]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: Option<u64>,
    /// Passes over the training images [default: 3, or 10 in the full preset]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    epochs: Option<u16>,
    /// Use only the first N training images [default: 20,000, or all in the full preset]
    #[arg(long, value_name = "N", value_parser = count(64..))]
    train_images: Option<usize>,
    /// Count on the first N test images [default: 2,000, or all in the full preset]
    #[arg(long, value_name = "N", value_parser = count(1..))]
    test_images: Option<usize>,
    /// Images to train and count on: mnist, fashion-mnist, synthetic, or a folder or file
    #[arg(long, value_name = "SET", default_value = "mnist")]
    dataset: Dataset,
    /// How weights are trained
    #[arg(long, value_enum, default_value_t = Learner::Rbp)]
    learner: Learner,
    /// Units of the hidden layers, instead of the paper's, e.g. 64 or 64,32,16 (one network only)
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = count(1..=LARGEST_LAYER))]
    hidden: Vec<usize>,
}

/// Units of a layer at most, as in a model.
const LARGEST_LAYER: u64 = 1 << 16;

/// A network of arXiv 2311.15673, by its number of layers.
fn layers(text: &str) -> Result<u8, String> {
    let known = text.parse().ok().filter(|n| paper::hidden(*n).is_some());
    known.ok_or_else(|| "must be 3, 5 or 7, the networks of the paper".to_owned())
}

/// Validated options.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The selected rows of the table, in its order.
    pub(crate) rows: Vec<Row>,
    /// Number of seeds, counted from 1.
    pub(crate) seeds: u64,
    pub(crate) data: DataConfig,
    epochs: u16,
    learner: Learner,
    hidden: Vec<usize>,
}

/// Everything that the weights of a training depend on, except the code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipe {
    /// Number of layers, including pixels and classes.
    pub(crate) layers: u8,
    /// Units per layer.
    pub(crate) sizes: Vec<usize>,
    pub(crate) form: Form,
    /// Whether free phases are even-odd sweeps.
    pub(crate) even_odd: bool,
    pub(crate) learner: Learner,
    /// Learning rate in the first epoch.
    pub(crate) rate: f64,
    /// Epochs over which the learning rate decays to a tenth.
    pub(crate) epochs: u16,
    /// Images per step.
    pub(crate) batch: usize,
    /// Seed of weights and batch order.
    pub(crate) seed: u64,
    pub(crate) dataset: Dataset,
    /// Number of training images, if not all.
    pub(crate) train_images: Option<usize>,
}

impl Recipe {
    /// Its name in messages.
    pub(super) fn name(&self) -> String {
        format!("{}-seed{}", self.network(), self.seed)
    }

    /// The folder name of its weights: the name above with everything that differs from the paper.
    pub(super) fn folder(&self) -> String {
        let set = match &self.dataset {
            Dataset::Path(path) => {
                path.file_stem().map_or("images".into(), |s| s.to_string_lossy())
            }
            named => named.to_string().into(),
        };
        let hidden = self.sizes.get(1..self.sizes.len() - 1).unwrap_or_default();
        let sizes: Vec<String> = hidden.iter().map(usize::to_string).collect();
        let other_sizes = paper::hidden(self.layers).is_none_or(|paper| paper != hidden);
        let parts = [
            Some(self.network()),
            (self.dataset != Dataset::Mnist).then(|| set.into_owned()),
            (self.epochs != PAPER_EPOCHS).then(|| format!("epochs{}", self.epochs)),
            self.train_images.map(|count| format!("images{count}")),
            other_sizes.then(|| format!("hidden{}", sizes.join("-"))),
            Some(format!("seed{}", self.seed)),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("-")
    }

    /// The solver of the free phase, which determines the iteration limits.
    pub(super) fn solver(&self) -> Solver {
        if self.even_odd { Solver::EvenOdd } else { Solver::Picard }
    }

    /// The first setting that differs from `there`, as `key = there, not here`.
    pub(super) fn difference(&self, there: &Self) -> Option<String> {
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
        let learner = if self.learner == Learner::Ep { "-ep" } else { "" };
        format!("{}l-{form}{learner}", self.layers)
    }
}

impl Plan {
    /// Fills in the preset's values; an error if the options contradict each other.
    pub(crate) fn new(options: PlanOptions) -> Result<Self> {
        let PlanOptions { networks, hidden, dataset, .. } = options;
        if !hidden.is_empty() {
            let [network] = networks[..] else {
                bail!("--hidden needs --networks with one network");
            };
            let (needed, given) = (usize::from(network) - 2, hidden.len());
            ensure!(
                given == needed,
                "--hidden: the {network}-layer network has {needed} hidden layers, {given} given"
            );
        }
        let (seeds, epochs, train, test) = match options.preset {
            Preset::Small => (1, 3, Some(20_000), Some(2_000)),
            Preset::Full => (PAPER_SEEDS, PAPER_EPOCHS, None, None),
        };
        // The synthetic set is smaller than the preset's part of MNIST.
        let (train, test) =
            if dataset == Dataset::Synthetic { (None, None) } else { (train, test) };
        let data = DataConfig {
            dataset,
            train_images: options.train_images.or(train),
            test_images: options.test_images.or(test),
            ..DataConfig::default()
        };
        let selected = |row: &&Row| {
            let form = match options.forms {
                Forms::Both => true,
                Forms::Chn => row.form == Form::Chn,
                Forms::Ham => row.form == Form::Ham,
            };
            networks.contains(&row.layers) && form
        };
        let rows: Vec<Row> = TABLE.iter().filter(selected).copied().collect();
        let none = "--forms chn: only the 3-layer network has such rows in the table";
        ensure!(!rows.is_empty(), "{none}");
        Ok(Self {
            rows,
            seeds: options.seeds.unwrap_or(seeds),
            epochs: options.epochs.unwrap_or(epochs),
            data,
            learner: options.learner,
            hidden,
        })
    }

    /// The training for `row`. The equilibrium of a HAM does not depend on the solver, so its rows
    /// share one training with the fastest; equilibrium propagation in a CHN is synchronous only.
    fn recipe(&self, row: &Row, seed: u64, pixels: usize) -> Recipe {
        let hidden = if self.hidden.is_empty() {
            paper::hidden(row.layers).unwrap_or_default()
        } else {
            self.hidden.clone()
        };
        let sizes = std::iter::once(pixels).chain(hidden).chain([CLASSES]).collect();
        let even_odd = row.solver.is_even_odd() && self.learner == Learner::Rbp;
        Recipe {
            layers: row.layers,
            sizes,
            form: row.form,
            even_odd: row.form == Form::Ham || even_odd,
            learner: self.learner,
            rate: paper::rate(row.layers),
            epochs: self.epochs,
            batch: paper::BATCH,
            seed,
            dataset: self.data.dataset.clone(),
            train_images: self.data.train_images,
        }
    }

    /// The trainings of a seed, each with the indices of the rows measured on it.
    pub(crate) fn trainings(&self, seed: u64, pixels: usize) -> Vec<(Recipe, Vec<usize>)> {
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

    /// Epochs after which the weights for `row` are taken: all of them where the paper took all.
    pub(crate) fn epochs_of(&self, row: &Row) -> u16 {
        if row.epochs == PAPER_EPOCHS { self.epochs } else { row.epochs.min(self.epochs) }
    }

    /// The epochs after which weights are needed for the rows with these indices, ascending.
    pub(crate) fn epochs_needed(&self, rows: &[usize]) -> Vec<u16> {
        let needed: BTreeSet<u16> = rows.iter().map(|&i| self.epochs_of(&self.rows[i])).collect();
        needed.into_iter().collect()
    }

    /// Whether networks and images are those of the paper.
    pub(crate) fn is_published(&self) -> bool {
        self.data.dataset == Dataset::Mnist && self.hidden.is_empty()
    }

    /// Where the plan is smaller than the paper's protocol, in words.
    pub(crate) fn shortfall(&self) -> Option<String> {
        let DataConfig { dataset, .. } = &self.data;
        let [train, test] = [self.data.train_images, self.data.test_images];
        let [train, test] = [train.unwrap_or(60_000), test.unwrap_or(10_000)];
        let parts = [
            (*dataset != Dataset::Mnist, format!("images of {dataset}")),
            (self.epochs < PAPER_EPOCHS, format!("{} epochs instead of 10", self.epochs)),
            (train < 60_000, format!("{train} training images instead of 60,000")),
            (test < 10_000, format!("{test} test images instead of 10,000")),
            (self.seeds < PAPER_SEEDS, format!("{} seeds instead of 5", self.seeds)),
            (!self.hidden.is_empty(), "other layer sizes".to_owned()),
        ];
        let parts: Vec<String> =
            parts.into_iter().filter_map(|(short, text)| short.then_some(text)).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
pub(super) mod tests {
    use clap::FromArgMatches;

    use super::*;

    /// The plan of the 3-layer network with these flags.
    pub(in crate::converge) fn plan(flags: &str) -> Plan {
        let line = format!("converge --networks 3 {flags}");
        let command = PlanOptions::augment_args(clap::Command::new("converge"));
        let matches = command.get_matches_from(line.split(' '));
        Plan::new(PlanOptions::from_arg_matches(&matches).unwrap()).unwrap()
    }

    #[test]
    fn trainings_with_other_settings_have_other_folders() {
        for (flags, folder) in [
            ("--forms ham --preset full", "3l-ham-seed1"),
            ("--forms ham --preset small", "3l-ham-epochs3-images20000-seed1"),
            ("--forms ham --preset full --learner ep --epochs 4", "3l-ham-ep-epochs4-seed1"),
            ("--forms ham --preset full --hidden 64", "3l-ham-hidden64-seed1"),
            ("--forms ham --preset full --dataset my/set.npz", "3l-ham-set-seed1"),
        ] {
            assert_eq!(plan(flags).trainings(1, 784)[0].0.folder(), folder);
        }
    }
}
