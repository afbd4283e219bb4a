//! `hvae relax`.

use anyhow::{Context, Result, ensure};
use burn::tensor::{Device, Tensor};
use hvae_model::Kind;
use hvae_solver::{State, StoppingRule};
use image::GrayImage;

use crate::cli::pictures::RelaxArgs;
use crate::figures::picture;
use crate::latents::prior::prior_latents;
use hvae_data::images::SIDE;
use hvae_device::host::{download, upload};
use hvae_runtime::rng;
use hvae_runtime::rng::Stream;
use hvae_runtime::terminal;

use crate::commands::{Output, Trained, cannot_write, load, output, require};

pub(super) fn run(args: &RelaxArgs, device: &Device) -> Result<()> {
    let output = output(&args.out);
    ensure!(matches!(output, Output::Gif | Output::Png), cannot_write(&args.out, ".gif or .png"));
    require(&args.out, &output)?;
    let trained = load(&args.run, args.checkpoint, device)?;
    ensure!(
        trained.model.kind() != Kind::FVae,
        "an f-vae passes signals through once: there is no relaxation to watch"
    );
    let (rows, columns) = args.grid;
    let frames = frames(&trained, args, rows * columns, device)?;
    match output {
        Output::Gif => {
            let grid =
                |images: &Vec<f32>| picture::grid(images, SIDE, SIDE, columns, picture::SCALE);
            let mut film: Vec<GrayImage> = frames.iter().map(grid).collect::<Result<_>>()?;
            // The end stays for a while.
            if let Some(last) = film.last().cloned() {
                film.extend(std::iter::repeat_n(last, film.len() / 3));
            }
            picture::save_gif(&args.out, &film, args.pace.into())?;
        }
        Output::Png => {
            let pixels = SIDE * SIDE;
            let strip: Vec<f32> = (0..rows * columns)
                .flat_map(|image| {
                    frames.iter().map(move |frame| &frame[image * pixels..][..pixels])
                })
                .flatten()
                .copied()
                .collect();
            let grid = picture::grid(&strip, SIDE, SIDE, frames.len(), picture::SCALE)?;
            picture::save_png(&args.out, &grid)?;
        }
        _ => return Err(cannot_write(&args.out, ".gif or .png")),
    }
    terminal::result(&args.out.display().to_string());
    Ok(())
}

/// The images at the start and after every sweep.
fn frames(
    trained: &Trained,
    args: &RelaxArgs,
    count: usize,
    device: &Device,
) -> Result<Vec<Vec<f32>>> {
    let latents = prior_latents(&trained.model, count, args.seed);
    let latents = upload(latents, trained.model.latent(), device);
    let relaxation = trained.model.decoder_phase(latents)?;
    let start = noise(&relaxation.guess(), args.seed, device)?;
    let image = (0..start.components().len())
        .rev()
        .find(|&k| start.component(k).dims()[1] == trained.model.pixels())
        .context("the decoder has no layer of the size of an image")?;
    let shown = |state: &State| download(state.component(image).clone().clamp(0.0, 1.0));
    let one = StoppingRule::new(0.0, 1)?;
    let mut frames = vec![shown(&start)?];
    let mut state = start;
    let damping = args.damping;
    for _ in 0..args.frames {
        // A solve hands back the image of the map itself: what damping keeps is mixed in here.
        let swept = relaxation.relax(state.clone(), 0.0, &one)?.state;
        state =
            state.zip(swept, |old, new| old.mul_scalar(damping) + new.mul_scalar(1.0 - damping));
        frames.push(shown(&state)?);
    }
    Ok(frames)
}

/// Random states from 0 to 1 in place of those of `like`.
fn noise(like: &State, seed: u64, device: &Device) -> Result<State> {
    use rand::RngExt;
    let components = like.components().iter().zip(0_u64..).map(|(component, index)| {
        let [rows, units] = component.dims();
        let mut rng = rng::generator(seed, Stream::Starts, index);
        let values = (0..rows * units).map(|_| rng.random::<f32>()).collect();
        upload(values, units, device)
    });
    let components: Vec<Tensor<2>> = components.collect();
    Ok(State::new(components)?)
}
