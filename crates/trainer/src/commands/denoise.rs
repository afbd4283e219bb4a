//! `hvae denoise`.

use anyhow::{Context, Result, ensure};
use burn::tensor::{Device, Tensor};
use hvae_solver::{StoppingRule, Termination};
use rand::RngExt;

use crate::cli::Global;
use crate::cli::pictures::{DenoiseArgs, Hide};
use crate::completion::{Completion, complete};
use crate::images::{SIDE, download, upload};
use crate::rng::{self, Stream};
use crate::{npz, picture, report, training};

use super::{Output, Trained, cannot_write, load, output, test_images};

/// Images side by side.
const COLUMNS: usize = 10;
/// The shade at which hidden pixels start.
const GREY: f32 = 0.5;
/// Milliseconds a frame.
const PACE: u32 = 120;

pub(super) fn run(args: &DenoiseArgs, global: &Global, device: &Device) -> Result<()> {
    let output = output(&args.out)?;
    check(args)?;
    let rule = StoppingRule::new(args.tolerance, args.passes as usize)
        .with_context(|| format!("--tolerance {}", args.tolerance))?;
    let trained = load(&args.run, args.checkpoint, device)?;
    let images = test_images(&trained, global, device)?;
    let (from, count) = (args.from as usize, usize::from(args.count));
    let most = images.len();
    ensure!(from + count <= most, "--from {from} --count {count}: there are {most} test images");
    let rows: Vec<usize> = (from..from + count).collect();
    let inputs = download(images.select(&rows))?;
    let (known, weight) = degrade(&inputs, args);
    let pixels = SIDE * SIDE;
    let tensor = |values: &[f32]| upload(values.to_vec(), pixels, device);
    let completion = |known: &[f32]| Completion {
        model: &trained.model,
        phases: &trained.phases,
        known: tensor(known),
        weight: tensor(&weight),
    };
    let (outputs, outcomes) = complete(completion(&known), tensor(&known), &rule)?;
    let outputs = download(outputs.clamp(0.0, 1.0))?;
    match output {
        Output::Png => {
            let kinds: [&[f32]; 3] = [&inputs, &known, &outputs];
            let columns = COLUMNS.min(count);
            let grid = picture::stacked(&kinds, SIDE, SIDE, columns, training::SCALE)?;
            picture::save_png(&args.out, &grid)?;
        }
        Output::Gif => {
            let passes = outcomes.iter().map(|o| o.steps).max().unwrap_or(1);
            let film = film(&trained, &completion, &known, passes, &tensor)?;
            let columns = COLUMNS.min(count);
            let frames: Vec<_> = film
                .iter()
                .map(|image| {
                    let kinds: [&[f32]; 3] = [&inputs, &known, image];
                    picture::stacked(&kinds, SIDE, SIDE, columns, training::SCALE)
                })
                .collect::<Result<_>>()?;
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
    tell(&inputs, &known, &outputs, &weight, &outcomes);
    report::result(&args.out.display().to_string());
    Ok(())
}

fn check(args: &DenoiseArgs) -> Result<()> {
    let (share, noise, anchor) = (args.share, args.noise, args.anchor);
    ensure!((0.0..=1.0).contains(&share), "--share {share}: must lie in [0, 1]");
    ensure!(noise.is_finite() && noise >= 0.0, "--noise {noise}: must be 0 or more");
    ensure!((0.0..=1.0).contains(&anchor), "--anchor {anchor}: must lie in [0, 1]");
    ensure!(
        args.hide != Hide::None || noise > 0.0,
        "--hide none leaves nothing to do without --noise SIGMA"
    );
    Ok(())
}

/// What is known of the images, and how strongly each pixel is held to it.
fn degrade(inputs: &[f32], args: &DenoiseArgs) -> (Vec<f32>, Vec<f32>) {
    let mut rng = rng::generator(args.seed, Stream::Occlusion, 0);
    let noise = rng::normal(args.seed, Stream::Occlusion, 1, inputs.len());
    let held = if args.noise > 0.0 { args.anchor as f32 } else { 1.0 };
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
        let noisy = (value + args.noise as f32 * noise).clamp(0.0, 1.0);
        known.push(if hidden { GREY } else { noisy });
        weight.push(if hidden { 0.0 } else { held });
    }
    (known, weight)
}

/// The images after every pass.
fn film<'a>(
    trained: &'a Trained,
    completion: &impl Fn(&[f32]) -> Completion<'a>,
    known: &[f32],
    passes: usize,
    tensor: &impl Fn(&[f32]) -> Tensor<2>,
) -> Result<Vec<Vec<f32>>> {
    use hvae_solver::{FixedPointMap, State};
    debug_assert_eq!(trained.model.pixels(), SIDE * SIDE);
    let map = completion(known);
    let mut state = State::new(vec![tensor(known)])?;
    let mut film = vec![known.to_vec()];
    for _ in 0..passes {
        state = map.apply(&state);
        film.push(download(state.component(0).clone().clamp(0.0, 1.0))?);
    }
    Ok(film)
}

/// Errors on the pixels that were not clamped, before and after, and how many passes it took.
fn tell(
    inputs: &[f32],
    known: &[f32],
    outputs: &[f32],
    weight: &[f32],
    outcomes: &[hvae_solver::Outcome],
) {
    let error = |images: &[f32]| -> f64 {
        let squares = images
            .iter()
            .zip(inputs)
            .zip(weight)
            .map(|((a, b), w)| if *w < 1.0 { f64::from(a - b).powi(2) } else { 0.0 });
        squares.sum::<f64>() / outcomes.len().max(1) as f64
    };
    let done = outcomes.iter().filter(|o| o.termination == Termination::Converged).count();
    let passes: usize = outcomes.iter().map(|o| o.steps).sum();
    report::line(&format!(
        "squared error per image on the pixels that were not clamped: {:.2} before, {:.2} after; \
         {:.1} passes on average, {done} of {} images at a fixed point",
        error(known),
        error(outputs),
        passes as f64 / outcomes.len().max(1) as f64,
        outcomes.len()
    ));
}
