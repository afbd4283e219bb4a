//! Memory of statistics with kept features, without a network: random features stream in as those
//! of a set do. `feature_memory IMAGES DIMS` prints seconds and, on Linux, the peak of memory.
#![allow(clippy::print_stdout, reason = "the numbers are the result")]

use std::time::Instant;

use anyhow::Result;
use hvae_runtime::rng;
use hvae_runtime::rng::Stream;
use hvae_scores::distance::frechet;
use hvae_scores::statistics::Accumulator;

/// Images per batch.
const BATCH: usize = 500;

fn main() -> Result<()> {
    let arguments: Vec<usize> =
        std::env::args().skip(1).map(|a| a.parse()).collect::<Result<_, _>>()?;
    let [images, dims] = arguments[..] else { anyhow::bail!("usage: feature_memory IMAGES DIMS") };
    let start = Instant::now();
    let mut sides = Vec::new();
    for side in 0..2 {
        let mut kept: Vec<f32> = Vec::with_capacity(images * dims);
        let mut statistics = Accumulator::new(dims);
        for from in (0..images).step_by(BATCH) {
            let rows = BATCH.min(images - from);
            let batch = rng::normal(side, Stream::Starts, from as u64, rows * dims);
            statistics.add(&batch)?;
            kept.extend(batch);
        }
        sides.push((statistics.finish()?, kept));
    }
    println!("statistics of both sides after {:.0} s", start.elapsed().as_secs_f64());
    let distance = frechet(&sides[0].0, &sides[1].0)?;
    println!("distance {distance:.3} after {:.0} s", start.elapsed().as_secs_f64());
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    println!("{}", peak.unwrap_or("no peak of memory on this system"));
    Ok(())
}
