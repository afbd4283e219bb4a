//! Results as text: tables for the terminal, CSV and JSON files.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::transition::collapse::Collapse;
use crate::transition::patterns::Description;
use crate::transition::stability::StabilityCheck;
use crate::transition::starts::Family;
use crate::transition::sweep::SweepPoint;
use crate::transition::thresholds::ThresholdCheck;
use hvae_runtime::files;

/// The contents of `results.json`.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    /// Version of this format.
    pub(crate) format: u32,
    /// The commit of the program.
    pub(crate) commit: &'static str,
    /// The arguments.
    pub(crate) command: String,
    pub(crate) patterns: Description,
    /// Thresholds of these patterns, if they are equidistant.
    pub(crate) thresholds: Option<ThresholdCheck>,
    /// Thresholds for other numbers of patterns.
    pub(crate) table: Vec<ThresholdCheck>,
    /// By `beta`.
    pub(crate) sweep: Vec<SweepPoint>,
    /// Branches up and down in `beta`, with their stability.
    pub(crate) fixed_points: Vec<StabilityCheck>,
    pub(crate) collapse: Option<Collapse>,
    /// Seconds spent in each part.
    pub(crate) seconds: Vec<(&'static str, f64)>,
}

/// Writes all results into `folder`.
///
/// # Errors
///
/// If a file cannot be written.
pub(crate) fn write(results: &Results, folder: &Path) -> Result<()> {
    let json = serde_json::to_string_pretty(results)? + "\n";
    for (name, text) in [
        ("results.json", json),
        ("sweep.csv", sweep(&results.sweep)),
        ("minima.csv", minima(&results.sweep)),
        ("fixed-points.csv", fixed_points(&results.fixed_points)),
    ] {
        files::write(&folder.join(name), &text)?;
    }
    if let Some(found) = &results.collapse {
        files::write(&folder.join("collapse.csv"), &collapse(found))?;
    }
    let thresholds: Vec<&ThresholdCheck> =
        results.thresholds.iter().chain(&results.table).collect();
    if !thresholds.is_empty() {
        files::write(&folder.join("thresholds.csv"), &thresholds_csv(&thresholds))?;
    }
    Ok(())
}

/// A CSV table.
fn csv(head: &str, rows: impl Iterator<Item = String>) -> String {
    rows.fold(head.to_owned() + "\n", |mut text, row| {
        text.push_str(&row);
        text.push('\n');
        text
    })
}

fn sweep(points: &[SweepPoint]) -> String {
    let head = "beta,beta_eff,family,starts,at_limit,not_finite,distinct,\
        mean_iterations,max_iterations,\
        order_min,order_median,order_max,to_nearest_median,entropy_mean,\
        energy_min,energy_median,energy_max";
    let rows = points.iter().flat_map(|p| p.families.iter().map(move |f| (p, f)));
    csv(
        head,
        rows.map(|(p, f)| {
            let (order, energy) = (f.order, f.energy);
            format!(
                "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
                p.beta,
                p.beta_eff,
                f.family.name(),
                f.starts,
                f.at_limit,
                f.not_finite,
                f.distinct,
                f.mean_iterations,
                f.max_iterations,
                order.min,
                order.median,
                order.max,
                f.to_nearest,
                f.entropy,
                energy.min,
                energy.median,
                energy.max,
            )
        }),
    )
}

fn minima(points: &[SweepPoint]) -> String {
    let names = Family::ALL.map(|f| format!("from_{}", f.name())).join(",");
    let head = format!("beta,beta_eff,{names},energy,to_mean,to_nearest,nearest,entropy");
    let rows = points.iter().flat_map(|p| p.minima.iter().map(move |m| (p, m)));
    csv(
        &head,
        rows.map(|(p, m)| {
            let [pattern, mean, random] = m.reached;
            format!(
                "{},{},{pattern},{mean},{random},{},{},{},{},{}",
                p.beta, p.beta_eff, m.energy, m.to_mean, m.to_nearest, m.nearest, m.entropy
            )
        }),
    )
}

fn fixed_points(checks: &[StabilityCheck]) -> String {
    let head = "branch,track,beta_eff,order,energy,iterations,at_limit,\
        eigenvalue,eigenvalue_at_limit,growth";
    csv(
        head,
        checks.iter().map(|c| {
            let p = &c.point;
            format!(
                "{},{},{},{},{},{},{},{},{},{}",
                p.branch.name(),
                p.track,
                p.beta_eff,
                p.order,
                p.energy,
                p.iterations,
                p.at_limit,
                c.eigenvalue,
                c.eigenvalue_at_limit,
                c.growth
            )
        }),
    )
}

fn collapse(found: &Collapse) -> String {
    let curves = found.curves.iter();
    let rows = curves.flat_map(|c| (0..found.beta_eff.len()).map(move |i| (c, i)));
    csv(
        "set,beta,beta_eff,order,at_limit",
        rows.map(|(c, i)| {
            let value = found.beta_eff[i];
            format!("\"{}\",{},{value},{},{}", c.set, value / c.scale, c.order[i], c.at_limit[i])
        }),
    )
}

fn thresholds_csv(rows: &[&ThresholdCheck]) -> String {
    let head = "count,b1,b1_measured,b2,b2_measured,b3,b3_measured,m1,m1_measured,at_limit,states";
    csv(
        head,
        rows.iter().map(|row| {
            let (f, m) = (row.formula, row.measured);
            format!(
                "{},{},{},{},{},{},{},{},{},{},{}",
                row.count, f.b1, m.b1, f.b2, m.b2, f.b3, m.b3, f.m1, m.m1, row.at_limit, row.states
            )
        }),
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
