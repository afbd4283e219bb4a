//! `hvae converge`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use burn::tensor::Device;
use hvae_model::chn_ham::{LayeredNetwork, Dynamics, Form, Order};
use hvae_solver::{Anderson, Picard, Safeguard};

use crate::COMMIT;
use crate::cli::Global;
use crate::commands::Ended;
use crate::config::Usage;
use crate::converge::args::ConvergeArgs;
use crate::converge::count::{Counted, count, curves};
use crate::converge::output;
use crate::converge::output::{Curve, Measured, Report, Sample};
use crate::converge::paper;
use crate::converge::paper::Row;
use crate::converge::plan::{Plan, Recipe};
use crate::converge::timing;
use crate::converge::timing::Timing;
use crate::converge::weights::Training;
use crate::converge::{figure, train, weights};
use crate::figures::plot;
use crate::training::evaluate::EVALUATION_BATCH;
use hvae_data::Split;
use hvae_data::images::Images;
use hvae_runtime::terminal::Progress;
use hvae_runtime::{files, interrupt, terminal};

/// Test images whose residuals are drawn.
const DRAWN: usize = 256;
/// The curves reach so many times the mean number of iterations.
const REACH: f64 = 2.0;

pub(super) fn run(args: &ConvergeArgs, global: &Global, device: &Device) -> Result<Ended> {
    let plan = Plan::new(args).map_err(Usage)?;
    files::require_writable_folder(&args.out)?;
    interrupt::ask_first()?;
    let started = Instant::now();
    let load =
        |split| Images::load(&plan.data, split, &global.data_dir, global.verbosity(), device);
    let (images, test) = (load(Split::Train)?, load(Split::Test)?);
    for images in [&images, &test] {
        images.set().require_labels(&plan.data.dataset)?;
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
        found.timed.write(&args.out, &test)?;
        return Ok(Ended::Done);
    }
    found.drawn.sort_by_key(|(i, _)| *i);
    let report = Report {
        format: 1,
        commit: COMMIT,
        command: format!("{args:?}"),
        shortfall: plan.shortfall(),
        test_images: test.len(),
        rows: found.measured,
        trainings: found.trainings,
        curves: found.drawn.into_iter().map(|(_, c)| c).collect(),
        seconds: started.elapsed().as_secs_f64(),
    };
    plot::save(&figure::residuals(&report.curves), &args.out, "convergence")?;
    output::write(&report, &args.out)?;
    terminal::result(&output::table(&report.rows));
    terminal::result(&format!(
        "{} test images, {} seeds; written to {}",
        report.test_images,
        plan.seeds,
        args.out.display()
    ));
    Ok(Ended::Done)
}

/// What a run has found so far.
struct Found {
    /// In the order of the plan's rows.
    measured: Vec<Measured>,
    trainings: Vec<Training>,
    /// Curves with the index of their row.
    drawn: Vec<(usize, Curve)>,
    timed: Timed,
}

impl Found {
    fn new(plan: &Plan) -> Self {
        let empty = |&paper: &Row| Measured {
            paper,
            epochs: plan.epochs_of(&paper),
            comparable: plan.is_published(),
            samples: Vec::new(),
        };
        Self {
            measured: plan.rows.iter().map(empty).collect(),
            trainings: Vec::new(),
            drawn: Vec::new(),
            timed: Timed::default(),
        }
    }

    /// Trains `recipe` and counts its rows; false when the user stopped.
    fn measure(
        &mut self,
        args: &ConvergeArgs,
        plan: &Plan,
        recipe: &Recipe,
        rows: &[usize],
        [images, test]: [&Images; 2],
    ) -> Result<bool> {
        let needed = plan.epochs_needed(recipe, images.set().pixels());
        let Some((weights, training)) =
            train::train(recipe, &needed, images, &args.out, args.fresh)?
        else {
            terminal::line(&format!(
                "stopped; the same command goes on after the last whole epoch of {}",
                recipe.name()
            ));
            return Ok(false);
        };
        self.trainings.push(training);
        for &i in rows {
            let (row, epochs) = (&plan.rows[i], self.measured[i].epochs);
            let (_, network) = weights
                .iter()
                .find(|(epoch, _)| *epoch == epochs)
                .context("the weights of every row are kept")?;
            if let Some(rounds) = args.time {
                let path = weights::path(&args.out, recipe, epochs);
                self.timed.add(network, row, test, rounds, &path)?;
                continue;
            }
            let Some(sample) = sample(network, row, recipe.seed, test)? else {
                return Ok(false);
            };
            if recipe.seed == 1 {
                self.drawn.push((i, curve(network, row, &sample, test)?));
            }
            self.measured[i].samples.push(sample);
        }
        Ok(true)
    }
}

/// The dynamics of a row on a batch of images.
fn dynamics<'n>(
    network: &'n LayeredNetwork,
    row: &Row,
    images: burn::tensor::Tensor<2>,
) -> Result<Dynamics<'n>> {
    let order = if row.solver.is_even_odd() {
        Order::EvenOdd { inner: paper::INNER }
    } else {
        Order::Synchronous
    };
    let dynamics = Dynamics::new(network, images, order)?;
    Ok(if row.form == Form::Chn { dynamics.damped(paper::DAMPING)? } else { dynamics })
}

/// The timings of a run, by network.
#[derive(Debug, Default)]
struct Timed {
    networks: BTreeMap<u8, (Vec<Timing>, Vec<Vec<f32>>)>,
}

impl Timed {
    /// Times `row`, once for each of its kind.
    fn add(
        &mut self,
        network: &LayeredNetwork,
        row: &Row,
        test: &Images,
        rounds: u16,
        weights: &Path,
    ) -> Result<()> {
        let (timings, found) = self.networks.entry(row.layers).or_default();
        if timings.iter().any(|t| t.row == row.kind()) {
            return Ok(());
        }
        let limit = paper::limit(row.layers, row.form, row.solver);
        let anderson = row.solver.is_accelerated().then(published).transpose()?;
        for batch in timing::BATCHES.into_iter().filter(|b| *b <= test.len()) {
            let images = test.select(&(0..batch).collect::<Vec<_>>());
            let of = |images| dynamics(network, row, images);
            let (seconds, solution, outputs) =
                timing::time(of, anderson, &images, &timing::rule(row)?, rounds)?;
            timings.push(Timing {
                row: row.kind(),
                batch,
                seconds,
                steps: solution.steps,
                mean_steps: solution.mean_steps(),
                limit,
                check_every: timing::check_every(row),
                products: timing::products(
                    network,
                    &images,
                    &solution,
                    of(images.clone())?.part_size(),
                ) / seconds,
                weights: weights.display().to_string(),
            });
            found.push(outputs);
        }
        Ok(())
    }

    fn write(&self, out: &Path, test: &Images) -> Result<()> {
        for (&layers, (timings, found)) in &self.networks {
            timing::write(out, layers, timings, test, found)?;
            terminal::result(&timing_table(layers, timings));
        }
        Ok(())
    }
}

fn timing_table(layers: u8, timings: &[Timing]) -> String {
    let mut text = format!("{layers} layers, time to the tolerance:");
    for t in timings {
        let _ = write!(
            text,
            "\n  {:<11} batch {:>4}: {:>8.2} ms, {:>7.1} us per sample, {:>3} steps ({:.1} per sample), {:.0}% in products",
            t.row,
            t.batch,
            1e3 * t.seconds,
            1e6 * t.seconds / t.batch as f64,
            t.steps,
            t.mean_steps,
            100.0 * t.products
        );
    }
    text
}

/// Anderson acceleration as in the paper.
fn published() -> Result<Anderson> {
    let anderson = Anderson::new(paper::MEMORY)?.with_ridge(paper::RIDGE)?;
    Ok(anderson.with_safeguard(Safeguard::Distance))
}

/// Counts the iterations of a row; `None` when the user stopped.
fn sample(network: &LayeredNetwork, row: &Row, seed: u64, test: &Images) -> Result<Option<Sample>> {
    let limit = paper::limit(row.layers, row.form, row.solver);
    let (mut counted, mut own): (Vec<Counted>, Vec<Counted>) = (Vec::new(), Vec::new());
    let mut seconds = 0.0;
    let mut progress = Progress::start(row.name, test.len(), 0);
    for images in test.batches(EVALUATION_BATCH) {
        let begun = Instant::now();
        let dynamics = dynamics(network, row, images)?;
        if row.solver.is_accelerated() {
            counted.extend(count(&dynamics, &published()?, limit, paper::TOLERANCE)?);
            seconds += begun.elapsed().as_secs_f64();
            let usual = Anderson::new(paper::MEMORY)?;
            own.extend(count(&dynamics, &usual, limit, paper::TOLERANCE)?);
        } else {
            counted.extend(count(&dynamics, &Picard, limit, paper::TOLERANCE)?);
            seconds += begun.elapsed().as_secs_f64();
        }
        progress.update(counted.len(), String::new);
        if interrupt::requested() {
            return Ok(None);
        }
    }
    let mean = |c: &[Counted]| c.iter().map(|c| c.iterations as f64).sum::<f64>() / c.len() as f64;
    let share = |hits: usize| 100.0 * hits as f64 / counted.len() as f64;
    let labels = test.set().labels();
    let right = counted.iter().zip(labels).filter(|(c, l)| c.class == usize::from(**l)).count();
    Ok(Some(Sample {
        seed,
        iterations: mean(&counted),
        own: (!own.is_empty()).then(|| mean(&own)),
        most: counted.iter().map(|c| c.iterations).max().unwrap_or(0),
        converged: share(counted.iter().filter(|c| c.converged).count()),
        accuracy: share(right),
        seconds,
    }))
}

/// Mean residuals of a row over the iterations.
fn curve(network: &LayeredNetwork, row: &Row, sample: &Sample, test: &Images) -> Result<Curve> {
    let rows: Vec<usize> = (0..DRAWN.min(test.len())).collect();
    let dynamics = dynamics(network, row, test.select(&rows))?;
    let limit = paper::limit(row.layers, row.form, row.solver) - 1;
    let within = |i: &usize| (*i as f64) < REACH * sample.iterations;
    let steps = (0..limit).take_while(within).count().clamp(2, limit);
    let residuals = if row.solver.is_accelerated() {
        curves(&dynamics, &published()?, steps)?
    } else {
        curves(&dynamics, &Picard, steps)?
    };
    let mean = |values: &Vec<f64>| {
        // Of single residuals below it, rounding makes some 0, which would rule the mean.
        let logs = values.iter().map(|r| r.max(figure::FLOOR).ln());
        (logs.sum::<f64>() / values.len() as f64).exp()
    };
    let residuals = residuals.iter().map(mean).collect();
    Ok(Curve { layers: row.layers, name: row.name, residuals })
}
