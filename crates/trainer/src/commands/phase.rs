use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Instant;

use anyhow::{Context as _, Error, Result, bail};
use clap::Args;
use hvae_data::{Split, config::DataConfig, dataset::Dataset};
use hvae_model::{ModelError, modern::Equidistant};
use hvae_runtime::{files, terminal};
use hvae_solver::StoppingRule;

use crate::COMMIT;
use crate::api::trained::Trained;
use crate::cli::values::{COSINE, NOT_NEGATIVE, POSITIVE, count, number};
use crate::commands::context::{Context, Ended, Run};
use crate::commands::output::JsonArgs;
use crate::config::Usage;
use crate::figures::plot;
use crate::run::choice::CheckpointChoice;
use crate::transition::collapse::{Collapse, collapse};
use crate::transition::hysteresis::{Branch, FixedPoint, FixedPoints, follow};
use crate::transition::patterns::PatternSet;
use crate::transition::results::{self, Results};
use crate::transition::stability::{self, StabilityCheck};
use crate::transition::starts::Starts;
use crate::transition::sweep::{FamilySummary, Sweep, SweepPoint, log_spaced};
use crate::transition::{plots, thresholds};

mod learned;
mod own;

/// Observe the phase transition of modern Hopfield networks
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae phase                                            10 orthogonal patterns
  hvae phase --count 100 --table 3,5,10,20,50,100,1000  and thresholds for other numbers
  hvae phase --patterns equidistant --cosine 0.5 --dimension 64 --norm 2
  hvae phase --patterns mnist --count 100 --out mnist-phase
  hvae phase --patterns ./photos --out photos-phase     own images, a .npz or .npy of vectors,
  hvae phase --patterns checkpoints/h-vae-001           or the latents of a run
  hvae phase --patterns checkpoints/h-vae-hopfield-001  or its learned prior, if it has one
  hvae phase --count 1000 --starts 1000 --betas 200

The folder --out gets minima, hysteresis, collapse and stability as pictures (.png and .svg), the
numbers behind them as .csv, and results.json. Existing files of these names are replaced. Of a run
whose prior is a Hopfield network (prior.kind = hopfield) the inverse temperature of that prior is
swept, its weights held: how many minima it has, where they become one, where training has put it,
and samples there (temperatures, samples).

Values of --from and --to, and all thresholds, are beta_eff = beta D^2 / 2, where D is the (root
mean square) distance between two patterns.")]
pub struct Phase {
    /// What the patterns are: simplex (equidistant, summing to 0), orthogonal, equidistant (with
    /// the cosine --cosine), random (directions), mnist or synthetic (the first training images),
    /// or the path of own ones: images as for `hvae train --dataset`, a .npz or .npy file of
    /// vectors, or a run, whose learned prior is swept or, without one or with --count, whose latents of the
    /// training images are stored
    #[arg(long, value_name = "KIND|PATH", default_value = "orthogonal")]
    patterns: Kind,
    /// Number of patterns [default: 10; all of own ones]
    #[arg(long, value_name = "N", value_parser = count(1..=20_000))]
    count: Option<usize>,
    /// Dimension of the patterns [default: N; images have their own]
    #[arg(long, value_name = "D", value_parser = count(1..=100_000))]
    dimension: Option<usize>,
    /// Norm of each pattern; images keep their own
    #[arg(long, allow_negative_numbers = true, value_name = "M", default_value_t = 1.0, value_parser = number(POSITIVE))]
    norm: f64,
    /// Cosine between any two patterns, from -1/(N-1) to 1
    #[arg(long, value_name = "C", allow_negative_numbers = true, value_parser = number(COSINE))]
    cosine: Option<f64>,
    /// Number of values of beta, spaced evenly in its logarithm
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = count(2..=100_000))]
    betas: usize,
    /// Smallest `beta_eff` [default: half of b1]
    #[arg(long, allow_negative_numbers = true, value_name = "BETA", value_parser = number(POSITIVE))]
    from: Option<f64>,
    /// Largest `beta_eff` [default: twice b3]
    #[arg(long, allow_negative_numbers = true, value_name = "BETA", value_parser = number(POSITIVE))]
    to: Option<f64>,
    /// Starts per beta, divided among the families: at patterns, near the mean, at random
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = count(3..=1_000_000))]
    starts: usize,
    /// Largest number of iterations per start; starts that reach it are counted
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = count(1..))]
    max_steps: usize,
    /// A start has converged when an iteration changes its weights by less than this, relatively
    #[arg(long, allow_negative_numbers = true, value_name = "TOLERANCE", default_value_t = 1e-5, value_parser = number(NOT_NEGATIVE))]
    tolerance: f64,
    /// States closer than this fraction of the distance between patterns are one minimum
    #[arg(long, allow_negative_numbers = true, value_name = "SHARE", default_value_t = 0.02, value_parser = number(NOT_NEGATIVE))]
    same: f64,
    /// Also measure the thresholds of these numbers of patterns
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = count(2..=5_000))]
    table: Vec<usize>,
    /// Seed of patterns and starts
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for pictures and numbers
    #[arg(long, value_name = "DIR", default_value = "phase")]
    out: PathBuf,
    #[command(flatten)]
    json: JsonArgs,
}

/// What the patterns are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Simplex,
    Orthogonal,
    Equidistant,
    Random,
    Mnist,
    Synthetic,
    Own(PathBuf),
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "simplex" => Self::Simplex,
            "orthogonal" => Self::Orthogonal,
            "equidistant" => Self::Equidistant,
            "random" => Self::Random,
            "mnist" => Self::Mnist,
            "synthetic" => Self::Synthetic,
            // Paths are recognised as for `hvae train --dataset`. A missing file is an error when it is
            // opened.
            path if path.contains(['/', '\\', '.']) => Self::Own(path.into()),
            _ => {
                return Err(
                    "expected simplex, orthogonal, equidistant, random, mnist, synthetic; \
                            a folder is written with a slash, and a file with its ending"
                        .to_owned(),
                );
            }
        })
    }
}

/// Number of patterns that are not read from files.
const COUNT: usize = 10;
/// Values of `beta` along the branches, and on the curves of the collapse.
const FOLLOWED: usize = 120;

impl Run for Phase {
    fn run(self, cx: &Context) -> Result<Ended> {
        if let Some(trained) = self.trained(cx)?
            && let Some(prior) = &trained.model.prior
        {
            let settings = learned::Settings {
                out: &self.out,
                json: &self.json,
                betas: self.betas,
                range: [self.from, self.to],
                seed: self.seed,
            };
            learned::run(&settings, &trained, prior)?;
            return Ok(Ended::Done);
        }
        let device = cx.device()?;
        let set = self.patterns(cx)?;
        let [from, to] = self.range(&set)?;
        let rule = StoppingRule::new(self.tolerance, self.max_steps)?;
        files::require_writable_folder(&self.out)?;
        self.json.require()?;
        let d = &set.description;
        let shape = format!("{} patterns of dimension {}, {}", d.count, d.dimension, d.kind);
        let short = |v: f64| if v < 0.01 { format!("{v:.3e}") } else { format!("{v:.4}") };
        let [distance, scale] = [d.distance, d.scale].map(short);
        terminal::line(&format!("{shape}: D = {distance}, beta_eff = {scale} beta"));
        let (mut last, mut seconds) = (Instant::now(), Vec::new());
        let mut lap = |name| {
            seconds.push((name, last.elapsed().as_secs_f64()));
            last = Instant::now();
        };
        let several = set.count() > 1;
        let equidistant = several && d.equidistant;

        let measured = equidistant.then(|| thresholds::measure(&set, self.seed)).transpose()?;
        lap("thresholds");
        let table = thresholds::table(&self.table, self.seed, device)?;
        lap("table");
        let starts = Starts::new(&set, self.starts, self.seed)?;
        let values = log_spaced(from, to, self.betas);
        let sweep = Sweep { set: &set, starts: &starts, rule: &rule, same: self.same };
        let points = sweep.run(&values)?;
        lap("sweep");
        let followed = log_spaced(from, to, FOLLOWED);
        let found =
            if several { follow(&set, &followed, self.seed)? } else { FixedPoints::default() };
        lap("hysteresis");
        let checks =
            if several { stability::check(&set, found, &followed, self.seed)? } else { Vec::new() };
        lap("stability");
        let values = log_spaced(from, to.min(8.0 * from), FOLLOWED);
        let curves =
            equidistant.then(|| collapse(set.count(), &values, self.seed, device)).transpose()?;
        lap("collapse");

        let results = Results {
            format: 1,
            commit: COMMIT,
            command: format!("{self:?}"),
            patterns: set.description.clone(),
            thresholds: measured,
            table,
            sweep: points,
            fixed_points: checks,
            collapse: curves,
            seconds,
        };
        draw(&results, &set, &self.out)?;
        results::write(&results, &self.out)?;
        print(&results, &set);
        self.json.write(&results)?;
        terminal::result(&format!("written to {}", self.out.display()));
        Ok(Ended::Done)
    }
}

impl Phase {
    /// The run that the patterns are of, if they are of one and not of a given number.
    fn trained(&self, cx: &Context) -> Result<Option<Trained>> {
        match &self.patterns {
            Kind::Own(path) if self.count.is_none() && path.join("config.toml").is_file() => {
                Trained::load(path, CheckpointChoice::Latest, cx.device()?).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The patterns that the flags describe.
    fn patterns(&self, cx: &Context) -> Result<PatternSet> {
        let device = cx.device()?;
        let count = self.count.unwrap_or(COUNT);
        if self.cosine.is_some() != (self.patterns == Kind::Equidistant) {
            bail!(Usage::new("--cosine goes with --patterns equidistant, and only with it"));
        }
        let have_dimension = matches!(self.patterns, Kind::Mnist | Kind::Synthetic | Kind::Own(_));
        if have_dimension && self.dimension.is_some() {
            bail!(Usage::new("--dimension cannot be set for images and own patterns"));
        }
        let dimension = self.dimension.unwrap_or(count);
        let equidistant =
            |shape: &Equidistant| PatternSet::equidistant(shape, self.seed, 0, device);
        let shape = |cosine| Equidistant { count, dimension, norm: self.norm, cosine };
        let images = |dataset, kind: &str| {
            let data = DataConfig { dataset, train_images: Some(count), ..DataConfig::default() };
            let images = cx.images(&data, Split::Train)?;
            let images = images.batches(count).next().context("the training set is empty")?;
            PatternSet::new(images, kind.to_owned())
        };
        match &self.patterns {
            Kind::Simplex => equidistant(&Equidistant::simplex(count, dimension, self.norm)),
            Kind::Orthogonal => equidistant(&shape(0.0)),
            Kind::Equidistant => equidistant(&shape(self.cosine.unwrap_or_default())),
            Kind::Random => PatternSet::random(count, dimension, self.norm, self.seed, device),
            Kind::Mnist => images(Dataset::Mnist, "images of MNIST"),
            Kind::Synthetic => images(Dataset::Synthetic, "synthetic images"),
            Kind::Own(path) => own::patterns(path, self.count, cx),
        }
        .map_err(name_flag)
    }

    /// Smallest and largest `beta_eff`.
    fn range(&self, set: &PatternSet) -> Result<[f64; 2]> {
        let (b1, b3) = set.formula.map_or((2.0, 2.0), |formula| (formula.b1, formula.b3));
        let (from, to) = (self.from.unwrap_or(b1 / 2.0), self.to.unwrap_or(b3 * 2.0));
        if from >= to {
            bail!(Usage::new(format!("--from {from} --to {to}: the first must be smaller")));
        }
        Ok([from, to])
    }
}

/// An invalid setting, under the name of its flag.
fn name_flag(error: Error) -> Error {
    match error.downcast() {
        Ok(ModelError::Setting { name, value, reason }) => {
            Usage::new(format!("--{name} {value}: {reason}")).into()
        }
        Ok(other) => other.into(),
        Err(other) => other,
    }
}

fn draw(results: &Results, set: &PatternSet, out: &Path) -> Result<()> {
    plot::save(&plots::minima(set, &results.sweep), out, "minima")?;
    if !results.fixed_points.is_empty() {
        let points: Vec<FixedPoint> = results.fixed_points.iter().map(|c| c.point).collect();
        plot::save(&plots::hysteresis(set, &points), out, "hysteresis")?;
        plot::save(&plots::stability(set, &results.fixed_points), out, "stability")?;
    }
    if let Some(found) = &results.collapse {
        plot::save(&plots::collapse(set, found), out, "collapse")?;
    }
    if !results.table.is_empty() {
        plot::save(&plots::table(&results.table), out, "thresholds")?;
    }
    Ok(())
}

/// A summary of the results on standard output.
fn print(results: &Results, set: &PatternSet) {
    let rows: Vec<_> = results.thresholds.iter().chain(&results.table).collect();
    if !rows.is_empty() {
        terminal::result("Thresholds as beta_eff, by formula and measured:");
        terminal::result(&results::thresholds(&rows));
    }
    terminal::result(&describe_sweep(&results.sweep));
    if !results.fixed_points.is_empty() {
        terminal::result(&describe_hysteresis(&results.fixed_points, set));
        terminal::result(&describe_stability(&results.fixed_points));
    }
    if let Some(Collapse { curves, spread, .. }) = &results.collapse {
        let sets = format!("{} sets differ by at most {spread:.1e}", curves.len());
        terminal::result(&format!("Collapse: {sets} at equal beta_eff"));
    }
    let times: Vec<String> = results.seconds.iter().map(|(n, s)| format!("{n} {s:.1} s")).collect();
    terminal::result(&format!("Time: {}", times.join(", ")));
}

fn describe_sweep(points: &[SweepPoint]) -> String {
    let families = || points.iter().flat_map(|p| &p.families);
    let total = |pick: fn(&FamilySummary) -> usize| families().map(pick).sum::<usize>();
    let (starts, limit) = (total(|f| f.starts), total(|f| f.at_limit));
    let broken = total(|f| f.not_finite);
    let iterations: f64 = families().map(|f| f.mean_iterations * f.starts as f64).sum();
    let most = points.iter().map(|p| p.distinct).max().unwrap_or(0);
    format!(
        "Sweep: {} values of beta, {starts} starts, {:.1} iterations on average; {limit} reached \
         the iteration limit, {broken} became non-finite; at most {most} distinct minima at \
         one beta",
        points.len(),
        iterations / starts.max(1) as f64
    )
}

/// Where states followed up and down jump to another branch.
fn describe_hysteresis(checks: &[StabilityCheck], set: &PatternSet) -> String {
    let mut text = "Hysteresis:".to_owned();
    for (branch, what) in [(Branch::Up, "up from the mean"), (Branch::Down, "down from a pattern")]
    {
        let track = checks.iter().filter(|c| c.point.branch == branch && c.point.track == 0);
        let track: Vec<&StabilityCheck> = track.collect();
        let jump = track.windows(2).map(|w| (w, (w[1].point.order - w[0].point.order).abs()));
        let jump = jump.max_by(|a, b| a.1.total_cmp(&b.1));
        if let Some(([before, after], size)) = jump {
            let _ = write!(
                text,
                "\n  {what}: largest jump, {size:.3}, between beta_eff {:.4} and {:.4}; eigenvalue \
                 before it {:.4}",
                before.point.beta_eff, after.point.beta_eff, before.eigenvalue
            );
        }
    }
    let limit = checks.iter().filter(|c| c.point.at_limit).count();
    if let (Some(formula), true) = (set.formula, set.description.equidistant) {
        let _ = write!(text, "\n  expected at b3 = {:.4} and b1 = {:.4}", formula.b3, formula.b1);
    }
    text + &format!("\n  {limit} of {} states reached the iteration limit", checks.len())
}

/// How well eigenvalues predict the growth of perturbations.
fn describe_stability(checks: &[StabilityCheck]) -> String {
    let usable = || checks.iter().filter(|c| !c.point.at_limit);
    let (count, unstable) = (usable().count(), usable().filter(|c| c.eigenvalue > 1.0).count());
    let wrong = || usable().filter(|c| (c.eigenvalue > 1.0) != (c.growth > 1.0));
    let furthest = wrong().map(|c| (c.eigenvalue - 1.0).abs()).fold(0.0, f64::max);
    let wrong = wrong().count();
    // Below 0.01 the perturbation is lost in rounding.
    let errors = usable().filter(|c| c.eigenvalue > 0.01);
    let mut errors: Vec<f64> = errors.map(|c| (c.growth / c.eigenvalue - 1.0).abs()).collect();
    errors.sort_by(f64::total_cmp);
    let percent = |tenths| 100.0 * errors.get(errors.len() * tenths / 10).copied().unwrap_or(0.0);
    let (median, ninetieth) = (percent(5), percent(9));
    format!(
        "Stability: {count} fixed points, {unstable} with an eigenvalue above 1; prediction wrong \
         at {wrong} (eigenvalue within {furthest:.1e} of 1); relative error of the eigenvalue \
         against the measured growth {median:.2}% (median), {ninetieth:.2}% (90th percentile)"
    )
}
