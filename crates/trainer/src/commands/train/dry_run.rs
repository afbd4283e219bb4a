use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use hvae_data::images::Images;
use hvae_device::download;
use hvae_model::Vae;
use hvae_runtime::terminal;
use serde_json::{Value, json};

use crate::config::RunConfig;
use crate::latents::decode::EVALUATION_BATCH;
use crate::training;
use crate::training::memory::{self, MemoryEstimate, shown};
use crate::training::step::{Batch, StepRunner};

/// Steps before timing begins.
const WARM_UP: usize = 2;
/// Fewest and most steps that are timed.
const STEPS: RangeInclusive<usize> = 3..=30;
/// No further step is timed after this long.
const LONG_ENOUGH: Duration = Duration::from_secs(5);

/// Prints the estimates; also returns them as JSON.
pub(super) fn run(config: &RunConfig, images: &[Images; 2], devices: &[Device]) -> Result<Value> {
    let [train, test] = images;
    let device = &train.device();
    let say = terminal::result;
    say("# Configuration");
    say(config.to_toml()?.trim_end());
    let pixels = train.set().pixels();
    let needed = MemoryEstimate::of(config);
    say("\n# Memory and disk");
    say(&format!("weights = {}, gradients the same", shown(needed.weights)));
    say(&format!("optimizer = {}", shown(needed.optimizer)));
    say(&format!("averages = {}", shown(needed.averages)));
    let images = 4 * (train.len() + test.len()) * pixels;
    say(&format!("images = {}", shown(images as f64)));
    let kept = config.training.keep_checkpoints + config.training.keep_best;
    let checkpoint = shown(needed.checkpoint());
    say(&format!("checkpoint = {checkpoint}, at most {kept} are kept"));
    needed.require(device)?;

    let model = training::new_model(config, device)?;
    say("\n# Parameters");
    model.visit(&mut Parameters(&model));
    // Fewer than the shapes say: within a layer there is one for each pair of connected units.
    say(&format!("total = {}", model.parameters()));

    let (seconds, timed) = time_steps(config, train, devices)?;
    let evaluation = time_evaluation(config, test, device)?;
    let batch = config.training.batch_size.min(train.len());
    let steps = train.len().div_ceil(config.training.batch_size);
    let epoch = steps as f64 * seconds + evaluation / config.training.evaluate_every as f64;
    if let Some(peak) = memory::peak() {
        say(&format!("\n# Memory in use\nprocess = {} at its peak", shown(peak)));
    }
    say("\n# Time");
    say(&format!("step = {:.1} ms (mean of {timed})", 1e3 * seconds));
    say(&format!("speed = {:.0} images/s", batch as f64 / seconds));
    say(&format!("steps per epoch = {steps}"));
    say(&format!("evaluation = {evaluation:.1} s"));
    say(&format!("epoch = {}", duration(epoch)));
    let total = epoch * config.training.epochs as f64;
    say(&format!("all {} epochs = {}", config.training.epochs, duration(total)));
    terminal::line("an estimate: the number of sweeps changes in training. Nothing was written.");
    Ok(json!({
        "config": serde_json::to_value(config)?,
        "parameters": model.parameters(),
        "checkpoint_bytes": needed.checkpoint(),
        "steps_per_epoch": steps,
        "seconds_per_step": seconds,
        "seconds_per_epoch": epoch,
        "seconds": total,
    }))
}

/// Prints each parameter with its count and shape.
struct Parameters<'a>(&'a Vae);

impl ModuleVisitor for Parameters<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let shape = param.val().dims();
        let within = self.0.networks().flat_map(|(_, network)| &network.couplings);
        let within = within.filter(|c| c.is_within()).find(|c| c.id() == param.id);
        let count = within.map_or_else(|| shape.iter().product(), hvae_model::Coupling::parameters);
        terminal::result(&format!("{} = {count} {shape:?}", self.0.parameter_name(param.id)));
    }
}

/// Seconds per step, and over how many steps it was measured.
fn time_steps(config: &RunConfig, train: &Images, devices: &[Device]) -> Result<(f64, usize)> {
    let mut runner = StepRunner::new(config, train, devices.to_vec())?;
    let batch = config.training.batch_size.min(train.len());
    let mut started = Instant::now();
    let (mut steps, mut last) = (0, Vec::new());
    for step in 0..WARM_UP + STEPS.end() {
        if step == WARM_UP {
            runner.read(&last)?;
            started = Instant::now();
        }
        let rows: Vec<usize> = (0..batch).map(|row| (step * batch + row) % train.len()).collect();
        last = vec![runner.step(step, train, &Batch::new(train, &rows))?];
        steps = (step + 1).saturating_sub(WARM_UP);
        if steps >= *STEPS.start() && started.elapsed() > LONG_ENOUGH {
            break;
        }
    }
    // Waits until the device is done.
    runner.read(&last)?;
    Ok((started.elapsed().as_secs_f64() / steps.max(1) as f64, steps))
}

/// Seconds that an evaluation of all test images takes, from one batch of them.
fn time_evaluation(config: &RunConfig, test: &Images, device: &Device) -> Result<f64> {
    let model = training::new_model(config, device)?;
    let phases = training::phases(&config.ep, device)?;
    let batch = test.batches(EVALUATION_BATCH).next().context("the test set is empty")?;
    let [rows, _] = batch.dims();
    let started = Instant::now();
    let found = model.reconstruct(batch, None, &phases)?;
    download(model.decode(found.posterior.mean, &phases)?.0.images)?;
    Ok(started.elapsed().as_secs_f64() * test.len() as f64 / rows as f64)
}

fn duration(seconds: f64) -> String {
    if seconds < 90.0 {
        format!("{seconds:.1} s")
    } else if seconds < 5400.0 {
        format!("{:.1} min", seconds / 60.0)
    } else {
        format!("{:.1} h", seconds / 3600.0)
    }
}
