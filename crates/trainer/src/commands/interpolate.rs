//! `hvae interpolate`.

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;

use crate::cli::Global;
use crate::cli::pictures::{Endpoint, InterpolateArgs};
use crate::figures::picture;
use hvae_data::images::{Images, SIDE};
use hvae_device::host::download;
use hvae_runtime::terminal;

use crate::commands::{Output, Trained, cannot_write, decoded, load, output, require, test_images};

/// Milliseconds a frame.
const PACE: u32 = 80;

pub(super) fn run(args: &InterpolateArgs, global: &Global, device: &Device) -> Result<()> {
    let output = output(&args.out);
    ensure!(matches!(output, Output::Gif | Output::Png), cannot_write(&args.out, ".png or .gif"));
    require(&args.out, &output)?;
    let trained = load(&args.run, args.checkpoint, device)?;
    let asks_for_images = args.points.iter().any(|p| matches!(p, Endpoint::Image(_)));
    let images = asks_for_images.then(|| test_images(&trained, global, device)).transpose()?;
    let latents: Vec<Vec<f32>> = args
        .points
        .iter()
        .map(|point| latent(point, &trained, images.as_ref()))
        .collect::<Result<_>>()?;
    let steps = usize::from(args.steps);
    let way = between(&latents, steps);
    let pictures = decoded(&trained, &way, device)?;
    match output {
        Output::Png => {
            let grid = picture::grid(&pictures, SIDE, SIDE, steps, picture::SCALE)?;
            picture::save_png(&args.out, &grid)?;
        }
        Output::Gif => {
            let mut frames: Vec<_> = pictures
                .chunks(SIDE * SIDE)
                .map(|image| picture::grid(image, SIDE, SIDE, 1, 4 * picture::SCALE))
                .collect::<Result<_>>()?;
            frames.extend(frames.clone().into_iter().rev());
            picture::save_gif(&args.out, &frames, PACE)?;
        }
        _ => return Err(cannot_write(&args.out, ".png or .gif")),
    }
    terminal::result(&args.out.display().to_string());
    Ok(())
}

fn latent(point: &Endpoint, trained: &Trained, images: Option<&Images>) -> Result<Vec<f32>> {
    match point {
        Endpoint::Latent(values) => {
            let (found, size) = (values.len(), trained.model.latent());
            ensure!(
                found == size,
                "{}: a latent of {found} numbers, but the run's have {size}",
                shown(values)
            );
            Ok(values.clone())
        }
        Endpoint::Image(index) => {
            let images = images.context("the test images were not read")?;
            let most = images.len();
            ensure!(*index < most, "test image {index}: there are {most}, counted from 0");
            let image = images.select(&[*index]);
            download(trained.model.encode(image, &trained.phases)?.0.mean)
        }
    }
}

/// A latent as it is written on the command line, cut short.
fn shown(values: &[f32]) -> String {
    const SHOWN: usize = 4;
    let first: Vec<String> = values.iter().take(SHOWN).map(ToString::to_string).collect();
    format!("z={}{}", first.join(","), if values.len() > SHOWN { ",..." } else { "" })
}

/// `steps` latents on the straight line from each of `latents` to the next, both included.
pub(super) fn between(latents: &[Vec<f32>], steps: usize) -> Vec<f32> {
    let mut way = Vec::new();
    for pair in latents.windows(2) {
        for step in 0..steps {
            let share = step as f32 / (steps - 1) as f32;
            let mix = |(a, b): (&f32, &f32)| (1.0 - share) * a + share * b;
            way.extend(pair[0].iter().zip(&pair[1]).map(mix));
        }
    }
    way
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_is_straight_and_has_its_ends() {
        let way = between(&[vec![0.0, 4.0], vec![2.0, 0.0], vec![2.0, 1.0]], 3);
        assert_eq!(way, [0.0, 4.0, 1.0, 2.0, 2.0, 0.0, 2.0, 0.0, 2.0, 0.5, 2.0, 1.0]);
    }
}
