//! The plots of `hvae phase`.

use std::collections::BTreeMap;

use hvae_model::modern::Thresholds;
use plotters::style::RGBColor;

use crate::figures::plot::colour::{BLUE, GREEN, GREY, PURPLE, VERMILION};
use crate::figures::plot::{Figure, Legend, Mark, Panel, Point, Scale, Series};
use crate::transition::collapse::Collapse;
use crate::transition::fixed_points::{Branch, FixedPoint};
use crate::transition::patterns::PatternSet;
use crate::transition::stability::StabilityCheck;
use crate::transition::starts::Family;
use crate::transition::sweep::{FamilySummary, Minimum, SweepPoint};
use crate::transition::thresholds::ThresholdCheck;

const BETA: &str = "β_eff = β D² / 2";
const ORDER: &str = "distance to the mean / that of a pattern";

fn beta(name: &'static str) -> Scale {
    Scale { name, logarithmic: true, ..Scale::default() }
}

fn linear(name: &'static str) -> Scale {
    Scale { name, ..Scale::default() }
}

fn series(
    name: &str,
    colour: RGBColor,
    mark: Mark,
    points: impl Iterator<Item = [f64; 2]>,
) -> Series {
    let points = points.map(Point::from).collect();
    Series { name: name.to_owned(), colour, mark, points }
}

fn colour(family: Family) -> RGBColor {
    match family {
        Family::Pattern => BLUE,
        Family::Mean => VERMILION,
        Family::Random => GREEN,
    }
}

/// The thresholds as vertical lines.
fn marks(set: &PatternSet) -> Vec<(f64, String)> {
    let Some(formula) = set.formula else { return Vec::new() };
    let named = [(formula.b1, "b1"), (formula.b2, "b2"), (formula.b3, "b3")];
    named.map(|(value, name)| (value, name.to_owned())).to_vec()
}

fn title(what: &str, set: &PatternSet) -> String {
    let d = &set.description;
    let note = if d.equidistant { "" } else { " (b1, b2, b3: of equidistant patterns)" };
    format!("{what}: {} patterns of dimension {}, {}{note}", d.count, d.dimension, d.kind)
}

/// Minima and the iterations to them, by family of initial states.
pub(crate) fn minima(set: &PatternSet, points: &[SweepPoint]) -> Figure {
    let panel = |title: &str, y, legend| Panel {
        title: title.to_owned(),
        x: beta(BETA),
        y,
        marks: marks(set),
        legend,
        ..Panel::default()
    };
    let nats = (set.count() as f64).ln().max(f64::MIN_POSITIVE);
    let first = Family::ALL.map(|family| Panel {
        y: Scale { name: ORDER, limits: Some((-0.05, highest(set, points))), ..Scale::default() },
        series: vec![bubbles(points, family, 0.005, |m| set.order(m.to_mean))],
        ..panel(&format!("Minima reached from {}", origin(family)), linear(""), Legend::None)
    });
    let all =
        |bin, y: fn(&Minimum) -> f64| Family::ALL.map(|f| bubbles(points, f, bin, y)).to_vec();
    let reach = points.iter().flat_map(|p| &p.minima).map(|m| m.energy).fold(0.0, f64::max);
    let cut = points.iter().flat_map(|p| &p.families).map(|f| f.at_limit as f64 / f.starts as f64);
    let limits = Some((0.0, 1.05 * cut.fold(0.01, f64::max)));
    let share = Scale { name: "fraction of starts", limits, ..Scale::default() };
    let logarithmic = |name| Scale { name, logarithmic: true, ..Scale::default() };
    let rest = [
        Panel {
            series: all(0.005 * reach, |m| m.energy),
            ..panel("Energy of the minima", linear("energy"), Legend::None)
        },
        Panel {
            series: lines(points, |f| if f.distinct > 0 { f.distinct as f64 } else { f64::NAN }),
            ..panel("Distinct minima reached", logarithmic("number"), Legend::None)
        },
        Panel {
            series: lines(points, |f| f.entropy / nats),
            ..panel("Entropy of the weights, mean", linear("entropy / ln N"), Legend::None)
        },
        Panel {
            series: lines(points, |f| {
                f.to_nearest / set.description.distance.max(f64::MIN_POSITIVE)
            }),
            ..panel(
                "Distance to the nearest pattern, median",
                linear("in units of D"),
                Legend::None,
            )
        },
        Panel {
            series: lines(points, |f| f.mean_iterations),
            ..panel("Iterations to convergence, mean", logarithmic("iterations"), Legend::None)
        },
        Panel {
            series: lines(points, |f| f.at_limit as f64 / f.starts as f64),
            ..panel("Starts at the iteration limit", share, Legend::Right)
        },
    ];
    let panels = first.into_iter().chain(rest).collect();
    Figure { title: title("Minima (area: fraction of the starts)", set), columns: 3, panels }
}

/// Upper limit of the scale of order parameters.
fn highest(set: &PatternSet, points: &[SweepPoint]) -> f64 {
    let orders = points.iter().flat_map(|p| &p.minima).map(|m| set.order(m.to_mean));
    1.05 * orders.fold(1.0, f64::max)
}

/// The minima that a family reached. Those at one `beta` in the same bin of `y` of width `bin` are
/// one disc, whose area is the fraction of the starts that reached them.
fn bubbles(points: &[SweepPoint], family: Family, bin: f64, y: impl Fn(&Minimum) -> f64) -> Series {
    let mut discs = Vec::new();
    for point in points {
        let starts = point.families.iter().find(|f| f.family == family).map_or(1, |f| f.starts);
        let mut shares: BTreeMap<i64, f64> = BTreeMap::new();
        for minimum in &point.minima {
            let share = minimum.reached[family as usize] as f64 / starts as f64;
            if share > 0.0 {
                let level = (y(minimum) / bin.max(f64::MIN_POSITIVE)).round() as i64;
                *shares.entry(level).or_default() += share;
            }
        }
        let of = |(level, share)| Point { x: point.beta_eff, y: level as f64 * bin, size: share };
        discs.extend(shares.into_iter().map(of));
    }
    let name = format!("from {}", origin(family));
    Series { name, colour: colour(family), mark: Mark::Bubbles, points: discs }
}

fn origin(family: Family) -> &'static str {
    match family {
        Family::Pattern => "patterns",
        Family::Mean => "near the mean",
        Family::Random => "random states",
    }
}

fn lines(points: &[SweepPoint], y: impl Fn(&FamilySummary) -> f64) -> Vec<Series> {
    let of = |family: Family| {
        let points = points.iter().filter_map(|point| {
            let summary = point.families.iter().find(|f| f.family == family)?;
            Some([point.beta_eff, y(summary)])
        });
        series(&format!("from {}", origin(family)), colour(family), Mark::Line, points)
    };
    Family::ALL.map(of).to_vec()
}

/// State and energy along the branches up and down.
pub(crate) fn hysteresis(set: &PatternSet, points: &[FixedPoint]) -> Figure {
    let draw = |y: fn(&FixedPoint) -> f64| {
        let mut all = Vec::new();
        for (branch, name, colour) in [
            (Branch::Up, "up, from the mean", VERMILION),
            (Branch::Down, "down, from patterns", BLUE),
        ] {
            let on_branch = || points.iter().filter(|p| p.branch == branch);
            let tracks = on_branch().map(|p| p.track + 1).max();
            for track in 0..tracks.unwrap_or(0) {
                let own = on_branch().filter(|p| p.track == track);
                let name = if track == 0 { name } else { "" };
                all.push(series(name, colour, Mark::Line, own.map(|p| [p.beta_eff, y(p)])));
            }
        }
        let cut = points.iter().filter(|p| p.at_limit).map(|p| [p.beta_eff, y(p)]);
        let cut = series("iteration limit", GREY, Mark::Discs(3), cut);
        if !cut.points.is_empty() {
            all.push(cut);
        }
        all
    };
    let panel = |title: &str, y, legend, series| Panel {
        title: title.to_owned(),
        x: beta(BETA),
        y,
        series,
        marks: marks(set),
        legend,
        level: None,
    };
    let equidistant = set.description.equidistant;
    let [corner, low] = if equidistant {
        [Legend::Right, Legend::LowerLeft]
    } else {
        [Legend::LowerRight, Legend::UpperRight]
    };
    let panels = vec![
        panel("State", linear(ORDER), corner, draw(|p| p.order)),
        panel("Energy", linear("energy"), low, draw(|p| p.energy)),
    ];
    Figure { title: title("Hysteresis", set), columns: 2, panels }
}

/// Four sets against `beta` and against `beta_eff`.
pub(crate) fn collapse(set: &PatternSet, collapse: &Collapse) -> Figure {
    let styles = [
        (BLUE, Mark::Line),
        (VERMILION, Mark::Dashes),
        (GREEN, Mark::Discs(3)),
        (PURPLE, Mark::Circles(5)),
    ];
    let draw = |effective: bool| {
        let all = collapse.curves.iter().zip(styles).map(|(curve, (colour, mark))| {
            let scale = if effective { 1.0 } else { curve.scale };
            let points = collapse.beta_eff.iter().zip(&curve.order);
            series(&curve.set, colour, mark, points.map(|(b, o)| [b / scale, *o]))
        });
        all.collect::<Vec<_>>()
    };
    let panel = |title: &str, name, marks, legend, series| Panel {
        title: title.to_owned(),
        x: beta(name),
        y: linear(ORDER),
        series,
        marks,
        legend,
        level: None,
    };
    let panels = vec![
        panel("Four sets against β", "β", Vec::new(), Legend::None, draw(false)),
        panel("The same against β_eff", BETA, marks(set), Legend::LowerRight, draw(true)),
    ];
    let title = format!("States started at a pattern: four sets of {} patterns", set.count());
    Figure { title, columns: 2, panels }
}

/// Predicted eigenvalues and the measured growth of perturbations.
pub(crate) fn stability(set: &PatternSet, checks: &[StabilityCheck]) -> Figure {
    let branches = [
        (Branch::Up, "up, from the mean", VERMILION),
        (Branch::Down, "down, from patterns", BLUE),
        (Branch::Mean, "the mean", GREY),
        (Branch::Saddle, "saddles (Newton)", PURPLE),
    ];
    let of = |branch| checks.iter().filter(move |c| c.point.branch == branch);
    let predicted = branches.map(|(branch, name, colour)| {
        let points = of(branch).map(|c| [c.point.beta_eff, c.eigenvalue]);
        series(name, colour, Mark::Discs(2), points)
    });
    let both = branches.map(|(branch, name, colour)| {
        let points = of(branch).map(|c| [c.eigenvalue, c.growth]);
        series(name, colour, Mark::Circles(4), points)
    });
    let shown = |all: [Series; 4]| all.into_iter().filter(|s| !s.points.is_empty()).collect();
    let largest = checks.iter().map(|c| c.eigenvalue).fold(1.5, f64::max) * 1.1;
    let scale =
        |name| Scale { name, logarithmic: true, limits: Some((0.01, largest)), ..Scale::default() };
    let diagonal =
        series("growth = eigenvalue", GREY, Mark::Line, [[0.01; 2], [largest; 2]].into_iter());
    let mut both: Vec<Series> = shown(both);
    both.insert(0, diagonal);
    let panels = vec![
        Panel {
            title: "Largest eigenvalue of β Cov(X) at fixed points".to_owned(),
            x: beta(BETA),
            y: scale("eigenvalue (below 1: stable)"),
            series: shown(predicted),
            marks: marks(set),
            level: Some(1.0),
            legend: if set.description.equidistant { Legend::LowerLeft } else { Legend::UpperLeft },
        },
        Panel {
            title: "Measured growth of a perturbation per iteration".to_owned(),
            x: scale("eigenvalue"),
            y: scale("growth"),
            series: both,
            marks: vec![(1.0, "1".to_owned())],
            level: Some(1.0),
            legend: Legend::LowerRight,
        },
    ];
    Figure { title: title("Stability", set), columns: 2, panels }
}

/// Thresholds against the number of patterns, by formula and measured.
pub(crate) fn table(rows: &[ThresholdCheck]) -> Figure {
    type Pick = fn(&Thresholds) -> f64;
    let largest = rows.iter().map(|r| r.count).max().unwrap_or(0).max(20);
    let counts: Vec<usize> = (3..=largest).filter(|c| *c <= 30 || c % 10 == 0).collect();
    let mut all = Vec::new();
    let thresholds: [(&str, Pick, RGBColor); 3] =
        [("b1", |t| t.b1, BLUE), ("b2", |t| t.b2, GREEN), ("b3", |t| t.b3, VERMILION)];
    for (name, pick, colour) in thresholds {
        let formula =
            counts.iter().filter_map(|&count| Some([count as f64, pick(&Thresholds::of(count)?)]));
        all.push(series(&format!("{name}, formula"), colour, Mark::Line, formula));
        let measured = rows.iter().map(|r| [r.count as f64, pick(&r.measured)]);
        all.push(series(&format!("{name}, measured"), colour, Mark::Circles(6), measured));
    }
    let panel = Panel {
        title: "Thresholds of equidistant patterns".to_owned(),
        x: beta("number of patterns N"),
        y: beta(BETA),
        series: all,
        legend: Legend::UpperLeft,
        ..Panel::default()
    };
    Figure { title: "Formula and measurement".to_owned(), columns: 1, panels: vec![panel] }
}
