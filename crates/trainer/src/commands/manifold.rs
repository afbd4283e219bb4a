use anyhow::{Result, bail};
use clap::Args;
use hvae_data::Split;
use hvae_device::download;

use crate::api::trained::Trained;
use crate::cli::values::{POSITIVE, count, number, plane};
use crate::commands::context::{Context, Ended, Run};
use crate::commands::output::{Format, Look, Output, Sheet};
use crate::commands::trained::RunArgs;
use crate::latents::decode::prior_latents;
use crate::latents::pca::Pca;

/// Decode a plane of latents
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae manifold checkpoints/h-vae-001
  hvae manifold checkpoints/h-vae-001 --dimensions 3,7 --range 3 --out plane.png

A latent of two dimensions is the plane itself. With more dimensions the plane is spanned by the
first two principal components of the posterior means of test images, or of samples of a learned
prior, in units of their standard deviations, or with --dimensions by two coordinates, the others 0.")]
pub struct Manifold {
    /// Images per side
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = count(2..=100))]
    side: usize,
    /// The plane reaches from -X to X in both directions
    #[arg(long, allow_negative_numbers = true, value_name = "X", default_value_t = 2.5, value_parser = number(POSITIVE))]
    range: f64,
    /// Two coordinates of the latent, counted from 0, instead of principal components
    #[arg(long, value_name = "I,J", value_parser = plane)]
    dimensions: Option<[usize; 2]>,
    /// Output: a .png
    #[arg(long, value_name = "PATH", default_value = "manifold.png", value_parser = Output::parser(&[Format::Png]))]
    out: Output,
    #[command(flatten)]
    look: Look,
    #[command(flatten)]
    run: RunArgs,
}

/// The latent at a position of the plane.
type Plane = Box<dyn Fn([f64; 2]) -> Vec<f32>>;

/// Test images, or samples of a learned prior, from which principal components are computed.
const IMAGES: usize = 5000;

impl Run for Manifold {
    fn run(self, cx: &Context) -> Result<Ended> {
        self.out.require()?;
        let trained = self.run.load(cx)?;
        let point = self.plane(&trained, cx)?;
        let latents: Vec<f32> = square(self.side, self.range).flat_map(point).collect();
        let images = trained.decode(&latents)?;
        let mut caption = trained.caption(&self.title(trained.model.latent()), None);
        let heights = square(self.side, self.range).step_by(self.side);
        caption.rows = heights.map(|[_, up]| format!("{up:.1}")).collect();
        let sheet = Sheet::new(trained.size(), self.side, &images);
        self.out.write(&sheet.with(caption, self.look), Vec::new())?;
        Ok(Ended::Done)
    }
}

impl Manifold {
    /// What the axes of the plane are.
    fn title(&self, latent: usize) -> String {
        let (range, coordinates) =
            (self.range, self.dimensions.or((latent == 2).then_some([0, 1])));
        let axes = match coordinates {
            Some([i, j]) => format!("latents {i} (across) and {j} (up)"),
            None => "principal components 1 (across) and 2 (up)".to_owned(),
        };
        format!("{axes} from -{range} to {range}")
    }

    /// The plane of latents that the flags describe.
    fn plane(&self, trained: &Trained, cx: &Context) -> Result<Plane> {
        let latent = trained.model.latent();
        let coordinates = match self.dimensions {
            Some([i, j]) if i.max(j) < latent => Some([i, j]),
            Some([i, j]) => {
                let last = latent.saturating_sub(1);
                bail!("--dimensions {i},{j}: the run's latents have the coordinates 0 to {last}")
            }
            None if latent == 1 => bail!("a latent of one dimension has no plane"),
            None if latent == 2 => Some([0, 1]),
            None => None,
        };
        Ok(if let Some([i, j]) = coordinates {
            Box::new(move |[x, y]| {
                let mut point = vec![0.0; latent];
                (point[i], point[j]) = (x as f32, y as f32);
                point
            })
        } else {
            let points = if trained.model.prior.is_some() {
                prior_latents(&trained.model, IMAGES, 0)
            } else {
                let images = trained.images(Split::Test, cx)?;
                download(trained.means(&images, IMAGES)?)?
            };
            let pca = Pca::of(&points, latent)?;
            Box::new(move |position| pca.point(&position))
        })
    }
}

/// A grid of `side` by `side` positions from `-range` to `range`, row by row from the top left: the
/// first coordinate grows to the right, the second upwards.
pub(super) fn square(side: usize, range: f64) -> impl Iterator<Item = [f64; 2]> {
    let at = move |k: usize| range * (2.0 * k as f64 / (side - 1) as f64 - 1.0);
    (0..side).rev().flat_map(move |y| (0..side).map(move |x| [at(x), at(y)]))
}
