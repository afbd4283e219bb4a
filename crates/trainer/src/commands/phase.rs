//! `hvae phase`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use hvae_model::modern::Thresholds;
use hvae_solver::StoppingRule;

use crate::COMMIT;
use crate::cli::values::{NOT_NEGATIVE, POSITIVE, number};
use crate::commands::context::{Context, Ended, Run};
use crate::config::Usage;
use crate::figures::plot;
use crate::transition::collapse::{Collapse, collapse};
use crate::transition::figures;
use crate::transition::hysteresis::{Step, Way, follow};
use crate::transition::output;
use crate::transition::output::Report;
use crate::transition::set::{PatternArgs, PatternSet, logarithmic};
use crate::transition::stability;
use crate::transition::stability::Checked;
use crate::transition::starts::Starts;
use crate::transition::sweep;
use crate::transition::sweep::{Point, Settings};
use crate::transition::thresholds::{observe, table};
use hvae_runtime::{files, terminal};

/// Observe the phase transition of modern Hopfield networks
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae phase                                            10 orthogonal patterns
  hvae phase --count 100 --table 3,5,10,20,50,100,1000  and thresholds for other numbers
  hvae phase --patterns equidistant --cosine 0.5 --dimension 64 --norm 2
  hvae phase --patterns mnist --count 100 --out mnist-phase
  hvae phase --count 1000 --starts 1000 --betas 200

The folder --out gets minima, hysteresis, collapse and stability as pictures (.png and .svg), the
numbers behind them as .csv, and report.json. Existing files of these names are replaced.

Values of --from and --to, and all thresholds, are beta_eff = beta D^2 / 2, where D is the (root
mean square) distance between two patterns.")]
pub struct Phase {
    /// The patterns
    #[command(flatten)]
    set: PatternArgs,
    /// Number of values of beta, spaced evenly in its logarithm
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    betas: u32,
    /// Smallest `beta_eff` [default: half of b1]
    #[arg(long, allow_negative_numbers = true, value_name = "BETA", value_parser = number(POSITIVE))]
    from: Option<f64>,
    /// Largest `beta_eff` [default: twice b3]
    #[arg(long, allow_negative_numbers = true, value_name = "BETA", value_parser = number(POSITIVE))]
    to: Option<f64>,
    /// Starts for each beta, shared by the families: at patterns, near the mean, at random
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(3..=1_000_000))]
    starts: u32,
    /// Updates for each start at most; those that meet this limit are counted
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    max_steps: u32,
    /// A start has converged when an update changes its weights by less than this, relatively
    #[arg(long, allow_negative_numbers = true, value_name = "TOLERANCE", default_value_t = 1e-5, value_parser = number(NOT_NEGATIVE))]
    tolerance: f64,
    /// States closer than this share of the distance between patterns are one minimum
    #[arg(long, allow_negative_numbers = true, value_name = "SHARE", default_value_t = 0.02, value_parser = number(NOT_NEGATIVE))]
    same: f64,
    /// Measure the thresholds of these numbers of patterns too
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(2..=5_000))]
    table: Vec<u32>,
    /// Seed of patterns and starts
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for pictures and numbers
    #[arg(long, value_name = "DIR", default_value = "phase")]
    out: PathBuf,
}

/// Values of `beta` at which states are followed up and down, and of the curves that are compared.
const FOLLOWED: usize = 120;

impl Run for Phase {
    fn run(self, cx: &Context) -> Result<Ended> {
        let device = cx.device()?;
        let set = PatternSet::new(&self.set, self.seed, &cx.global, device)?;
        let [from, to] = self.range(&set)?;
        let rule = StoppingRule::new(self.tolerance, self.max_steps as usize)?;
        files::require_writable_folder(&self.out)?;
        let d = &set.description;
        terminal::line(&format!(
            "{} patterns of dimension {}, {}: D = {:.4}, beta_eff = {:.4} beta",
            d.count, d.dimension, d.kind, d.distance, d.scale
        ));
        let mut clock = Clock { last: Instant::now(), seconds: Vec::new() };
        let several = set.count() > 1;
        let equidistant = several && d.equidistant;

        let thresholds = equidistant.then(|| observe(&set, self.seed)).transpose()?;
        clock.lap("thresholds");
        let table = table(&self.table, self.seed, device)?;
        clock.lap("table");
        let starts = Starts::new(&set, self.starts as usize, self.seed)?;
        let values = logarithmic(from, to, self.betas as usize);
        let settings = Settings { rule, same: self.same };
        let points = sweep::sweep(&set, &starts, &values, &settings)?;
        clock.lap("sweep");
        let followed = logarithmic(from, to, FOLLOWED);
        let (steps, fixed) =
            if several { follow(&set, &followed, self.seed)? } else { Default::default() };
        clock.lap("hysteresis");
        let checked = if several {
            stability::check(&set, steps, fixed, &followed, self.seed)?
        } else {
            Vec::new()
        };
        clock.lap("stability");
        let compared = logarithmic(from, to.min(8.0 * from), FOLLOWED);
        let compare = || collapse(set.count(), &compared, self.seed, device);
        let compared = equidistant.then(compare).transpose()?;
        clock.lap("collapse");

        let report = Report {
            format: 1,
            commit: COMMIT,
            command: format!("{self:?}"),
            patterns: set.description.clone(),
            thresholds,
            table,
            sweep: points,
            fixed_points: checked,
            collapse: compared,
            seconds: clock.seconds,
        };
        draw(&report, &set, &self.out)?;
        output::write(&report, &self.out)?;
        print(&report, &set);
        terminal::result(&format!("written to {}", self.out.display()));
        Ok(Ended::Done)
    }
}

impl Phase {
    /// First and last `beta_eff`.
    fn range(&self, set: &PatternSet) -> Result<[f64; 2]> {
        let default = set.formula.unwrap_or(Thresholds { b1: 2.0, b2: 2.0, b3: 2.0, m1: 0.0 });
        let from = self.from.unwrap_or(default.b1 / 2.0);
        let to = self.to.unwrap_or(default.b3 * 2.0);
        if from >= to {
            bail!(Usage::new(format!("--from {from} --to {to}: the second must be the larger")));
        }
        Ok([from, to])
    }
}

/// Seconds of each part.
struct Clock {
    last: Instant,
    seconds: Vec<(&'static str, f64)>,
}

impl Clock {
    fn lap(&mut self, name: &'static str) {
        self.seconds.push((name, self.last.elapsed().as_secs_f64()));
        self.last = Instant::now();
    }
}

fn draw(report: &Report, set: &PatternSet, out: &Path) -> Result<()> {
    plot::save(&figures::minima(set, &report.sweep), out, "minima")?;
    if !report.fixed_points.is_empty() {
        let steps: Vec<Step> = report.fixed_points.iter().map(|c| c.step).collect();
        plot::save(&figures::hysteresis(set, &steps), out, "hysteresis")?;
        plot::save(&figures::stability(set, &report.fixed_points), out, "stability")?;
    }
    if let Some(found) = &report.collapse {
        plot::save(&figures::collapse(set, found), out, "collapse")?;
    }
    if !report.table.is_empty() {
        plot::save(&figures::table(&report.table), out, "thresholds")?;
    }
    Ok(())
}

/// Prints the results.
fn print(report: &Report, set: &PatternSet) {
    let rows: Vec<_> = report.thresholds.iter().chain(&report.table).collect();
    if !rows.is_empty() {
        terminal::result("Thresholds as beta_eff, by formula and as observed:");
        terminal::result(&output::thresholds(&rows));
    }
    terminal::result(&sweep_summary(&report.sweep));
    if !report.fixed_points.is_empty() {
        terminal::result(&jump_summary(&report.fixed_points, set));
        terminal::result(&stability_summary(&report.fixed_points));
    }
    if let Some(Collapse { curves, spread, .. }) = &report.collapse {
        terminal::result(&format!(
            "Collapse: {} sets differ by at most {spread:.1e} at equal beta_eff",
            curves.len()
        ));
    }
    let times: Vec<String> = report.seconds.iter().map(|(n, s)| format!("{n} {s:.1} s")).collect();
    terminal::result(&format!("Time: {}", times.join(", ")));
}

fn sweep_summary(points: &[Point]) -> String {
    let families = || points.iter().flat_map(|p| &p.families);
    let starts: usize = families().map(|f| f.starts).sum();
    let limit: usize = families().map(|f| f.at_limit).sum();
    let broken: usize = families().map(|f| f.not_finite).sum();
    let steps: f64 = families().map(|f| f.mean_steps * f.starts as f64).sum();
    let most = points.iter().map(|p| p.distinct).max().unwrap_or(0);
    format!(
        "Sweep: {} values of beta, {starts} starts, {:.1} updates each; {limit} did not converge, \
         {broken} were not finite; up to {most} distinct minima at one beta",
        points.len(),
        steps / starts.max(1) as f64
    )
}

/// Where states followed up and down leave their branch.
fn jump_summary(checked: &[Checked], set: &PatternSet) -> String {
    let mut text = "Hysteresis:".to_owned();
    for (way, what) in [(Way::Up, "up from the mean"), (Way::Down, "down from a pattern")] {
        let track: Vec<&Checked> =
            checked.iter().filter(|c| c.step.way == way && c.step.track == 0).collect();
        let jump = track.windows(2).map(|w| (w, (w[1].step.order - w[0].step.order).abs()));
        let jump = jump.max_by(|a, b| a.1.total_cmp(&b.1));
        if let Some(([before, after], size)) = jump {
            let _ = write!(
                text,
                "\n  {what}: largest jump, of {size:.3}, between beta_eff {:.4} and {:.4}; eigenvalue \
                 before it {:.4}",
                before.step.beta_eff, after.step.beta_eff, before.eigenvalue
            );
        }
    }
    let limit = checked.iter().filter(|c| c.step.at_limit).count();
    if let (Some(formula), true) = (set.formula, set.description.equidistant) {
        let _ = write!(text, "\n  expected at b3 = {:.4} and b1 = {:.4}", formula.b3, formula.b1);
    }
    text + &format!("\n  {limit} of {} states did not converge", checked.len())
}

/// How well eigenvalues predict the growth of deviations.
fn stability_summary(checked: &[Checked]) -> String {
    let usable = || checked.iter().filter(|c| !c.step.at_limit);
    let unstable = usable().filter(|c| c.eigenvalue > 1.0).count();
    let wrong: Vec<f64> = usable()
        .filter(|c| (c.eigenvalue > 1.0) != (c.growth > 1.0))
        .map(|c| (c.eigenvalue - 1.0).abs())
        .collect();
    let furthest = wrong.iter().copied().fold(0.0, f64::max);
    // Below this, rounding dominates the deviation.
    let mut errors: Vec<f64> = usable()
        .filter(|c| c.eigenvalue > 0.01)
        .map(|c| (c.growth / c.eigenvalue - 1.0).abs())
        .collect();
    errors.sort_by(f64::total_cmp);
    let at = |tenths: usize| errors.get(errors.len() * tenths / 10).copied().unwrap_or(0.0);
    format!(
        "Stability: {} fixed points, {unstable} with an eigenvalue above 1; stability predicted \
         wrongly at {} (eigenvalue then within {furthest:.1e} of 1); growth differs from the \
         eigenvalue by {:.2}% (median), {:.2}% (90th percentile)",
        usable().count(),
        wrong.len(),
        100.0 * at(5),
        100.0 * at(9)
    )
}
