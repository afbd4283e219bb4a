use std::collections::BTreeMap;

use hvae_model::modern::Thresholds;
use plotters::{
    chart::SeriesLabelPosition::{LowerLeft, LowerRight, MiddleRight, UpperLeft, UpperRight},
    style::RGBColor,
};

use crate::figures::plot::colour::{BLUE, GREEN, GREY, PURPLE, VERMILION};
use crate::figures::plot::{Figure, Legend, Mark, Panel, Point, Scale, Series};
use crate::transition::collapse::Collapse;
use crate::transition::hysteresis::{Branch, FixedPoint};
use crate::transition::patterns::PatternSet;
use crate::transition::stability::StabilityCheck;
use crate::transition::starts::Family;
use crate::transition::sweep::{FamilySummary, Minimum, SweepPoint};
use crate::transition::thresholds::ThresholdCheck;

const BETA: &str = "β_eff = β D² / 2";
const ORDER: &str = "distance to the mean / that of a pattern";

/// The branches of fixed points with their names and colours.
const BRANCHES: [(Branch, &str, RGBColor); 4] = [
    (Branch::Up, "up, from the mean", VERMILION),
    (Branch::Down, "down, from patterns", BLUE),
    (Branch::Mean, "the mean", GREY),
    (Branch::Saddle, "saddles (Newton)", PURPLE),
];

/// Name and colour of a family of initial states.
fn style(family: Family) -> (&'static str, RGBColor) {
    match family {
        Family::Pattern => ("from patterns", BLUE),
        Family::Mean => ("from near the mean", VERMILION),
        Family::Random => ("from random states", GREEN),
    }
}

/// A panel over `beta_eff`, with the thresholds as vertical lines and without a legend.
fn panel(set: &PatternSet, title: &str, y: Scale, series: Vec<Series>) -> Panel {
    let marks = set.formula.map(|f| [(f.b1, "b1"), (f.b2, "b2"), (f.b3, "b3")]);
    let marks = marks.into_iter().flatten().map(|(value, name)| (value, name.to_owned()));
    Panel {
        title: title.to_owned(),
        x: Scale::logarithmic(BETA),
        y,
        series,
        marks: marks.collect(),
        level: None,
        legend: Legend::None,
    }
}

fn figure(what: &str, set: &PatternSet, columns: usize, panels: Vec<Panel>) -> Figure {
    let d = &set.description;
    let note = if d.equidistant { "" } else { " (b1, b2, b3: of equidistant patterns)" };
    let set = format!("{} patterns of dimension {}, {}", d.count, d.dimension, d.kind);
    Figure { title: format!("{what}: {set}{note}"), columns, panels }
}

/// Minima and the iterations to them, by family of initial states.
pub(crate) fn minima(set: &PatternSet, points: &[SweepPoint]) -> Figure {
    let minima = || points.iter().flat_map(|p| &p.minima);
    let highest = 1.05 * minima().map(|m| set.order(m.to_mean)).fold(1.0, f64::max);
    let mut panels: Vec<Panel> = Vec::new();
    for family in Family::ALL {
        let series = vec![bubbles(points, family, 0.005, |m| set.order(m.to_mean))];
        let order = Scale::linear(ORDER).limits(-0.05, highest);
        panels.push(panel(set, &format!("Minima reached {}", style(family).0), order, series));
    }
    let bin = 0.005 * minima().map(|m| m.energy).fold(0.0, f64::max);
    let energies = Family::ALL.map(|f| bubbles(points, f, bin, |m| m.energy)).to_vec();
    let nats = (set.count() as f64).ln().max(f64::MIN_POSITIVE);
    let distance = set.description.distance.max(f64::MIN_POSITIVE);
    let distinct = |f: &FamilySummary| if f.distinct > 0 { f.distinct as f64 } else { f64::NAN };
    let cut = |f: &FamilySummary| f.at_limit as f64 / f.starts as f64;
    let most = points.iter().flat_map(|p| &p.families).map(cut).fold(0.01, f64::max);
    let share = Scale::linear("fraction of starts").limits(0.0, 1.05 * most);
    let over = |title, y, value: &dyn Fn(&FamilySummary) -> f64| {
        panel(set, title, y, lines(points, value))
    };
    let (number, iterations) = (Scale::logarithmic("number"), Scale::logarithmic("iterations"));
    let entropy = Scale::linear("entropy / ln N");
    let nearest = "Distance to the nearest pattern, median";
    panels.extend([
        panel(set, "Energy of the minima", Scale::linear("energy"), energies),
        over("Distinct minima reached", number, &distinct),
        over("Entropy of the weights, mean", entropy, &|f| f.entropy / nats),
        over(nearest, Scale::linear("in units of D"), &|f| f.to_nearest / distance),
        over("Iterations to convergence, mean", iterations, &|f| f.mean_iterations),
        Panel {
            legend: Legend::At(MiddleRight),
            ..over("Starts at the iteration limit", share, &cut)
        },
    ]);
    figure("Minima (area: fraction of the starts)", set, 3, panels)
}

/// The minima that a family reached. Those at one `beta` in the same bin of `y` of width `bin` are
/// one disc, whose area is the fraction of the starts that reached them.
fn bubbles(points: &[SweepPoint], family: Family, bin: f64, y: impl Fn(&Minimum) -> f64) -> Series {
    let mut discs = Vec::new();
    for point in points {
        let starts = point.family(family).map_or(1, |f| f.starts);
        let mut shares: BTreeMap<i64, f64> = BTreeMap::new();
        for minimum in &point.minima {
            let share = minimum.reached(family) as f64 / starts as f64;
            if share > 0.0 {
                let level = (y(minimum) / bin.max(f64::MIN_POSITIVE)).round() as i64;
                *shares.entry(level).or_default() += share;
            }
        }
        let of = |(level, share)| Point { x: point.beta_eff, y: level as f64 * bin, size: share };
        discs.extend(shares.into_iter().map(of));
    }
    let (name, colour) = style(family);
    Series::new(name, colour, Mark::Bubbles, discs)
}

fn lines(points: &[SweepPoint], y: &dyn Fn(&FamilySummary) -> f64) -> Vec<Series> {
    let of = |family: Family| {
        let (name, colour) = style(family);
        let at = |point: &SweepPoint| Some([point.beta_eff, y(point.family(family)?)]);
        Series::new(name, colour, Mark::Line, points.iter().filter_map(at))
    };
    Family::ALL.map(of).to_vec()
}

/// State and energy along the branches up and down.
pub(crate) fn hysteresis(set: &PatternSet, points: &[FixedPoint]) -> Figure {
    let draw = |y: fn(&FixedPoint) -> f64| {
        let at = |p: &FixedPoint| [p.beta_eff, y(p)];
        let mut all = Vec::new();
        for (branch, name, colour) in &BRANCHES[..2] {
            let on_branch = || points.iter().filter(|p| p.branch == *branch);
            let tracks = on_branch().map(|p| p.track + 1).max();
            for track in 0..tracks.unwrap_or(0) {
                let own = on_branch().filter(|p| p.track == track);
                let name = if track == 0 { *name } else { "" };
                all.push(Series::new(name, *colour, Mark::Line, own.map(at)));
            }
        }
        let cut = points.iter().filter(|p| p.at_limit).map(at);
        let cut = Series::new("iteration limit", GREY, Mark::Discs(3), cut);
        all.extend((!cut.points.is_empty()).then_some(cut));
        all
    };
    let [corner, low] = if set.description.equidistant {
        [Legend::At(MiddleRight), Legend::At(LowerLeft)]
    } else {
        [Legend::At(LowerRight), Legend::At(UpperRight)]
    };
    let state = panel(set, "State", Scale::linear(ORDER), draw(|p| p.order));
    let energy = panel(set, "Energy", Scale::linear("energy"), draw(|p| p.energy));
    let panels = vec![Panel { legend: corner, ..state }, Panel { legend: low, ..energy }];
    figure("Hysteresis", set, 2, panels)
}

/// Four sets against `beta` and against `beta_eff`.
pub(crate) fn collapse(set: &PatternSet, collapse: &Collapse) -> Figure {
    let styles = [
        (BLUE, Mark::Line),
        (VERMILION, Mark::Dashes),
        (GREEN, Mark::Discs(3)),
        (PURPLE, Mark::Circles(5)),
    ];
    let draw = |title, effective: bool| {
        let all = collapse.curves.iter().zip(styles).map(|(curve, (colour, mark))| {
            let scale = if effective { 1.0 } else { curve.scale };
            let points = collapse.beta_eff.iter().zip(&curve.order);
            Series::new(&curve.set, colour, mark, points.map(|(b, o)| [b / scale, *o]))
        });
        panel(set, title, Scale::linear(ORDER), all.collect())
    };
    let by_beta = draw("Four sets against β", false);
    let by_beta = Panel { x: Scale::logarithmic("β"), marks: Vec::new(), ..by_beta };
    let effective =
        Panel { legend: Legend::At(LowerRight), ..draw("The same against β_eff", true) };
    let title = format!("States started at a pattern: four sets of {} patterns", set.count());
    Figure { title, columns: 2, panels: vec![by_beta, effective] }
}

/// Predicted eigenvalues and the measured growth of perturbations.
pub(crate) fn stability(set: &PatternSet, checks: &[StabilityCheck]) -> Figure {
    let draw = |mark, at: fn(&StabilityCheck) -> [f64; 2]| {
        let all = BRANCHES.map(|(branch, name, colour)| {
            let own = checks.iter().filter(|c| c.point.branch == branch);
            Series::new(name, colour, mark, own.map(at))
        });
        all.into_iter().filter(|s| !s.points.is_empty()).collect::<Vec<_>>()
    };
    let largest = checks.iter().map(|c| c.eigenvalue).fold(1.5, f64::max) * 1.1;
    let scale = |name| Scale::logarithmic(name).limits(0.01, largest);
    let predicted = draw(Mark::Discs(2), |c| [c.point.beta_eff, c.eigenvalue]);
    let mut both = draw(Mark::Circles(4), |c| [c.eigenvalue, c.growth]);
    let ends = [[0.01; 2], [largest; 2]];
    both.insert(0, Series::new("growth = eigenvalue", GREY, Mark::Line, ends));
    let title = "Largest eigenvalue of β Cov(X) at fixed points";
    let predicted = panel(set, title, scale("eigenvalue (below 1: stable)"), predicted);
    let equidistant = set.description.equidistant;
    let title = "Measured growth of a perturbation per iteration";
    let panels = vec![
        Panel {
            level: Some(1.0),
            legend: if equidistant { Legend::At(LowerLeft) } else { Legend::At(UpperLeft) },
            ..predicted
        },
        Panel {
            x: scale("eigenvalue"),
            marks: vec![(1.0, "1".to_owned())],
            level: Some(1.0),
            legend: Legend::At(LowerRight),
            ..panel(set, title, scale("growth"), both)
        },
    ];
    figure("Stability", set, 2, panels)
}

/// Thresholds against the number of patterns, by formula and measured.
pub(crate) fn table(rows: &[ThresholdCheck]) -> Figure {
    type Pick = fn(&Thresholds) -> f64;
    let largest = rows.iter().map(|r| r.count).max().unwrap_or(0).max(20);
    let counts = || (3..=largest).filter(|c| *c <= 30 || c % 10 == 0);
    let mut series = Vec::new();
    let thresholds: [(&str, Pick, RGBColor); 3] =
        [("b1", |t| t.b1, BLUE), ("b2", |t| t.b2, GREEN), ("b3", |t| t.b3, VERMILION)];
    for (name, pick, colour) in thresholds {
        let formula = counts().filter_map(|n| Some([n as f64, pick(&Thresholds::of(n)?)]));
        series.push(Series::new(format!("{name}, formula"), colour, Mark::Line, formula));
        let measured = rows.iter().map(|r| [r.count as f64, pick(&r.measured)]);
        series.push(Series::new(format!("{name}, measured"), colour, Mark::Circles(6), measured));
    }
    let panel = Panel {
        title: "Thresholds of equidistant patterns".to_owned(),
        x: Scale::logarithmic("number of patterns N"),
        y: Scale::logarithmic(BETA),
        series,
        legend: Legend::At(UpperLeft),
        ..Panel::default()
    };
    Figure { title: "Formula and measurement".to_owned(), columns: 1, panels: vec![panel] }
}
