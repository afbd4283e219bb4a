//! Arguments of the commands that draw.

use std::path::PathBuf;

use clap::Args;

use crate::run::Which;

use crate::cli::values::{DAMPING, NOT_NEGATIVE, POSITIVE, SHARE, file, number, plane};

/// Where an interpolation begins or ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Endpoint {
    /// The posterior mean of this test image.
    Image(usize),
    /// This latent.
    Latent(Vec<f32>),
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
            _ => {
                Err("expected the number of a test image, such as 7, or a latent as numbers with \
                      commas between, such as z=-1,0.5,2"
                    .to_owned())
            }
        }
    }
}

/// Arguments of `hvae interpolate`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae interpolate checkpoints/h-vae-001 0 1
  hvae interpolate checkpoints/h-vae-001 3 8 --steps 21 --out from-3-to-8.gif
  hvae interpolate checkpoints/h-vae-001 0 1 2 3 --out chain.png
  hvae interpolate checkpoints/plane z=-2,-2 z=2,2

A number is a test image, counted from 0: its posterior mean is used. Numbers with commas between,
after z=, are a latent. Latents on the straight line between are decoded; a picture has a row for
each pair, a .gif goes through all of them and back.")]
pub struct InterpolateArgs {
    /// A run's folder
    pub run: PathBuf,
    /// Test images or latents, two or more
    #[arg(required = true, num_args = 2.., value_name = "POINT")]
    pub points: Vec<Endpoint>,
    /// Images from one point to the next, both included
    #[arg(long, value_name = "N", default_value_t = 11, value_parser = clap::value_parser!(u16).range(2..=100))]
    pub steps: u16,
    /// Where to: a .png or a .gif
    #[arg(long, value_name = "PATH", default_value = "interpolation.png", value_parser = file(&["png", "gif"]))]
    pub out: PathBuf,
    /// Which checkpoint of the run
    #[arg(long, value_enum, default_value_t = Which::Latest)]
    pub checkpoint: Which,
}

/// Arguments of `hvae manifold`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae manifold checkpoints/h-vae-001
  hvae manifold checkpoints/h-vae-001 --dimensions 3,7 --range 3 --out plane.png

A latent of two dimensions is the plane itself. Otherwise the plane is that of the two principal
directions of the posterior means of test images, in units of their standard deviations, or with
--dimensions that of two coordinates, the others 0.")]
pub struct ManifoldArgs {
    /// A run's folder
    pub run: PathBuf,
    /// Images a side
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(2..=100))]
    pub side: u16,
    /// How far the plane reaches from 0 in every direction
    #[arg(long, allow_negative_numbers = true, value_name = "X", default_value_t = 2.5, value_parser = number(POSITIVE))]
    pub range: f64,
    /// Two coordinates of the latent, counted from 0, in place of principal directions
    #[arg(long, value_name = "I,J", value_parser = plane)]
    pub dimensions: Option<[usize; 2]>,
    /// Where to: a .png
    #[arg(long, value_name = "PATH", default_value = "manifold.png", value_parser = file(&["png"]))]
    pub out: PathBuf,
    /// Which checkpoint of the run
    #[arg(long, value_enum, default_value_t = Which::Latest)]
    pub checkpoint: Which,
}

/// Which part of an image is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Hide {
    /// The lower half.
    Lower,
    /// The upper half.
    Upper,
    /// The left half.
    Left,
    /// The right half.
    Right,
    /// Every pixel with the probability `--share`.
    Random,
    /// None: see `--noise`.
    None,
}

/// How what is hidden is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Way {
    /// The latent that best explains the known pixels, found by nudging the decoder there.
    Latent,
    /// Passes through encoder and decoder, with the known pixels put back after each.
    Passes,
}

/// Arguments of `hvae denoise`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae denoise checkpoints/h-vae-001                          the lower half is missing
  hvae denoise checkpoints/h-vae-001 --hide random --share 0.7
  hvae denoise checkpoints/h-vae-001 --hide none --noise 0.4
  hvae denoise checkpoints/h-vae-001 --hide left --by passes --out completion.gif

What is done, with --by latent: the decoder relaxes and is nudged at the known pixels alone. The
difference of the equilibria is the gradient of the latent (equilibrium propagation), which moves by
--steps steps of Adam to where it best explains those pixels. With --noise SIGMA a pixel counts for
as much as that noise leaves it worth.

With --by passes: a fixed-point iteration x <- decode(mean of encode(x)), in which both networks
relax to their own equilibria, until an image changes by less than --tolerance. Hidden pixels start
at grey. With --noise every pixel is drawn to its noisy value with the weight --anchor. The encoder
has seen whole and clean images only, so that it helps less the less it is given.

Either way known pixels without noise are clamped: they stay as they are. In a picture three rows
stand together: test images, what is known of them, what came of it; a .gif shows the way there.")]
pub struct DenoiseArgs {
    /// A run's folder
    pub run: PathBuf,
    /// Number of test images
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub count: u16,
    /// The first of them, counted from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub from: u32,
    /// Which pixels are hidden
    #[arg(long, value_enum, default_value_t = Hide::Lower)]
    pub hide: Hide,
    /// Share of the pixels that `--hide random` hides
    #[arg(long, allow_negative_numbers = true, value_name = "SHARE", default_value_t = 0.5, value_parser = number(SHARE))]
    pub share: f64,
    /// Standard deviation of noise added to the known pixels
    #[arg(long, allow_negative_numbers = true, value_name = "SIGMA", default_value_t = 0.0, value_parser = number(NOT_NEGATIVE))]
    pub noise: f64,
    /// How what is hidden is found
    #[arg(long, value_enum, default_value_t = Way::Latent)]
    pub by: Way,
    /// Steps of the latent
    #[arg(long, value_name = "N", default_value_t = 150, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub steps: u32,
    /// How strongly noisy pixels hold on to their values, with --by passes
    #[arg(long, allow_negative_numbers = true, value_name = "WEIGHT", default_value_t = 0.5, value_parser = number(SHARE))]
    pub anchor: f64,
    /// Passes at most, with --by passes
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub passes: u32,
    /// Relative change of an image at which it is done, with --by passes
    #[arg(long, allow_negative_numbers = true, value_name = "X", default_value_t = 1e-3, value_parser = number(NOT_NEGATIVE))]
    pub tolerance: f64,
    /// Seed of noise and of random pixels
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Where to: a .png, a .gif, or a .npz with `inputs`, `known` and `images`
    #[arg(long, value_name = "PATH", default_value = "denoised.png", value_parser = file(&["png", "gif", "npz"]))]
    pub out: PathBuf,
    /// Which checkpoint of the run
    #[arg(long, value_enum, default_value_t = Which::Latest)]
    pub checkpoint: Which,
}

/// Arguments of `hvae relax`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae relax checkpoints/h-vae-001
  hvae relax checkpoints/h-vae-001 --grid 3x6 --damping 0.9 --frames 60 --out slow.gif

Latents drawn from the prior are clamped; hidden layers and images start at random and sweep by
sweep settle to the equilibrium, which the latent alone decides. Undamped, a few sweeps do it.
A .png holds the frames side by side, a row for each image.")]
pub struct RelaxArgs {
    /// A run's folder
    pub run: PathBuf,
    /// Rows and columns
    #[arg(long, value_name = "ROWSxCOLUMNS", default_value = "4x8", value_parser = super::parse_grid)]
    pub grid: (usize, usize),
    /// Sweeps to show
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub frames: u16,
    /// Damping of every sweep, so that there is something to see: share of the old state that stays
    #[arg(long, allow_negative_numbers = true, value_name = "X", default_value_t = 0.8, value_parser = number(DAMPING))]
    pub damping: f64,
    /// Milliseconds a frame
    #[arg(long, value_name = "MS", default_value_t = 80, value_parser = clap::value_parser!(u16).range(20..=10_000))]
    pub pace: u16,
    /// Seed of latents and starts
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Where to: a .gif or a .png
    #[arg(long, value_name = "PATH", default_value = "relaxation.gif", value_parser = file(&["gif", "png"]))]
    pub out: PathBuf,
    /// Which checkpoint of the run
    #[arg(long, value_enum, default_value_t = Which::Latest)]
    pub checkpoint: Which,
}

#[cfg(test)]
mod tests {
    use super::*;

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
