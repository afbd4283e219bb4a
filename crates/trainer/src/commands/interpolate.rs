use std::fmt;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use hvae_data::{Split, images::Images};
use hvae_device::download;

use crate::api::trained::Trained;
use crate::cli::values::count;
use crate::commands::context::{Context, Ended, Run};
use crate::commands::output::{Format, Look, Output, Sheet};
use crate::commands::trained::RunArgs;
use crate::figures::caption::Caption;

/// Decode latents between two test images or latents
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae interpolate checkpoints/h-vae-001 0 1
  hvae interpolate checkpoints/h-vae-001 3 8 --steps 21 --out from-3-to-8.gif
  hvae interpolate checkpoints/h-vae-001 0 1 2 3 --out chain.png
  hvae interpolate checkpoints/plane z=-2,-2 z=2,2

A number is the index of a test image, from 0: its posterior mean is used. Numbers separated by
commas, after z=, are a latent. Latents on the straight line between two points are decoded. A
picture has a row for each pair of points; a .gif shows all of them, forwards and backwards.")]
pub struct Interpolate {
    /// Test images or latents, two or more
    #[arg(index = 2, required = true, num_args = 2.., value_name = "POINT")]
    points: Vec<Endpoint>,
    /// Images from one point to the next, both included
    #[arg(long, value_name = "N", default_value_t = 11, value_parser = count(2..=100))]
    steps: usize,
    /// Output: a .png or a .gif
    #[arg(long, value_name = "PATH", default_value = "interpolation.png", value_parser = Output::parser(&[Format::Png, Format::Gif]))]
    out: Output,
    #[command(flatten)]
    look: Look,
    #[command(flatten)]
    run: RunArgs,
}

/// Where an interpolation begins or ends.
#[derive(Debug, Clone, PartialEq)]
enum Endpoint {
    /// The posterior mean of this test image.
    Image(usize),
    /// This latent.
    Latent(Vec<f32>),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(index) => write!(f, "image {index}"),
            Self::Latent(values) => f.write_str(&shown(values)),
        }
    }
}

impl std::str::FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(index) = text.parse() {
            return Ok(Self::Image(index));
        }
        let numbers = text.strip_prefix("z=").unwrap_or(text);
        let numbers: Result<Vec<f32>, _> = numbers.split(',').map(|x| x.trim().parse()).collect();
        match numbers {
            Ok(numbers) if numbers.iter().all(|x: &f32| x.is_finite()) => Ok(Self::Latent(numbers)),
            _ => Err("expected the index of a test image, such as 7, or a latent as numbers \
                      separated by commas, such as z=-1,0.5,2"
                .to_owned()),
        }
    }
}

const FRAME_MS: u32 = 80;

impl Run for Interpolate {
    fn run(self, cx: &Context) -> Result<Ended> {
        self.out.require()?;
        let trained = self.run.load(cx)?;
        let needs_images = self.points.iter().any(|p| matches!(p, Endpoint::Image(_)));
        let images = needs_images.then(|| trained.images(Split::Test, cx)).transpose()?;
        let latents = self.points.iter().map(|point| latent(point, &trained, images.as_ref()));
        let latents: Vec<Vec<f32>> = latents.collect::<Result<_>>()?;
        let images = trained.decode(&between(&latents, self.steps))?;
        let points: Vec<String> = self.points.iter().map(ToString::to_string).collect();
        let what = format!("interpolation of {}", points.join(", "));
        let caption = trained.caption(&what, None);
        if self.out.format == Format::Gif {
            let frame = |image| {
                Sheet::new(trained.size(), 1, image).with(caption.clone(), self.look).frame()
            };
            let images = images.chunks(trained.model.pixels());
            let frames: Vec<_> = images.map(frame).collect::<Result<_>>()?;
            let both_ways = frames.iter().chain(frames.iter().rev()).cloned();
            self.out.animate(FRAME_MS, |add| both_ways.into_iter().try_for_each(add))?;
        } else {
            let sheet = Sheet::new(trained.size(), self.steps, &images);
            let rows = self.points.windows(2).map(|pair| format!("{} → {}", pair[0], pair[1]));
            let caption = Caption { rows: rows.collect(), ..caption };
            self.out.write(&sheet.with(caption, self.look), Vec::new())?;
        }
        Ok(Ended::Done)
    }
}

fn latent(point: &Endpoint, trained: &Trained, images: Option<&Images>) -> Result<Vec<f32>> {
    match point {
        Endpoint::Latent(values) => {
            let (found, size, shown) = (values.len(), trained.model.latent(), shown(values));
            let differ = format!("a latent of {found} numbers, but the run's latents have {size}");
            ensure!(found == size, "{shown}: {differ}");
            Ok(values.clone())
        }
        Endpoint::Image(index) => {
            let images = images.context("the test images are not loaded")?;
            let count = images.len();
            ensure!(*index < count, "test image {index}: there are {count}, counted from 0");
            let image = images.select(&[*index]);
            download(trained.model.encode(image, &trained.phases)?.0.mean)
        }
    }
}

/// A latent as on the command line, shortened.
fn shown(values: &[f32]) -> String {
    const SHOWN: usize = 4;
    let first: Vec<String> = values.iter().take(SHOWN).map(ToString::to_string).collect();
    format!("z={}{}", first.join(","), if values.len() > SHOWN { ",..." } else { "" })
}

/// `steps` latents on the straight line from each of `latents` to the next, both included.
pub(super) fn between(latents: &[Vec<f32>], steps: usize) -> Vec<f32> {
    let mut path = Vec::new();
    for pair in latents.windows(2) {
        for step in 0..steps {
            let share = step as f32 / (steps - 1) as f32;
            let mix = |(a, b): (&f32, &f32)| (1.0 - share) * a + share * b;
            path.extend(pair[0].iter().zip(&pair[1]).map(mix));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_straight_and_includes_its_ends() {
        let path = between(&[vec![0.0, 4.0], vec![2.0, 0.0], vec![2.0, 1.0]], 3);
        assert_eq!(path, [0.0, 4.0, 1.0, 2.0, 2.0, 0.0, 2.0, 0.0, 2.0, 0.5, 2.0, 1.0]);
    }

    #[test]
    fn endpoints_are_images_or_latents() {
        assert_eq!("7".parse(), Ok(Endpoint::Image(7)));
        assert_eq!("-1, 2.5".parse(), Ok(Endpoint::Latent(vec![-1.0, 2.5])));
        assert_eq!("z=-1".parse(), Ok(Endpoint::Latent(vec![-1.0])));
        for wrong in ["", "a", "1,,2", "nan,1"] {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
    }
}
