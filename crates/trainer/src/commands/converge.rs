//! `hvae converge`.

use std::time::Instant;

use anyhow::{Context, Result};
use burn::tensor::Device;

use crate::COMMIT;
use crate::cli::Global;
use crate::commands::Ended;
use crate::config::Usage;
use crate::converge::args::ConvergeArgs;
use crate::converge::paper::Row;
use crate::converge::plan::{CLASSES, Plan, PlanOptions, Recipe};
use crate::converge::results::{Curve, Results, RowResult};
use crate::converge::timing::Timings;
use crate::converge::train::{Trained, train};
use crate::converge::weights::Training;
use crate::converge::{measure, plots, results, weights};
use crate::figures::plot;
use hvae_data::Split;
use hvae_data::images::Images;
use hvae_runtime::{files, interrupt, terminal};

pub(super) fn run(args: &ConvergeArgs, global: &Global, device: &Device) -> Result<Ended> {
    let plan = Plan::new(options(args)).map_err(Usage)?;
    files::require_writable_folder(&args.out)?;
    interrupt::ask_first()?;
    let started = Instant::now();
    let load = |split| Images::load(&plan.data, split, &global.data_dir, device);
    let (images, test) = (load(Split::Train)?, load(Split::Test)?);
    for images in [&images, &test] {
        images.set().require_classes(CLASSES, &plan.data.dataset)?;
    }
    if let Some(text) = plan.shortfall() {
        terminal::result(&format!("Smaller than in the paper: {text}."));
    }
    let mut found = Found::new(&plan);
    let seeds = if args.time.is_some() { 1 } else { plan.seeds };
    for seed in 1..=seeds {
        for (recipe, rows) in plan.trainings(seed, images.set().pixels()) {
            if !found.measure(args, &plan, &recipe, &rows, [&images, &test])? {
                return Ok(Ended::Interrupted);
            }
        }
    }
    if args.time.is_some() {
        found.timings.write(&args.out, &test)?;
        return Ok(Ended::Done);
    }
    found.curves.sort_by_key(|(i, _)| *i);
    let results = Results {
        format: 1,
        commit: COMMIT,
        command: format!("{args:?}"),
        shortfall: plan.shortfall(),
        test_images: test.len(),
        rows: found.rows,
        trainings: found.trainings,
        curves: found.curves.into_iter().map(|(_, c)| c).collect(),
        seconds: started.elapsed().as_secs_f64(),
    };
    plot::save(&plots::residuals(&results.curves), &args.out, "convergence")?;
    results::write(&results, &args.out)?;
    terminal::result(&results::table(&results.rows));
    terminal::result(&format!(
        "{} test images, {} seeds; written to {}",
        results.test_images,
        plan.seeds,
        args.out.display()
    ));
    Ok(Ended::Done)
}

fn options(args: &ConvergeArgs) -> PlanOptions {
    PlanOptions {
        networks: args.networks.clone(),
        forms: args.forms,
        preset: args.preset,
        seeds: args.seeds,
        epochs: args.epochs,
        train_images: args.train_images.map(|n| n as usize),
        test_images: args.test_images.map(|n| n as usize),
        dataset: args.dataset.clone(),
        learner: args.learner,
        hidden: args.hidden.clone(),
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
        args: &ConvergeArgs,
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
