use std::{path::PathBuf, time::Instant};

use anyhow::{Context as _, Result};
use clap::Args;
use hvae_data::{Split, images::Images};
use hvae_runtime::{files, interrupt, terminal};

use crate::COMMIT;
use crate::commands::context::{Context, Ended, Run};
use crate::commands::output::JsonArgs;
use crate::config::Usage;
use crate::converge::measure::TrainedRow;
use crate::converge::paper::Row;
use crate::converge::plan::{CLASSES, Plan, PlanOptions, Recipe};
use crate::converge::plots;
use crate::converge::results::{self, Curve, Results, RowResult};
use crate::converge::timing::Timings;
use crate::converge::train::{Trained, train};
use crate::converge::weights::{self, Training};
use crate::figures::plot;

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
    #[command(flatten)]
    options: PlanOptions,
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
    #[command(flatten)]
    json: JsonArgs,
}

impl Run for Converge {
    fn run(self, cx: &Context) -> Result<Ended> {
        let plan = Plan::new(self.options.clone()).map_err(Usage)?;
        files::require_writable_folder(&self.out)?;
        self.json.require()?;
        interrupt::ask_first()?;
        let started = Instant::now();
        let load = |split| cx.images(&plan.data, split);
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
    fn write(&self, found: Found, plan: &Plan, test_images: usize, started: Instant) -> Result<()> {
        let results = Results {
            format: 1,
            commit: COMMIT,
            command: format!("{self:?}"),
            shortfall: plan.shortfall(),
            test_images,
            rows: found.rows,
            trainings: found.trainings,
            curves: found.curves.into_iter().flatten().collect(),
            seconds: started.elapsed().as_secs_f64(),
        };
        plot::save(&plots::residuals(&results.curves), &self.out, "convergence")?;
        results::write(&results, &self.out)?;
        self.json.write(&results)?;
        terminal::result(&results::table(&results.rows));
        let (seeds, out) = (plan.seeds, self.out.display());
        terminal::result(&format!("{test_images} test images, {seeds} seeds; written to {out}"));
        Ok(())
    }
}

/// Results so far.
#[derive(Default)]
struct Found {
    /// In the order of the plan's rows.
    rows: Vec<RowResult>,
    trainings: Vec<Training>,
    curves: Vec<Option<Curve>>,
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
            curves: vec![None; plan.rows.len()],
            ..Self::default()
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
        let needed = plan.epochs_needed(rows);
        let Some(trained) = train(recipe, &needed, images, &args.out, args.fresh)? else {
            terminal::line("interrupted; the same command continues after the last whole epoch");
            return Ok(false);
        };
        let Trained { snapshots, training } = trained;
        self.trainings.push(training);
        for &i in rows {
            let (row, epochs) = (&plan.rows[i], self.rows[i].epochs);
            let network = snapshots.iter().find(|(epoch, _)| *epoch == epochs);
            let (_, network) = network.context("the weights of every row are kept")?;
            let trained = TrainedRow { network, row };
            if let Some(rounds) = args.time {
                let path = weights::path(&args.out, recipe, epochs);
                self.timings.add(&trained, test, rounds, &path)?;
                continue;
            }
            let Some(result) = trained.iterations(recipe.seed, test)? else { return Ok(false) };
            if recipe.seed == 1 {
                self.curves[i] = Some(trained.curve(result.iterations, test)?);
            }
            self.rows[i].seeds.push(result);
        }
        Ok(true)
    }
}
