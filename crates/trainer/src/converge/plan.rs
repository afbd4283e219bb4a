//! Which networks are trained, and which rows of the table are measured on them.

use anyhow::{Result, ensure};
use clap::ValueEnum;
use hvae_model::chn_ham::Form;
use serde::{Deserialize, Serialize};

use crate::converge::paper;
use crate::converge::paper::{Row, Solver, TABLE};
use hvae_data::config::DataConfig;
use hvae_data::dataset::Dataset;

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
#[derive(Debug, Clone)]
pub(crate) struct PlanOptions {
    /// Networks, by number of layers.
    pub(crate) networks: Vec<u8>,
    pub(crate) forms: Forms,
    pub(crate) preset: Preset,
    pub(crate) seeds: Option<u64>,
    pub(crate) epochs: Option<u16>,
    pub(crate) train_images: Option<usize>,
    pub(crate) test_images: Option<usize>,
    pub(crate) dataset: Dataset,
    pub(crate) learner: Learner,
    /// Sizes of the hidden layers, if not the paper's.
    pub(crate) hidden: Vec<usize>,
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
    /// Energy.
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
        let mut name = self.network();
        let mut add = |as_in_paper: bool, part: String| {
            if !as_in_paper {
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
        add(self.epochs == PAPER_EPOCHS, format!("epochs{}", self.epochs));
        add(self.train_images.is_none(), format!("images{}", self.train_images.unwrap_or(0)));
        let hidden = self.sizes.get(1..self.sizes.len() - 1).unwrap_or_default();
        let sizes: Vec<String> = hidden.iter().map(usize::to_string).collect();
        let paper = paper::hidden(self.layers);
        add(paper.is_some_and(|paper| paper == hidden), format!("hidden{}", sizes.join("-")));
        format!("{name}-seed{}", self.seed)
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
    /// Fills in the preset's values.
    ///
    /// # Errors
    ///
    /// If the options contradict each other.
    pub(crate) fn new(options: PlanOptions) -> Result<Self> {
        let PlanOptions { networks, hidden, dataset, .. } = options;
        if let (false, [network]) = (hidden.is_empty(), networks.as_slice()) {
            let needed = usize::from(*network) - 2;
            let given = hidden.len();
            ensure!(
                given == needed,
                "--hidden: the {network}-layer network has {needed} hidden layers, {given} given"
            );
        } else {
            ensure!(hidden.is_empty(), "--hidden needs --networks with one network");
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
        ensure!(
            !rows.is_empty(),
            "--forms chn: only the 3-layer network has such rows in the table"
        );
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

    /// The epochs of a recipe after which weights are needed, ascending.
    pub(crate) fn epochs_needed(&self, recipe: &Recipe, pixels: usize) -> Vec<u16> {
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

    /// Whether networks and images are those of the paper.
    pub(crate) fn is_published(&self) -> bool {
        self.data.dataset == Dataset::Mnist && self.hidden.is_empty()
    }

    /// Where the plan is smaller than the paper's protocol, in words.
    pub(crate) fn shortfall(&self) -> Option<String> {
        let mut parts = Vec::new();
        let mut part = |short: bool, text: String| {
            if short {
                parts.push(text);
            }
        };
        part(self.data.dataset != Dataset::Mnist, format!("images of {}", self.data.dataset));
        part(self.epochs < PAPER_EPOCHS, format!("{} epochs instead of 10", self.epochs));
        if let Some(n) = self.data.train_images {
            part(n < 60_000, format!("{n} training images instead of 60,000"));
        }
        if let Some(n) = self.data.test_images {
            part(n < 10_000, format!("{n} test images instead of 10,000"));
        }
        part(self.seeds < PAPER_SEEDS, format!("{} seeds instead of 5", self.seeds));
        part(!self.hidden.is_empty(), "other layer sizes".to_owned());
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;

    #[test]
    fn trainings_with_other_settings_have_other_folders() {
        let full = PlanOptions {
            networks: vec![3],
            forms: Forms::Ham,
            preset: Preset::Full,
            seeds: None,
            epochs: None,
            train_images: None,
            test_images: None,
            dataset: Dataset::Mnist,
            learner: Learner::Rbp,
            hidden: Vec::new(),
        };
        let with = |change: &dyn Fn(&mut PlanOptions)| {
            let mut options = full.clone();
            change(&mut options);
            Plan::new(options).unwrap().trainings(1, 784)[0].0.folder()
        };
        assert_eq!(with(&|_| ()), "3l-ham-seed1");
        assert_eq!(with(&|o| o.preset = Preset::Small), "3l-ham-epochs3-images20000-seed1");
        let ep = |o: &mut PlanOptions| (o.learner, o.epochs) = (Learner::Ep, Some(4));
        assert_eq!(with(&ep), "3l-ham-ep-epochs4-seed1");
        assert_eq!(with(&|o| o.hidden = vec![64]), "3l-ham-hidden64-seed1");
        let path = Dataset::Path("my/set.npz".into());
        assert_eq!(with(&|o| o.dataset = path.clone()), "3l-ham-set-seed1");
    }
}
