//! `hvae converge`.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Args;
use clap::builder::RangedU64ValueParser;

use crate::COMMIT;
use crate::commands::context::{Context, Ended, Run};
use crate::config::Usage;
use crate::converge::paper;
use crate::converge::paper::Row;
use crate::converge::plan::{CLASSES, Forms, Learner, Plan, PlanOptions, Preset, Recipe};
use crate::converge::results::{Curve, Results, RowResult};
use crate::converge::timing::Timings;
use crate::converge::train::{Trained, train};
use crate::converge::weights::Training;
use crate::converge::{measure, plots, results, weights};
use crate::figures::plot;
use hvae_data::Split;
use hvae_data::dataset::Dataset;
use hvae_data::images::Images;
use hvae_runtime::{files, interrupt, terminal};

/// Count iterations to equilibrium of layered Hopfield networks, next to published counts
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae converge                                         the small preset, all three networks
  hvae converge --networks 3 --preset full              the 3-layer rows as in the paper
  hvae converge --networks 5 --seeds 1 --epochs 10 --train-images 60000 --test-images 10000
  hvae converge --networks 3 --learner ep               trained by equilibrium propagation
  hvae converge --dataset synthetic --networks 3        needs no download

The folder --out gets convergence.png and .svg, table.csv, seeds.csv, curves.csv, results.json and
the trained weights under weights/. Existing tables, pictures and results are replaced; weights are
not: each training has its own folder, named after its settings. Weights of the same settings are
reused, and an interrupted training resumes after its last complete epoch; --fresh trains again and
replaces them.")]
pub struct Converge {
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
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(64..))]
    train_images: Option<u32>,
    /// Count on the first N test images [default: 2,000, or all in the full preset]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    test_images: Option<u32>,
    /// Images to train and count on: mnist, fashion-mnist, synthetic, or a folder or file
    #[arg(long, value_name = "SET", default_value = "mnist")]
    dataset: Dataset,
    /// How weights are trained
    #[arg(long, value_enum, default_value_t = Learner::Rbp)]
    learner: Learner,
    /// Units of the hidden layers, instead of the paper's, e.g. 64 or 64,32,16 (one network only)
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = RangedU64ValueParser::<usize>::new().range(1..=LARGEST_LAYER))]
    hidden: Vec<usize>,
    /// Instead of the table, measure the time to the tolerance of every row, ROUNDS times, on the
    /// first 64 and the first 1024 test images; see `scripts/bench_converge.py`
    #[arg(long, value_name = "ROUNDS", value_parser = clap::value_parser!(u16).range(1..=1000))]
    time: Option<u16>,
    /// Train again even if there are weights
    #[arg(long)]
    fresh: bool,
    /// Folder for weights, pictures and numbers
    #[arg(long, value_name = "DIR", default_value = "converge")]
    out: PathBuf,
}

/// Units of a layer at most, as in a model.
const LARGEST_LAYER: u64 = 1 << 16;

/// A network of arXiv 2311.15673, by its number of layers.
fn layers(text: &str) -> Result<u8, String> {
    let known = text.parse().ok().filter(|n| paper::hidden(*n).is_some());
    known.ok_or_else(|| "must be 3, 5 or 7, the networks of the paper".to_owned())
}

impl Run for Converge {
    fn run(self, cx: &Context) -> Result<Ended> {
        let plan = Plan::new(self.options()).map_err(Usage)?;
        files::require_writable_folder(&self.out)?;
        interrupt::ask_first()?;
        let started = Instant::now();
        let load = |split| cx.images(&plan.data, split, cx.global.data_dir.as_ref());
        let (images, test) = (load(Split::Train)?, load(Split::Test)?);
        for images in [&images, &test] {
            images.set().require_classes(CLASSES, &plan.data.dataset)?;
        }
        if let Some(text) = plan.shortfall() {
            terminal::result(&format!("Smaller than in the paper: {text}."));
        }
        let mut found = Found::new(&plan);
        let seeds = if self.time.is_some() { 1 } else { plan.seeds };
        for seed in 1..=seeds {
            for (recipe, rows) in plan.trainings(seed, images.set().pixels()) {
                if !found.measure(&self, &plan, &recipe, &rows, [&images, &test])? {
                    return Ok(Ended::Interrupted);
                }
            }
        }
        if self.time.is_some() {
            found.timings.write(&self.out, &test)?;
        } else {
            self.write(found, &plan, test.len(), started)?;
        }
        Ok(Ended::Done)
    }
}

impl Converge {
    fn options(&self) -> PlanOptions {
        PlanOptions {
            networks: self.networks.clone(),
            forms: self.forms,
            preset: self.preset,
            seeds: self.seeds,
            epochs: self.epochs,
            train_images: self.train_images.map(|n| n as usize),
            test_images: self.test_images.map(|n| n as usize),
            dataset: self.dataset.clone(),
            learner: self.learner,
            hidden: self.hidden.clone(),
        }
    }

    fn write(&self, found: Found, plan: &Plan, test_images: usize, started: Instant) -> Result<()> {
        let mut curves = found.curves;
        curves.sort_by_key(|(i, _)| *i);
        let results = Results {
            format: 1,
            commit: COMMIT,
            command: format!("{self:?}"),
            shortfall: plan.shortfall(),
            test_images,
            rows: found.rows,
            trainings: found.trainings,
            curves: curves.into_iter().map(|(_, c)| c).collect(),
            seconds: started.elapsed().as_secs_f64(),
        };
        plot::save(&plots::residuals(&results.curves), &self.out, "convergence")?;
        results::write(&results, &self.out)?;
        terminal::result(&results::table(&results.rows));
        terminal::result(&format!(
            "{test_images} test images, {} seeds; written to {}",
            plan.seeds,
            self.out.display()
        ));
        Ok(())
    }
}

/// Results so far.
struct Found {
    /// In the order of the plan's rows.
    rows: Vec<RowResult>,
    trainings: Vec<Training>,
    /// Curves with the index of their row.
    curves: Vec<(usize, Curve)>,
    timings: Timings,
}

impl Found {
    fn new(plan: &Plan) -> Self {
        let empty = |&paper: &Row| RowResult {
            paper,
            epochs: plan.epochs_of(&paper),
            comparable: plan.is_published(),
            seeds: Vec::new(),
        };
        Self {
            rows: plan.rows.iter().map(empty).collect(),
            trainings: Vec::new(),
            curves: Vec::new(),
            timings: Timings::default(),
        }
    }

    /// Trains `recipe` and measures its rows; false if interrupted.
    fn measure(
        &mut self,
        args: &Converge,
        plan: &Plan,
        recipe: &Recipe,
        rows: &[usize],
        [images, test]: [&Images; 2],
    ) -> Result<bool> {
        let needed = plan.epochs_needed(recipe, images.set().pixels());
        let Some(trained) = train(recipe, &needed, images, &args.out, args.fresh)? else {
            terminal::line("interrupted; the same command continues after the last whole epoch");
            return Ok(false);
        };
        let Trained { snapshots, training } = trained;
        self.trainings.push(training);
        for &i in rows {
            let (row, epochs) = (&plan.rows[i], self.rows[i].epochs);
            let (_, network) = snapshots
                .iter()
                .find(|(epoch, _)| *epoch == epochs)
                .context("the weights of every row are kept")?;
            if let Some(rounds) = args.time {
                let path = weights::path(&args.out, recipe, epochs);
                self.timings.add(network, row, test, rounds, &path)?;
                continue;
            }
            let Some(result) = measure::iterations(network, row, recipe.seed, test)? else {
                return Ok(false);
            };
            if recipe.seed == 1 {
                self.curves.push((i, measure::curve(network, row, result.iterations, test)?));
            }
            self.rows[i].seeds.push(result);
        }
        Ok(true)
    }
}
