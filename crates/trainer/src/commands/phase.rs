//! `hvae phase`.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::{Result, bail};
use burn::tensor::Device;
use hvae_model::modern::Thresholds;
use hvae_solver::StoppingRule;

use crate::COMMIT;
use crate::cli::Global;
use crate::config::Usage;
use crate::figures::plot;
use crate::transition::args::PhaseArgs;
use crate::transition::collapse::{Collapse, collapse};
use crate::transition::figures;
use crate::transition::hysteresis::{Step, Way, follow};
use crate::transition::output;
use crate::transition::output::Report;
use crate::transition::set::{PatternSet, logarithmic};
use crate::transition::stability;
use crate::transition::stability::Checked;
use crate::transition::starts::Starts;
use crate::transition::sweep;
use crate::transition::sweep::{Point, Settings};
use crate::transition::thresholds::{observe, table};
use hvae_runtime::{files, terminal};

/// Values of `beta` on the ways up and down, and on the curves that are compared.
const FOLLOWED: usize = 120;

pub(super) fn run(args: &PhaseArgs, global: &Global, device: &Device) -> Result<()> {
    let set = PatternSet::new(args, global, device)?;
    let [from, to] = range(args, &set)?;
    let rule = StoppingRule::new(args.tolerance, args.max_steps as usize)?;
    files::require_writable_folder(&args.out)?;
    let d = &set.description;
    terminal::line(&format!(
        "{} patterns of dimension {}, {}: D = {:.4}, beta_eff = {:.4} beta",
        d.count, d.dimension, d.kind, d.distance, d.scale
    ));
    let mut clock = Clock { last: Instant::now(), seconds: Vec::new() };
    let several = set.count() > 1;

    let thresholds = (several && d.equidistant).then(|| observe(&set, args.seed)).transpose()?;
    clock.lap("thresholds");
    let table = table(&args.table, args.seed, device)?;
    clock.lap("table");
    let starts = Starts::new(&set, args.starts as usize, args.seed)?;
    let values = logarithmic(from, to, args.betas as usize);
    let settings = Settings { rule, same: args.same };
    let points = sweep::sweep(&set, &starts, &values, &settings)?;
    clock.lap("sweep");
    let followed = logarithmic(from, to, FOLLOWED);
    let (steps, fixed) =
        if several { follow(&set, &followed, args.seed)? } else { Default::default() };
    clock.lap("hysteresis");
    let checked = if several {
        stability::check(&set, steps, fixed, &followed, args.seed)?
    } else {
        Vec::new()
    };
    clock.lap("stability");
    let compared = (several && d.equidistant)
        .then(|| {
            collapse(
                set.count(),
                &logarithmic(from, to.min(8.0 * from), FOLLOWED),
                args.seed,
                device,
            )
        })
        .transpose()?;
    clock.lap("collapse");

    let report = Report {
        format: 1,
        commit: COMMIT,
        command: format!("{args:?}"),
        patterns: set.description.clone(),
        thresholds,
        table,
        sweep: points,
        fixed_points: checked,
        collapse: compared,
        seconds: clock.seconds,
    };
    draw(&report, &set, args)?;
    output::write(&report, &args.out)?;
    tell(&report, &set);
    terminal::result(&format!("written to {}", args.out.display()));
    Ok(())
}

/// First and last `beta_eff`.
fn range(args: &PhaseArgs, set: &PatternSet) -> Result<[f64; 2]> {
    let usual = set.formula.unwrap_or(Thresholds { b1: 2.0, b2: 2.0, b3: 2.0, m1: 0.0 });
    let (from, to) = (args.from.unwrap_or(usual.b1 / 2.0), args.to.unwrap_or(usual.b3 * 2.0));
    if from >= to {
        bail!(Usage::new(format!("--from {from} --to {to}: the second must be the larger")));
    }
    Ok([from, to])
}

/// Seconds since the last look, by name.
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

fn draw(report: &Report, set: &PatternSet, args: &PhaseArgs) -> Result<()> {
    let out = &args.out;
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

/// The results in words and tables, on standard output.
fn tell(report: &Report, set: &PatternSet) {
    let rows: Vec<_> = report.thresholds.iter().chain(&report.table).collect();
    if !rows.is_empty() {
        terminal::result("Thresholds as beta_eff, by formula and as observed:");
        terminal::result(&output::thresholds(&rows));
    }
    terminal::result(&tell_sweep(&report.sweep));
    if !report.fixed_points.is_empty() {
        terminal::result(&tell_jumps(&report.fixed_points, set));
        terminal::result(&tell_stability(&report.fixed_points));
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

fn tell_sweep(points: &[Point]) -> String {
    let families = || points.iter().flat_map(|p| &p.families);
    let starts: usize = families().map(|f| f.starts).sum();
    let limit: usize = families().map(|f| f.at_limit).sum();
    let broken: usize = families().map(|f| f.not_finite).sum();
    let steps: f64 = families().map(|f| f.mean_steps * f.starts as f64).sum();
    let most = points.iter().map(|p| p.distinct).max().unwrap_or(0);
    format!(
        "Sweep: {} values of beta, {starts} starts, {:.1} updates each; {limit} met the step limit, \
         {broken} were not finite; up to {most} distinct minima at one beta",
        points.len(),
        steps / starts.max(1) as f64
    )
}

/// Where states followed up and down leave their branch.
fn tell_jumps(checked: &[Checked], set: &PatternSet) -> String {
    let mut text = "Hysteresis:".to_owned();
    for (way, what) in [(Way::Up, "up from the mean"), (Way::Down, "down from a pattern")] {
        let track: Vec<&Checked> =
            checked.iter().filter(|c| c.step.way == way && c.step.track == 0).collect();
        let jump = track.windows(2).map(|w| (w, (w[1].step.order - w[0].step.order).abs()));
        let jump = jump.max_by(|a, b| a.1.total_cmp(&b.1));
        if let Some(([before, after], size)) = jump {
            let _ = write!(
                text,
                "\n  {what}: largest jump, of {size:.3}, between beta_eff {:.4} and {:.4}; eigenvalue before it {:.4}",
                before.step.beta_eff, after.step.beta_eff, before.eigenvalue
            );
        }
    }
    let limit = checked.iter().filter(|c| c.step.at_limit).count();
    if let (Some(formula), true) = (set.formula, set.description.equidistant) {
        let _ = write!(text, "\n  expected at b3 = {:.4} and b1 = {:.4}", formula.b3, formula.b1);
    }
    text + &format!("\n  {limit} of {} states met the step limit", checked.len())
}

/// How well eigenvalues predict what deviations do.
fn tell_stability(checked: &[Checked]) -> String {
    let usable = || checked.iter().filter(|c| !c.step.at_limit);
    let unstable = usable().filter(|c| c.eigenvalue > 1.0).count();
    let wrong: Vec<f64> = usable()
        .filter(|c| (c.eigenvalue > 1.0) != (c.growth > 1.0))
        .map(|c| (c.eigenvalue - 1.0).abs())
        .collect();
    let furthest = wrong.iter().copied().fold(0.0, f64::max);
    // Below this the deviation is lost in rounding.
    let mut errors: Vec<f64> = usable()
        .filter(|c| c.eigenvalue > 0.01)
        .map(|c| (c.growth / c.eigenvalue - 1.0).abs())
        .collect();
    errors.sort_by(f64::total_cmp);
    let at = |tenths: usize| errors.get(errors.len() * tenths / 10).copied().unwrap_or(0.0);
    format!(
        "Stability: {} fixed points, {unstable} with an eigenvalue above 1; stability predicted \
         wrongly at {} (eigenvalue then within {furthest:.1e} of 1); growth differs from the eigenvalue by {:.2}% (median), {:.2}% (9 of 10)",
        usable().count(),
        wrong.len(),
        100.0 * at(5),
        100.0 * at(9)
    )
}
