//! The charts of a study's page.

use plotters::style::RGBColor;

use crate::figures::plot::colour::{ALL, BLUE, VERMILION};
use crate::figures::plot::{Mark, Panel, Scale, Series};
use crate::report::{Chart, bars, number};
use crate::search::domain::Domain;
use crate::search::forest::Forest;
use crate::search::objective::Direction;
use crate::search::progress::epochs;
use crate::search::space::{Parameter, Space};
use crate::search::study::Study;
use crate::search::trial::{Trial, ranked};

/// Cells of the contour on each axis.
const CELLS: usize = 24;
/// Colours from the worst to the best.
const COLOURS: [RGBColor; 3] =
    [RGBColor(68, 40, 110), RGBColor(38, 130, 142), RGBColor(240, 215, 60)];
/// The line of a trial that is not among the best.
const FAINT: RGBColor = RGBColor(140, 150, 162);

/// Objective against trial, and against the other objective if there are two.
pub(crate) fn history(study: &Study, trials: &[Trial]) -> Vec<Chart> {
    let space = &study.space;
    let names: Vec<&str> = space.objectives.names().collect();
    let mut charts = Vec::new();
    for (at, (name, direction)) in space.objectives.all().iter().enumerate() {
        let (chart, hidden) = over_trials(space, trials, at, *direction);
        let hint = match (hidden, space.file.budget.rungs.is_empty()) {
            (0, true) => "The line is the best so far.".to_owned(),
            (0, false) => "The line is the best so far of those that got furthest.".to_owned(),
            _ => format!("The line is the best so far. {hidden} trials lie outside."),
        };
        charts.push(Chart::new(&chart, hint).named("trial", name));
    }
    if names.len() == 2 {
        charts.push(pareto(space, trials).named(names[0], names[1]));
    }
    charts
}

/// The values of one objective, by the epochs that they were measured at.
fn over_trials(
    space: &Space,
    trials: &[Trial],
    objective: usize,
    direction: Direction,
) -> (Panel, usize) {
    let levels = space.file.budget.levels();
    let top = trials.iter().map(|trial| trial.level(&levels)).max().unwrap_or(0);
    let mut series = Vec::new();
    for level in 1..=top {
        let here = trials.iter().filter(|trial| trial.level(&levels) == level);
        let points: Vec<[f64; 2]> = here
            .filter_map(|trial| Some([trial.number as f64, trial.values()?[objective]]))
            .collect();
        let colour = ALL[(top - level) % ALL.len()];
        let name = epochs(levels[level - 1]);
        if level == top {
            let mut best: Option<f64> = None;
            let steps = points.iter().map(|[x, y]| {
                let value = match (best, direction) {
                    (Some(best), Direction::Maximise) => best.max(*y),
                    (Some(best), Direction::Minimise) => best.min(*y),
                    (None, _) => *y,
                };
                best = Some(value);
                [*x, value]
            });
            series.push(Series::new("best so far", colour, Mark::Line, steps.collect::<Vec<_>>()));
        }
        series.push(Series::new(name, colour, Mark::Circles(4), points));
    }
    let all: Vec<f64> = series.iter().flat_map(|s| &s.points).map(|p| p.y).collect();
    let (low, high) = limits(&all);
    let hidden = all.iter().filter(|value| !(low..=high).contains(*value)).count();
    let y = Scale::linear("").limits(low, high);
    let title = "Trials".to_owned();
    (Panel { title, x: Scale::linear("").whole(), y, series, ..Panel::default() }, hidden)
}

/// The range of values without far outliers, with a margin.
fn limits(values: &[f64]) -> (f64, f64) {
    let (low, high) = fences(values);
    let margin = 0.05 * (high - low).max(1e-9 * high.abs()).max(f64::MIN_POSITIVE);
    (low - margin, high + margin)
}

/// The lowest and the highest value that are not far outside the middle half of all.
fn fences(values: &[f64]) -> (f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return (0.0, 1.0) };
    let (low, high) = (sorted[last / 4], sorted[(3 * last).div_ceil(4)]);
    let reach = 3.0 * (high - low).max(1e-9);
    (sorted[0].max(low - reach), sorted[last].min(high + reach))
}

/// All trials that got furthest, and the front.
fn pareto(space: &Space, trials: &[Trial]) -> Chart {
    let levels = space.file.budget.levels();
    let top = trials.iter().map(|trial| trial.level(&levels)).max().unwrap_or(0);
    let done = trials.iter().filter(|trial| trial.level(&levels) == top);
    let values: Vec<&[f64]> = done.filter_map(Trial::values).collect();
    let point = |values: &[f64]| [values[0], values[1]];
    let mut front: Vec<[f64; 2]> =
        space.objectives.front(&values).into_iter().map(|at| point(values[at])).collect();
    front.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let all = values.iter().map(|values| point(values));
    let series = vec![
        Series::new("trials", FAINT, Mark::Circles(4), all.collect::<Vec<_>>()),
        Series::new("Pareto front", VERMILION, Mark::Line, front),
    ];
    let panel = Panel { title: "Pareto front".to_owned(), series, ..Panel::default() };
    Chart::new(&panel, "No trial is better than one on the front in both objectives.")
}

/// A line per trial over all parameters, under their numbers.
pub(crate) fn parallel(study: &Study, trials: &[Trial]) -> Chart {
    let space = &study.space;
    let levels = space.file.budget.levels();
    let mut best = ranked(trials, &space.objectives, &levels, 1);
    let bright = best.len().div_ceil(10);
    // The best lie above the others.
    best.reverse();
    let (mut series, mut texts) = (Vec::new(), Vec::new());
    for (left, trial) in best.iter().enumerate() {
        let colour = if left + bright >= best.len() { VERMILION } else { FAINT };
        let point = space.point_of(&trial.parameters);
        let corners = (1..).zip(&point).filter_map(|(x, y)| Some([f64::from(x), 1.0 + (*y)?]));
        series.push(Series::new("", colour, Mark::Line, corners.collect::<Vec<_>>()));
        let value = trial.values().map_or(String::new(), |values| number(values[0]));
        let both = space.parameters.iter().zip(&point).filter(|(_, at)| at.is_some());
        let text = both.map(|(Parameter { key, .. }, _)| {
            let setting = trial.parameters.get(key).map_or(String::new(), ToString::to_string);
            format!("trial {}: {key} = {setting}, {value}", trial.number)
        });
        texts.push(text.collect::<Vec<_>>());
    }
    let names = (1..=space.parameters.len()).map(|number| number.to_string()).collect();
    let panel = Panel {
        title: "Parallel coordinates".to_owned(),
        x: Scale {
            names,
            ..Scale::linear("parameter").limits(0.8, space.parameters.len() as f64 + 0.2)
        },
        y: Scale {
            names: ["low", "high"].map(str::to_owned).into(),
            ..Scale::linear("value in its range").limits(0.97, 2.03)
        },
        series,
        ..Panel::default()
    };
    let hint = "A line per trial, the best tenth coloured. Where coloured lines meet, a parameter is \
                settled; where they fan out, it matters little.";
    Chart::new(&panel, hint).telling(&texts)
}

/// A model of what was measured, of losses: lower is better.
pub(crate) struct Surrogate {
    forest: Forest,
    /// Epochs after which all of it was measured, and the number of trials.
    pub(crate) epochs: usize,
    pub(crate) count: usize,
    pub(crate) importance: Vec<f64>,
    direction: Direction,
}

impl Surrogate {
    /// A forest of the first objective after as many epochs as all trials have had; `None` of less
    /// than five.
    pub(crate) fn new(study: &Study, trials: &[Trial]) -> Option<Self> {
        let space = &study.space;
        let epochs = *space.file.budget.levels().first()?;
        let measured = trials.iter().filter_map(|trial| {
            let point = space.point_of(&trial.parameters);
            // A parameter that does not apply lies in the middle.
            let point: Vec<f64> = point.into_iter().map(|at| at.unwrap_or(0.5)).collect();
            Some((point, space.objectives.losses(trial.values_at(epochs)?)[0]))
        });
        let (points, losses): (Vec<_>, Vec<f64>) = measured.unzip();
        if points.len() < 5 {
            return None;
        }
        let (low, high) = fences(&losses);
        let losses: Vec<f64> = losses.into_iter().map(|loss| loss.clamp(low, high)).collect();
        let forest = Forest::new(&points, &losses);
        let importance = forest.importance(space.parameters.len());
        let direction = space.objectives.all()[0].1;
        Some(Self { forest, epochs, count: points.len(), importance, direction })
    }

    /// The share of variance that each parameter explains.
    pub(crate) fn bars(&self, space: &Space) -> Chart {
        let shares = (1..).zip(&self.importance).map(|(x, share)| (f64::from(x), 100.0 * share));
        let panel = bars("Importance", ["parameter", "percent"], BLUE, shares);
        let hint = format!(
            "Share of the variance of {} over the whole space that a parameter explains alone, in \
             a random forest of {} trials after {} (functional analysis of variance). The rest is \
             due to combinations.",
            space.objectives.all()[0].0,
            self.count,
            epochs(self.epochs)
        );
        let text = |(Parameter { key, .. }, share): (&Parameter, &f64)| {
            format!("{key}: {:.1} %", 100.0 * share)
        };
        let texts = space.parameters.iter().zip(&self.importance).map(text).collect();
        Chart::new(&panel, hint).telling(&[texts])
    }

    /// The two parameters that explain most.
    fn most(&self) -> Option<[usize; 2]> {
        let mut order: Vec<usize> = (0..self.importance.len()).collect();
        order.sort_by(|&a, &b| self.importance[b].total_cmp(&self.importance[a]));
        Some([*order.first()?, *order.get(1)?])
    }

    /// The mean over all other parameters, against the two that matter most.
    pub(crate) fn contour(&self, study: &Study, trials: &[Trial]) -> Option<Chart> {
        let axes = self.most()?;
        let space = &study.space;
        let [x, y] = axes.map(|axis| &space.parameters[axis]);
        let cell = |k: usize| (k as f64 + 0.5) / CELLS as f64;
        let all = (0..CELLS).flat_map(|i| (0..CELLS).map(move |j| (i, j)));
        let found: Vec<(usize, usize, f64)> =
            all.map(|(i, j)| (i, j, self.forest.marginal(&axes, &[cell(i), cell(j)]))).collect();
        let lowest = found.iter().map(|c| c.2).fold(f64::INFINITY, f64::min);
        let highest = found.iter().map(|c| c.2).fold(f64::NEG_INFINITY, f64::max);
        let size = 100.0 / CELLS as f64;
        let cells = found.into_iter().map(|(i, j, loss)| {
            let share = (highest - loss) / (highest - lowest).max(f64::MIN_POSITIVE);
            let value = if self.direction == Direction::Maximise { -loss } else { loss };
            // A little larger, without gaps between them.
            let (left, top) = (i as f64 * size, 100.0 - (j + 1) as f64 * size);
            (shade(share), [left, top, size + 0.1, size + 0.1], number(value))
        });
        let at = |trial: &Trial| {
            let point = space.point_of(&trial.parameters);
            Some([value_at(&x.domain, point[axes[0]]?), value_at(&y.domain, point[axes[1]]?)])
        };
        let points: Vec<[f64; 2]> = trials.iter().filter_map(at).collect();
        let panel = Panel {
            title: "The two that matter most".to_owned(),
            x: scale(&x.domain),
            y: scale(&y.domain),
            series: vec![Series::new("", RGBColor(255, 255, 255), Mark::Circles(3), points)],
            ..Panel::default()
        };
        let hint = "Mean over all other parameters, in the same forest: dark is bad, yellow is good. \
                    Dots are trials.";
        let chart = Chart::new(&panel, hint).named(&x.key, &y.key);
        Some(chart.over(cells.collect()))
    }
}

/// A colour between the worst, 0, and the best, 1.
fn shade(share: f64) -> RGBColor {
    let at = share.clamp(0.0, 1.0) * (COLOURS.len() - 1) as f64;
    let low = usize::from(at >= 1.0);
    let part = at - low as f64;
    let mix = |a: u8, b: u8| {
        let mixed = f64::from(a) * (1.0 - part) + f64::from(b) * part;
        u8::try_from(mixed as i32).unwrap_or(u8::MAX)
    };
    let (a, b) = (COLOURS[low], COLOURS[low + 1]);
    RGBColor(mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}

/// The scale of a parameter, on which a value lies where its coordinate does.
fn scale(domain: &Domain) -> Scale {
    match domain {
        Domain::Real { low, high, log } => {
            Scale { logarithmic: *log, ..Scale::linear("").limits(*low, *high) }
        }
        Domain::Whole { low, high, log } => Scale {
            logarithmic: *log,
            ..Scale::linear("").limits(*low as f64 - 0.5, *high as f64 + 0.5)
        },
        Domain::List { values, .. } => {
            let names = values.iter().map(|value| value.to_string().replace('"', "")).collect();
            Scale { names, ..Scale::linear("").limits(0.5, values.len() as f64 + 0.5) }
        }
    }
}

/// The value on that scale at a coordinate.
fn value_at(domain: &Domain, coordinate: f64) -> f64 {
    match domain {
        Domain::List { values, .. } => 0.5 + coordinate * values.len() as f64,
        other => crate::search::domain::number(&other.at(coordinate)).unwrap_or(f64::NAN),
    }
}
