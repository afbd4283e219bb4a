//! Results as text: tables for the terminal, CSV and JSON files.

use std::{fmt::Write as _, path::Path};

use anyhow::Result;
use hvae_runtime::files;
use serde::Serialize;

use crate::figures::csv;
use crate::transition::collapse::{Collapse, Curve};
use crate::transition::hysteresis::FixedPoint;
use crate::transition::patterns::Description;
use crate::transition::stability::StabilityCheck;
use crate::transition::starts::Family;
use crate::transition::sweep::{FamilySummary, Minimum, SweepPoint};
use crate::transition::thresholds::ThresholdCheck;

/// The contents of `results.json`.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) format: u32,
    pub(crate) commit: &'static str,
    pub(crate) command: String,
    pub(crate) patterns: Description,
    /// Thresholds of these patterns, if they are equidistant.
    pub(crate) thresholds: Option<ThresholdCheck>,
    /// Thresholds for other numbers of patterns.
    pub(crate) table: Vec<ThresholdCheck>,
    pub(crate) sweep: Vec<SweepPoint>,
    /// Branches up and down in `beta`, with their stability.
    pub(crate) fixed_points: Vec<StabilityCheck>,
    pub(crate) collapse: Option<Collapse>,
    pub(crate) seconds: Vec<(&'static str, f64)>,
}

pub(crate) fn write(results: &Results, folder: &Path) -> Result<()> {
    let json = serde_json::to_string_pretty(results)? + "\n";
    let checks: Vec<_> = results.thresholds.iter().chain(&results.table).collect();
    let tables = [
        ("results.json", Some(json)),
        ("sweep.csv", Some(sweep(&results.sweep))),
        ("minima.csv", Some(minima(&results.sweep))),
        ("fixed-points.csv", Some(fixed_points(&results.fixed_points))),
        ("collapse.csv", results.collapse.as_ref().map(collapse)),
        ("thresholds.csv", (!checks.is_empty()).then(|| thresholds_csv(&checks))),
    ];
    for (name, text) in tables {
        if let Some(text) = text {
            files::write(&folder.join(name), &text)?;
        }
    }
    Ok(())
}

fn sweep(points: &[SweepPoint]) -> String {
    let row = |p: &SweepPoint, f: &FamilySummary| {
        let SweepPoint { beta, beta_eff, .. } = p;
        let FamilySummary { starts, at_limit, not_finite, distinct, .. } = f;
        let FamilySummary { mean_iterations, max_iterations, .. } = f;
        let FamilySummary { order, to_nearest, entropy, energy, .. } = f;
        let ends = format!("{starts},{at_limit},{not_finite},{distinct}");
        let iterations = format!("{mean_iterations},{max_iterations}");
        let family = f.family.name();
        format!(
            "{beta},{beta_eff},{family},{ends},{iterations},{order},{to_nearest},{entropy},{energy}"
        )
    };
    let rows = points.iter().flat_map(|p| p.families.iter().map(move |f| row(p, f)));
    csv(
        "beta,beta_eff,family,starts,at_limit,not_finite,distinct,\
         mean_iterations,max_iterations,\
         order_min,order_median,order_max,to_nearest_median,entropy_mean,\
         energy_min,energy_median,energy_max",
        rows,
    )
}

fn minima(points: &[SweepPoint]) -> String {
    let names = Family::ALL.map(|f| format!("from_{}", f.name())).join(",");
    let row = |p: &SweepPoint, m: &Minimum| {
        let SweepPoint { beta, beta_eff, .. } = p;
        let Minimum { energy, to_mean, to_nearest, nearest, entropy, .. } = m;
        let reached = Family::ALL.map(|family| m.reached(family).to_string()).join(",");
        format!("{beta},{beta_eff},{reached},{energy},{to_mean},{to_nearest},{nearest},{entropy}")
    };
    csv(
        &format!("beta,beta_eff,{names},energy,to_mean,to_nearest,nearest,entropy"),
        points.iter().flat_map(|p| p.minima.iter().map(move |m| row(p, m))),
    )
}

fn fixed_points(checks: &[StabilityCheck]) -> String {
    let row = |check: &StabilityCheck| {
        let StabilityCheck { point, eigenvalue, eigenvalue_at_limit, growth } = check;
        let FixedPoint { track, beta_eff, order, energy, iterations, at_limit, .. } = point;
        let state = format!("{track},{beta_eff},{order},{energy},{iterations},{at_limit}");
        format!("{},{state},{eigenvalue},{eigenvalue_at_limit},{growth}", point.branch.name())
    };
    csv(
        "branch,track,beta_eff,order,energy,iterations,at_limit,\
         eigenvalue,eigenvalue_at_limit,growth",
        checks.iter().map(row),
    )
}

fn collapse(found: &Collapse) -> String {
    let row = |c: &Curve, (i, value): (usize, &f64)| {
        format!("\"{}\",{},{value},{},{}", c.set, value / c.scale, c.order[i], c.at_limit[i])
    };
    let rows = |c| found.beta_eff.iter().enumerate().map(move |at| row(c, at));
    csv("set,beta,beta_eff,order,at_limit", found.curves.iter().flat_map(rows))
}

fn thresholds_csv(checks: &[&ThresholdCheck]) -> String {
    let row = |check: &&ThresholdCheck| {
        let ThresholdCheck { count, formula: f, measured: m, states, at_limit } = check;
        let pairs = [(f.b1, m.b1), (f.b2, m.b2), (f.b3, m.b3), (f.m1, m.m1)];
        let pairs = pairs.map(|(formula, measured)| format!("{formula},{measured}")).join(",");
        format!("{count},{pairs},{at_limit},{states}")
    };
    csv(
        "count,b1,b1_measured,b2,b2_measured,b3,b3_measured,m1,m1_measured,at_limit,states",
        checks.iter().map(row),
    )
}

/// Formula, measurement and relative error of each threshold, as a table to print.
pub(crate) fn thresholds(rows: &[&ThresholdCheck]) -> String {
    let mut text = format!("{:>6}", "N");
    for name in ["b1", "b2", "b3"] {
        let _ = write!(text, "  {:>10} {:>10} {:>8}", name, "measured", "error");
    }
    let _ = write!(text, "  {:>7} {:>8}  at limit", "m1", "measured");
    for row in rows {
        let _ = write!(text, "\n{:>6}", row.count);
        let (f, m) = (row.formula, row.measured);
        for (formula, measured) in [(f.b1, m.b1), (f.b2, m.b2), (f.b3, m.b3)] {
            let error = measured / formula - 1.0;
            let _ = write!(text, "  {formula:>10.4} {measured:>10.4} {:>7.3}%", 100.0 * error);
        }
        let _ = write!(text, "  {:>7.4} {:>8.4}", f.m1, m.m1);
        let _ = write!(text, "  {} of {}", row.at_limit, row.states);
    }
    text
}
