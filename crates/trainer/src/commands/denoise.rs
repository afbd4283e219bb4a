//! `hvae denoise`.

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use hvae_model::Kind;
use hvae_solver::{FixedPointMap, Outcome, State, StoppingRule, Termination};
use rand::RngExt;

use crate::cli::Global;
use crate::cli::pictures::{DenoiseArgs, Hide, Way};
use crate::config::Usage;
use crate::figures::picture;
use crate::latents::completion::{Completion, complete, optimize_latents};
use hvae_data::images::SIDE;
use hvae_device::host::{download, upload};
use hvae_runtime::rng;
use hvae_runtime::rng::Stream;
use hvae_runtime::{npz, terminal};

use crate::commands::{Output, cannot_write, load, output, require, test_images};

/// Images side by side.
const COLUMNS: usize = 10;
/// The shade at which hidden pixels start.
const GREY: f32 = 0.5;
/// Milliseconds a frame.
const PACE: u32 = 100;
/// Steps of a latent from frame to frame.
const FRAMES: usize = 3;

pub(super) fn run(args: &DenoiseArgs, global: &Global, device: &Device) -> Result<()> {
    check(args)?;
    let output = output(&args.out);
    ensure!(!matches!(output, Output::Folder), cannot_write(&args.out, ".png, .gif or .npz"));
    require(&args.out, &output)?;
    let trained = load(&args.run, args.checkpoint, device)?;
    ensure!(
        args.by == Way::Passes || trained.model.kind() != Kind::FVae,
        "--by latent needs equilibria, which an f-vae has not: use --by passes"
    );
    let images = test_images(&trained, global, device)?;
    let (from, count) = (args.from as usize, usize::from(args.count));
    let most = images.len();
    ensure!(from + count <= most, "--from {from} --count {count}: there are {most} test images");
    let rows: Vec<usize> = (from..from + count).collect();
    let inputs = download(images.select(&rows))?;
    let (known, weight) = degrade(&inputs, args, trained.config.model.precision);
    let tensor = |values: &[f32]| upload(values.to_vec(), SIDE * SIDE, device);
    let map = Completion {
        model: &trained.model,
        phases: &trained.phases,
        known: tensor(&known),
        weight: tensor(&weight),
    };
    let film = film(map, args, matches!(output, Output::Gif))?;
    let held = |images: Vec<f32>| -> Vec<f32> {
        let pixels = images.into_iter().zip(&known).zip(&weight);
        let clamped = args.noise <= 0.0;
        pixels.map(|((x, k), w)| if clamped && *w > 0.0 { *k } else { x.clamp(0.0, 1.0) }).collect()
    };
    let film: Vec<Vec<f32>> = film.into_iter().map(held).collect();
    let outputs = film.last().context("nothing was computed")?.clone();
    let stacked = |images: &Vec<f32>| {
        let kinds: [&[f32]; 3] = [&inputs, &known, images];
        picture::stacked(&kinds, SIDE, SIDE, COLUMNS.min(count), picture::SCALE)
    };
    match output {
        Output::Png => picture::save_png(&args.out, &stacked(&outputs)?)?,
        Output::Gif => {
            let frames: Vec<_> = film.iter().map(stacked).collect::<Result<_>>()?;
            picture::save_gif(&args.out, &frames, PACE)?;
        }
        Output::Npz => {
            let shape = vec![count, SIDE, SIDE];
            let array = |values| npz::Array::F32 { shape: shape.clone(), values };
            let arrays =
                [("inputs", array(&inputs)), ("known", array(&known)), ("images", array(&outputs))];
            npz::save(&args.out, &arrays)?;
        }
        Output::Folder => return Err(cannot_write(&args.out, ".png, .gif or .npz")),
    }
    tell(&inputs, &known, &outputs, count);
    terminal::result(&args.out.display().to_string());
    Ok(())
}

/// The images on the way, or the last of them alone.
fn film(map: Completion<'_>, args: &DenoiseArgs, all: bool) -> Result<Vec<Vec<f32>>> {
    let rule = StoppingRule::new(args.tolerance, args.passes as usize)?;
    match args.by {
        Way::Latent => {
            let film = optimize_latents(&map, args.steps as usize)?;
            let last = film.len() - 1;
            let shown = film.into_iter().enumerate();
            let shown = shown.filter(|(at, _)| *at == last || (all && at.is_multiple_of(FRAMES)));
            shown.map(|(_, images)| download(images)).collect()
        }
        Way::Passes if all => passes(&map, args.passes as usize),
        Way::Passes => {
            let start = map.known.clone();
            let (images, outcomes) = complete(map, start, &rule)?;
            tell_passes(&outcomes);
            Ok(vec![download(images)?])
        }
    }
}

fn check(args: &DenoiseArgs) -> Result<()> {
    if args.hide == Hide::None && args.noise <= 0.0 {
        bail!(Usage::new("--hide none leaves nothing to do without --noise SIGMA, above 0"));
    }
    Ok(())
}

/// What is known of the images, and how strongly each pixel is held to it: of a noisy one, for the
/// latent, the precision of its noise over that of the decoder; for passes, the anchor.
fn degrade(inputs: &[f32], args: &DenoiseArgs, precision: f64) -> (Vec<f32>, Vec<f32>) {
    let mut rng = rng::generator(args.seed, Stream::Occlusion, 0);
    let noise = rng::normal(args.seed, Stream::Occlusion, 1, inputs.len());
    let held = match args.by {
        _ if args.noise <= 0.0 => 1.0,
        Way::Latent => (1.0 / (precision * args.noise.powi(2))).min(1.0) as f32,
        Way::Passes => args.anchor as f32,
    };
    let (mut known, mut weight) = (Vec::new(), Vec::new());
    for (at, (&value, noise)) in inputs.iter().zip(noise).enumerate() {
        let (row, column) = (at % (SIDE * SIDE) / SIDE, at % SIDE);
        let draw: f64 = rng.random();
        let hidden = match args.hide {
            Hide::Lower => row >= SIDE / 2,
            Hide::Upper => row < SIDE / 2,
            Hide::Left => column < SIDE / 2,
            Hide::Right => column >= SIDE / 2,
            Hide::Random => draw < args.share,
            Hide::None => false,
        };
        let seen = (value + args.noise as f32 * noise).clamp(0.0, 1.0);
        known.push(if hidden { GREY } else { seen });
        weight.push(if hidden { 0.0 } else { held });
    }
    (known, weight)
}

/// The images after every pass.
fn passes(map: &Completion<'_>, passes: usize) -> Result<Vec<Vec<f32>>> {
    let mut state = State::new(vec![map.known.clone()])?;
    let mut film = vec![download(map.known.clone())?];
    for _ in 0..passes {
        state = map.apply(&state);
        film.push(download(state.component(0).clone())?);
    }
    Ok(film)
}

fn tell_passes(outcomes: &[Outcome]) {
    let done = outcomes.iter().filter(|o| o.termination == Termination::Converged).count();
    let passes: usize = outcomes.iter().map(|o| o.steps).sum();
    let (mean, count) = (passes as f64 / outcomes.len().max(1) as f64, outcomes.len());
    terminal::line(&format!(
        "{mean:.1} passes on average, {done} of {count} images at a fixed point"
    ));
}

/// How far the images are from the test images, before and after.
fn tell(inputs: &[f32], known: &[f32], outputs: &[f32], count: usize) {
    let error = |images: &[f32]| -> f64 {
        let squares = images.iter().zip(inputs).map(|(a, b)| f64::from(a - b).powi(2));
        squares.sum::<f64>() / count as f64
    };
    let (before, after) = (error(known), error(outputs));
    terminal::line(&format!("squared error per image: {before:.2} before, {after:.2} after"));
}
