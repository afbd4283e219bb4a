use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use hvae_data::{Split, images::Images};
use hvae_device::download;
use hvae_runtime::{files, terminal};

use crate::api::trained::Trained;
use crate::cli::values::file;
use crate::commands::context::{Context, Ended, Run};
use crate::commands::interpolate::between;
use crate::commands::manifold::square;
use crate::commands::output::{Sheet, require};
use crate::commands::trained::RunArgs;
use crate::figures::caption::without_caption;
use crate::latents::pca::Pca;
use crate::report::{self, Extras, Picture};
use crate::run::dir::RunDir;
use crate::run::environment::Environment;
use crate::run::summary::Summary;

/// Write an HTML report about a run, with curves and images
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae report checkpoints/h-vae-001
  hvae report checkpoints/h-vae-001 --out page.html

The report is a single HTML file with all images embedded; it opens offline. If the run's test
images cannot be read, the report says what is missing.")]
pub struct Report {
    /// Output file [default: report.html in the run's folder]
    #[arg(long, value_name = "FILE", value_parser = file(&["html", "htm"]))]
    out: Option<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
}

/// Test images in the scatter plot.
const POINTS: usize = 2000;
/// Pairs of test images between which latents are interpolated.
const PAIRS: usize = 5;
/// Images of each interpolation.
const STEPS: usize = 11;
/// Images per side of the plane of latents.
const SIDE: usize = 12;
/// The plane reaches from `-RANGE` to `RANGE`.
const RANGE: f64 = 2.5;

impl Run for Report {
    fn run(self, cx: &Context) -> Result<Ended> {
        let run = RunDir::open(&self.run.folder)?;
        let summary = Summary::of(&run)?;
        let environment = Environment::of(&run)?;
        let out = self.out.unwrap_or_else(|| run.path().join("report.html"));
        require(&out)?;
        let mut extras = Extras::default();
        grids(&run, summary.config.data.monitor(), &mut extras)?;
        match self.run.load(cx) {
            Ok(trained) => {
                extras.parameters = Some(trained.model.parameters());
                match trained.images(Split::Test, cx) {
                    Ok(images) => latents(&trained, &images, &mut extras)?,
                    Err(error) => extras.notes.push(format!(
                        "Latents and interpolations are missing: no test images: {error:#}"
                    )),
                }
            }
            Err(error) => extras.notes.push(format!("The model cannot be loaded: {error:#}")),
        }
        for note in &extras.notes {
            terminal::warning(note);
        }
        files::write(&out, &report::render(&summary, environment.as_ref(), &extras)?)?;
        terminal::result(&out.display().to_string());
        Ok(Ended::Done)
    }
}

/// The last pictures that training drew, and the first.
fn grids(run: &RunDir, validation: &str, extras: &mut Extras) -> Result<()> {
    let reconstructions = format!("Each row of {validation} images above its reconstructions.");
    let kinds = [
        ("samples", "Samples", "Decoded from the same latents, drawn from the prior."),
        ("reconstructions", "Reconstructions", reconstructions.as_str()),
    ];
    let drawn = kinds.map(|kind| (kind, pictures(&run.path().join(kind.0))));
    for nth in [0, 1] {
        for ((_, kind, caption), paths) in &drawn {
            let Some(path) = paths.get(nth) else { continue };
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let epoch = stem.strip_prefix("epoch-").map(|number| number.trim_start_matches('0'));
            let when = epoch.map_or("first epoch".to_owned(), |epoch| format!("epoch {epoch}"));
            let png = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
            let png = without_caption(png);
            extras.pictures.push(Picture::new(&format!("{kind}, {when}"), caption, &png));
        }
    }
    Ok(())
}

/// The newest and the oldest picture in a folder. The one in the midst of the first epoch is
/// named so that it comes after those of epochs.
fn pictures(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "png"));
    paths.sort_by_key(|path| (path.ends_with("first.png"), Reverse(path.clone())));
    let oldest = if paths.len() > 1 { paths.pop() } else { None };
    paths.into_iter().take(1).chain(oldest).collect()
}

/// Pictures and figures that need the test images.
fn latents(trained: &Trained, images: &Images, extras: &mut Extras) -> Result<()> {
    let latent = trained.model.latent();
    let points = download(trained.means(images, POINTS)?)?;
    let rows: Vec<Vec<f32>> = points.chunks(latent).map(<[f32]>::to_vec).collect();
    let pairs = rows.chunks_exact(2).take(PAIRS);
    let paths: Vec<f32> = pairs.flat_map(|pair| between(pair, STEPS)).collect();
    if !paths.is_empty() {
        let caption = "On the straight line between the latents of two test images, row by row.";
        extras.latents.push(decoded(trained, "Interpolation", caption, &paths, STEPS)?);
    }
    if latent < 2 || rows.len() < 2 {
        let note = "No plane of latents: it needs two latent dimensions and two images.";
        extras.notes.push(note.to_owned());
        return Ok(());
    }
    // A latent of two dimensions is shown as it is.
    let pca = if latent == 2 { None } else { Some(Pca::of(&points, latent)?) };
    let position = |row: &Vec<f32>| match &pca {
        None => [f64::from(row[0]), f64::from(row[1])],
        Some(pca) => [pca.coordinate(row, 0), pca.coordinate(row, 1)],
    };
    let labels = images.set().labels().iter().copied();
    let labelled: Vec<_> = rows.iter().map(position).zip(labels).collect();
    let axes = match pca {
        None => ["first coordinate", "second coordinate"],
        Some(_) => ["first principal component, in standard deviations", "second component"],
    };
    let title = format!("Posterior means of {} test images, by label", labelled.len());
    let classes = images.set().class_names();
    extras.planes.push(report::scatter(title, &labelled, classes, axes));
    let latents = square(SIDE, RANGE).flat_map(|[x, y]| match &pca {
        None => vec![x as f32, y as f32],
        Some(pca) => pca.point(&[x, y]),
    });
    let latents: Vec<f32> = latents.collect();
    let caption = "Decoded from the plane of the scatter plot, from -2.5 to 2.5 on both axes.";
    extras.latents.push(decoded(trained, "Plane of latents", caption, &latents, SIDE)?);
    Ok(())
}

/// The images that `latents` decode to, in rows of `columns`.
fn decoded(
    trained: &Trained,
    title: &str,
    caption: &str,
    latents: &[f32],
    columns: usize,
) -> Result<Picture> {
    let images = trained.decode(latents)?;
    let png = Sheet::new(trained.size(), columns, &images).png()?.bytes;
    Ok(Picture::new(title, caption, &png))
}
