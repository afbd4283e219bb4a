use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use hvae_data::{ImageSize, Split};
use hvae_device::download;
use hvae_model::Kind;
use hvae_runtime::rng::{self, Stream};
use hvae_runtime::terminal;
use hvae_solver::{FixedPointMap, State, StoppingRule, Termination};
use rand::RngExt;
use serde_json::json;

use crate::api::trained::Trained;
use crate::cli::values::{NOT_NEGATIVE, SHARE, count, number};
use crate::commands::context::{Context, Ended, Run};
use crate::commands::output::{Format, JsonArgs, Look, Output, Sheet};
use crate::commands::trained::RunArgs;
use crate::config::Usage;
use crate::latents::completion::{Completion, complete, optimize_latents};

/// Reconstruct occluded or noisy test images
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae denoise checkpoints/h-vae-001                          the lower half is missing
  hvae denoise checkpoints/h-vae-001 --hide random --share 0.7
  hvae denoise checkpoints/h-vae-001 --hide none --noise 0.4
  hvae denoise checkpoints/h-vae-001 --hide left --by passes --out completion.gif

With --by latent, the decoder relaxes and is nudged at the known pixels only. The difference of the
two equilibria is the gradient with respect to the latent (equilibrium propagation); --steps steps
of Adam move the latent to where it best explains those pixels. With --noise SIGMA each pixel is
weighted by the precision of its noise.

With --by passes, a fixed-point iteration x <- decode(mean of encode(x)), in which both networks
relax to equilibrium, until an image changes by less than --tolerance. Hidden pixels start at grey.
With --noise every pixel is pulled to its noisy value with the weight --anchor. The encoder was
trained on complete and clean images, so the more is missing the worse this method does.

With both methods known pixels without noise are clamped. A picture has rows of three kinds: test
images, what is known of them, and the result; a .gif shows the iterations.")]
pub struct Denoise {
    /// Number of test images
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = count(1..=1000))]
    count: usize,
    /// Index of the first test image, counted from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u32,
    /// Which pixels are hidden
    #[arg(long, value_enum, default_value_t = Hide::Lower)]
    hide: Hide,
    /// Fraction of the pixels that `--hide random` hides
    #[arg(long, allow_negative_numbers = true, value_name = "SHARE", default_value_t = 0.5, value_parser = number(SHARE))]
    share: f64,
    /// Standard deviation of noise added to the known pixels
    #[arg(long, allow_negative_numbers = true, value_name = "SIGMA", default_value_t = 0.0, value_parser = number(NOT_NEGATIVE))]
    noise: f64,
    /// Method
    #[arg(long, value_enum, default_value_t = Method::Latent)]
    by: Method,
    /// Optimizer steps of the latent
    #[arg(long, value_name = "N", default_value_t = 150, value_parser = count(1..=10_000))]
    steps: usize,
    /// Weight of the noisy values in each pass, with --by passes
    #[arg(long, allow_negative_numbers = true, value_name = "WEIGHT", default_value_t = 0.5, value_parser = number(SHARE))]
    anchor: f64,
    /// Largest number of passes, with --by passes
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = count(1..=10_000))]
    passes: usize,
    /// Relative change of an image at which it has converged, with --by passes
    #[arg(long, allow_negative_numbers = true, value_name = "X", default_value_t = 1e-3, value_parser = number(NOT_NEGATIVE))]
    tolerance: f64,
    /// Seed of noise and of random pixels
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Output: a .png, a .gif, or a .npz with `inputs`, `known` and `images`
    #[arg(long, value_name = "PATH", default_value = "denoised.png", value_parser = Output::parser(&[Format::Png, Format::Gif, Format::Npz]))]
    out: Output,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    look: Look,
    #[command(flatten)]
    run: RunArgs,
}

/// Which part of an image is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Hide {
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

/// How hidden pixels are reconstructed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Method {
    /// The latent that best explains the known pixels, found by nudging the decoder there.
    Latent,
    /// Passes through encoder and decoder; known pixels are reset after each.
    Passes,
}

const COLUMNS: usize = 10;
/// Initial value of hidden pixels.
const GREY: f32 = 0.5;
const FRAME_MS: u32 = 100;
/// Optimizer steps per frame.
const STEPS_PER_FRAME: usize = 3;

impl Run for Denoise {
    fn run(self, cx: &Context) -> Result<Ended> {
        if self.hide == Hide::None && self.noise <= 0.0 {
            bail!(Usage::new("--hide none needs --noise SIGMA, above 0"));
        }
        self.out.require()?;
        self.json.require()?;
        let trained = self.run.load(cx)?;
        ensure!(
            self.by == Method::Passes || trained.model.kind() != Kind::FVae,
            "--by latent needs equilibria, which an f-vae does not have: use --by passes"
        );
        let images = trained.images(Split::Test, cx)?;
        let (from, count, all) = (self.from as usize, self.count, images.len());
        ensure!(from + count <= all, "--from {from} --count {count}: there are {all} test images");
        let rows: Vec<usize> = (from..from + count).collect();
        let size = trained.size();
        let inputs = download(images.select(&rows))?;
        let (known, weight) = self.degrade(&inputs, size, trained.config.model.precision);
        let frames = self.frames(&trained, &known, &weight)?;
        let outputs = frames.last().context("no image was computed")?;
        let mut caption = trained.caption(&self.title(), Some(self.seed));
        caption.rows = ["images", "known", "completed"].map(str::to_owned).into();
        let sheet = |images| Sheet {
            caption: caption.clone(),
            look: self.look,
            size,
            columns: COLUMNS.min(count),
            layers: vec![("inputs", inputs.as_slice()), ("known", &known), ("images", images)],
        };
        let [before, after] = errors(&inputs, &known, outputs, count);
        if self.out.format == Format::Gif {
            let mut frames = frames.iter().map(|images| sheet(images.as_slice()).frame());
            self.out.animate(FRAME_MS, |add| frames.try_for_each(|frame| add(frame?)))?;
        } else {
            self.out.write(&sheet(outputs), Vec::new())?;
        }
        let out = self.out.path.display().to_string();
        self.json
            .write(&json!({ "before": before, "after": after, "images": count, "file": out }))?;
        Ok(Ended::Done)
    }
}

impl Denoise {
    /// What is hidden, and how it is found.
    fn title(&self) -> String {
        let hidden = match self.hide {
            Hide::None => String::new(),
            Hide::Random => format!("{:.0} % of the pixels hidden, ", 100.0 * self.share),
            half => format!("{} half hidden, ", format!("{half:?}").to_lowercase()),
        };
        let noise =
            if self.noise > 0.0 { format!("noise {}, ", self.noise) } else { String::new() };
        let by = format!("{:?}", self.by).to_lowercase();
        format!("{hidden}{noise}completed by {by}")
    }

    /// What is known of the images, and the weight of each pixel. With noise and for the latent, it
    /// is the precision of the noise over that of the decoder; for passes, the anchor.
    fn degrade(&self, inputs: &[f32], size: ImageSize, precision: f64) -> (Vec<f32>, Vec<f32>) {
        let ImageSize { height, width } = size;
        let mut rng = rng::generator(self.seed, Stream::Occlusion, 0);
        let noise = rng::normal(self.seed, Stream::Occlusion, 1, inputs.len());
        let known_weight = match self.by {
            _ if self.noise <= 0.0 => 1.0,
            Method::Latent => (1.0 / (precision * self.noise.powi(2))).min(1.0) as f32,
            Method::Passes => self.anchor as f32,
        };
        let (mut known, mut weight) = (Vec::new(), Vec::new());
        for (at, (&value, noise)) in inputs.iter().zip(noise).enumerate() {
            let (row, column) = (at % (height * width) / width, at % width);
            let draw: f64 = rng.random();
            let hidden = match self.hide {
                Hide::Lower => row >= height / 2,
                Hide::Upper => row < height / 2,
                Hide::Left => column < width / 2,
                Hide::Right => column >= width / 2,
                Hide::Random => draw < self.share,
                Hide::None => false,
            };
            let noisy = (value + self.noise as f32 * noise).clamp(0.0, 1.0);
            known.push(if hidden { GREY } else { noisy });
            weight.push(if hidden { 0.0 } else { known_weight });
        }
        (known, weight)
    }

    /// The images after each iteration for a `.gif`, else only the last; known pixels without noise
    /// are clamped.
    fn frames(&self, trained: &Trained, known: &[f32], weight: &[f32]) -> Result<Vec<Vec<f32>>> {
        let map = Completion {
            model: &trained.model,
            phases: &trained.phases,
            known: trained.upload(known),
            weight: trained.upload(weight),
        };
        let clamp = |((x, k), w): ((f32, &f32), &f32)| {
            if self.noise <= 0.0 && *w > 0.0 { *k } else { x.clamp(0.0, 1.0) }
        };
        let clamp =
            |images: Vec<f32>| images.into_iter().zip(known).zip(weight).map(clamp).collect();
        let frames = match self.by {
            Method::Latent => self.latent_frames(&map)?,
            Method::Passes => self.pass_frames(map)?,
        };
        Ok(frames.into_iter().map(clamp).collect())
    }

    fn latent_frames(&self, map: &Completion<'_>) -> Result<Vec<Vec<f32>>> {
        let all = self.out.format == Format::Gif;
        let frames = optimize_latents(map, self.steps)?;
        let last = frames.len() - 1;
        let shown = frames.into_iter().enumerate();
        let shown =
            shown.filter(|(at, _)| *at == last || (all && at.is_multiple_of(STEPS_PER_FRAME)));
        shown.map(|(_, images)| download(images)).collect()
    }

    fn pass_frames(&self, map: Completion<'_>) -> Result<Vec<Vec<f32>>> {
        if self.out.format == Format::Gif {
            let mut state = State::new(vec![map.known.clone()])?;
            let mut frames = vec![download(map.known.clone())?];
            for pass in 0..self.passes {
                state = map.apply(&state, pass);
                frames.push(download(state.component(0).clone())?);
            }
            return Ok(frames);
        }
        let rule = StoppingRule::new(self.tolerance, self.passes)?;
        let start = map.known.clone();
        let (images, outcomes) = complete(map, start, &rule)?;
        let converged = outcomes.iter().filter(|o| o.termination == Termination::Converged).count();
        let (passes, count) =
            (outcomes.iter().map(|o| o.iterations).sum::<usize>(), outcomes.len());
        let mean = passes as f64 / count.max(1) as f64;
        terminal::line(&format!(
            "{mean:.1} passes on average; {converged} of {count} images converged"
        ));
        Ok(vec![download(images)?])
    }
}

/// Squared errors of the images before and after, which are printed.
fn errors(inputs: &[f32], known: &[f32], outputs: &[f32], count: usize) -> [f64; 2] {
    let error = |images: &[f32]| -> f64 {
        let squares = images.iter().zip(inputs).map(|(a, b)| f64::from(a - b).powi(2));
        squares.sum::<f64>() / count as f64
    };
    let (before, after) = (error(known), error(outputs));
    terminal::line(&format!("squared error per image: {before:.2} before, {after:.2} after"));
    [before, after]
}
