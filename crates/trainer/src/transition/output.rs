//! The numbers as text: tables on the screen, CSV and JSON in the folder.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::transition::collapse::Collapse;
use crate::transition::set::Description;
use crate::transition::stability::Checked;
use crate::transition::starts::Family;
use crate::transition::sweep::Point;
use crate::transition::thresholds::Measured;
use hvae_runtime::files;

/// All numbers of a run, as `report.json` holds them.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of this format.
    pub format: u32,
    /// The commit of the program.
    pub commit: &'static str,
    /// The options, as the command line named them.
    pub command: String,
    /// The patterns.
    pub patterns: Description,
    /// Thresholds of these patterns, if they are equidistant.
    pub thresholds: Option<Measured>,
    /// Thresholds of other numbers of patterns.
    pub table: Vec<Measured>,
    /// For each `beta`.
    pub sweep: Vec<Point>,
    /// Up and down in `beta`, with eigenvalues.
    pub fixed_points: Vec<Checked>,
    /// Sets that differ in norm, cosine and dimension.
    pub collapse: Option<Collapse>,
    /// Seconds spent in each part.
    pub seconds: Vec<(&'static str, f64)>,
}

/// Writes the report and the tables into `folder`.
///
/// # Errors
///
/// When a file cannot be written.
pub fn write(report: &Report, folder: &Path) -> Result<()> {
    let json = serde_json::to_string_pretty(report)? + "\n";
    for (name, text) in [
        ("report.json", json),
        ("sweep.csv", sweep(&report.sweep)),
        ("minima.csv", minima(&report.sweep)),
        ("fixed-points.csv", fixed_points(&report.fixed_points)),
    ] {
        files::write(&folder.join(name), &text)?;
    }
    if let Some(found) = &report.collapse {
        files::write(&folder.join("collapse.csv"), &collapse(found))?;
    }
    let thresholds: Vec<&Measured> = report.thresholds.iter().chain(&report.table).collect();
    if !thresholds.is_empty() {
        files::write(&folder.join("thresholds.csv"), &csv_thresholds(&thresholds))?;
    }
    Ok(())
}

/// Lines joined below a head line.
fn lines(head: &str, rows: impl Iterator<Item = String>) -> String {
    rows.fold(head.to_owned() + "\n", |mut text, row| {
        text.push_str(&row);
        text.push('\n');
        text
    })
}

fn sweep(points: &[Point]) -> String {
    let head = "beta,beta_eff,family,starts,at_limit,not_finite,distinct,mean_steps,max_steps,\
        order_min,order_median,order_max,to_nearest_median,entropy_mean,\
        energy_min,energy_median,energy_max";
    let rows = points.iter().flat_map(|p| p.families.iter().map(move |f| (p, f)));
    lines(
        head,
        rows.map(|(p, f)| {
            let [o0, o1, o2] = f.order;
            let [e0, e1, e2] = f.energy;
            format!(
                "{},{},{},{},{},{},{},{},{},{o0},{o1},{o2},{},{},{e0},{e1},{e2}",
                p.beta,
                p.beta_eff,
                f.family.name(),
                f.starts,
                f.at_limit,
                f.not_finite,
                f.distinct,
                f.mean_steps,
                f.max_steps,
                f.to_nearest,
                f.entropy,
            )
        }),
    )
}

fn minima(points: &[Point]) -> String {
    let names = Family::ALL.map(|f| format!("from_{}", f.name())).join(",");
    let head = format!("beta,beta_eff,{names},energy,to_mean,to_nearest,nearest,entropy");
    let rows = points.iter().flat_map(|p| p.minima.iter().map(move |m| (p, m)));
    lines(
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

fn fixed_points(checked: &[Checked]) -> String {
    let head =
        "way,track,beta_eff,order,energy,steps,at_limit,eigenvalue,eigenvalue_at_limit,growth";
    lines(
        head,
        checked.iter().map(|c| {
            let s = &c.step;
            format!(
                "{},{},{},{},{},{},{},{},{},{}",
                s.way.name(),
                s.track,
                s.beta_eff,
                s.order,
                s.energy,
                s.steps,
                s.at_limit,
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
    lines(
        "set,beta,beta_eff,order,at_limit",
        rows.map(|(c, i)| {
            let value = found.beta_eff[i];
            format!("\"{}\",{},{value},{},{}", c.set, value / c.scale, c.order[i], c.at_limit[i])
        }),
    )
}

fn csv_thresholds(rows: &[&Measured]) -> String {
    let head = "count,b1,b1_observed,b2,b2_observed,b3,b3_observed,m1,m1_observed,at_limit,states";
    lines(
        head,
        rows.iter().map(|m| {
            let [[f1, f2, f3], [o1, o2, o3]] = [m.formula, m.observed];
            let [limit, all] = m.at_limit;
            format!(
                "{},{f1},{o1},{f2},{o2},{f3},{o3},{},{},{limit},{all}",
                m.count, m.formula_m1, m.observed_m1
            )
        }),
    )
}

/// Formula, observation and their difference for each threshold, as a table for people.
pub fn thresholds(rows: &[&Measured]) -> String {
    let mut text = format!("{:>6}", "N");
    for name in ["b1", "b2", "b3"] {
        let _ = write!(text, "  {:>10} {:>10} {:>8}", name, "observed", "off by");
    }
    let _ = write!(text, "  {:>7} {:>8}  at limit", "m at b1", "observed");
    for row in rows {
        let _ = write!(text, "\n{:>6}", row.count);
        for ((formula, observed), error) in row.formula.iter().zip(row.observed).zip(row.errors()) {
            let _ = write!(text, "  {formula:>10.4} {observed:>10.4} {:>7.3}%", 100.0 * error);
        }
        let [limit, all] = row.at_limit;
        let _ = write!(text, "  {:>7.4} {:>8.4}", row.formula_m1, row.observed_m1);
        let _ = write!(text, "  {limit} of {all}");
    }
    text
}
