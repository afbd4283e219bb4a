//! `hvae report`.

use anyhow::{Context, Result};
use burn::tensor::Device;
use image::{GrayImage, ImageFormat};

use crate::cli::Global;
use crate::cli::runs::ReportArgs;
use crate::figures::picture;
use crate::latents::pca::Pca;
use crate::report::{self, Extras, Picture};
use crate::run::RunDir;
use crate::run::environment::Environment;
use crate::run::summary::Summary;
use hvae_data::images::{Images, SIDE};
use hvae_device::host::download;
use hvae_runtime::{files, terminal};

use crate::commands::interpolate::between;
use crate::commands::{Trained, decoded, load, means, test_images};

/// Test images in the scatter plot.
const POINTS: usize = 2000;
/// Pairs of test images between which latents are decoded, and images on each way.
const WAYS: (usize, usize) = (5, 11);
/// Images a side of the plane of latents, and how far it reaches.
const PLANE: (usize, f64) = (12, 2.5);

pub(super) fn run(args: &ReportArgs, global: &Global, device: &Device) -> Result<()> {
    let run = RunDir::open(&args.run)?;
    let summary = Summary::of(&run)?;
    let environment = Environment::of(&run)?;
    let out = args.out.clone().unwrap_or_else(|| run.path().join("report.html"));
    files::require_writable(&out)?;
    let mut extras = Extras::default();
    grids(&run, summary.config.data.watched(), &mut extras)?;
    match load(&args.run, args.checkpoint, device) {
        Ok(trained) => match test_images(&trained, global, device) {
            Ok(images) => latents(&trained, &images, device, &mut extras)?,
            Err(error) => extras.notes.push(format!(
                "Without the test images there are no latents and no interpolation: {error:#}"
            )),
        },
        Err(error) => extras.notes.push(format!("The model cannot be loaded: {error:#}")),
    }
    for note in &extras.notes {
        terminal::warning(note);
    }
    let text = report::render(&summary, environment.as_ref(), &extras)?;
    files::write(&out, &text)?;
    terminal::result(&out.display().to_string());
    Ok(())
}

/// The run's own grids: the first and the last.
fn grids(run: &RunDir, watched: &str, extras: &mut Extras) -> Result<()> {
    let reconstructions = format!("Each row of {watched} images above its reconstructions.");
    for (folder, title, caption) in [
        ("samples", "Samples", "Decoded from the same latents, drawn from the prior."),
        ("reconstructions", "Reconstructions", reconstructions.as_str()),
    ] {
        let path = run.path().join(folder);
        let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.strip_prefix("epoch-").is_some_and(|rest| rest.contains(".png")))
            .collect();
        names.sort();
        let ends = [names.first().cloned(), names.last().filter(|_| names.len() > 1).cloned()];
        for name in ends.into_iter().flatten() {
            let epoch = name.trim_start_matches("epoch-").trim_end_matches(".png");
            let title = format!("{title}, epoch {}", epoch.trim_start_matches('0'));
            extras.pictures.extend(Picture::of_file(&title, caption, &path.join(&name))?);
        }
    }
    Ok(())
}

/// What it takes the test images to show.
fn latents(trained: &Trained, images: &Images, device: &Device, extras: &mut Extras) -> Result<()> {
    let latent = trained.model.latent();
    let points = download(means(trained, images, POINTS)?)?;
    let rows: Vec<Vec<f32>> = points.chunks(latent).map(<[f32]>::to_vec).collect();
    let ways = WAYS.0.min(rows.len() / 2);
    let way: Vec<f32> = rows.chunks(2).take(ways).flat_map(|pair| between(pair, WAYS.1)).collect();
    if ways > 0 {
        let pictures = decoded(trained, &way, device)?;
        let grid = picture::grid(&pictures, SIDE, SIDE, WAYS.1, picture::SCALE)?;
        let caption = "On the straight line between the latents of two test images, row by row.";
        extras.pictures.push(Picture::new("Interpolation", caption, &png(&grid)?));
    }
    if latent < 2 || rows.len() < 2 {
        extras.notes.push("A latent of one dimension, or a single image, has no plane.".to_owned());
        return Ok(());
    }
    let principal = Pca::of(&points, latent)?;
    let flat = latent == 2;
    let position = |row: &Vec<f32>| {
        if flat {
            [f64::from(row[0]), f64::from(row[1])]
        } else {
            [principal.coordinate(row, 0), principal.coordinate(row, 1)]
        }
    };
    let labelled: Vec<_> =
        rows.iter().map(position).zip(images.set().labels().iter().copied()).collect();
    let axes = if flat {
        ["first coordinate", "second coordinate"]
    } else {
        ["first principal direction, in standard deviations", "second principal direction"]
    };
    let title = format!("Posterior means of {} test images, by their labels", labelled.len());
    extras.figures.push((title, report::scatter(&labelled, axes)));
    let (side, range) = PLANE;
    let at = |k: usize| range * (2.0 * k as f64 / (side - 1) as f64 - 1.0);
    let grid = (0..side).rev().flat_map(|y| (0..side).map(move |x| (x, y)));
    let latents = grid.flat_map(|(x, y)| {
        if flat { vec![at(x) as f32, at(y) as f32] } else { principal.point(&[at(x), at(y)]) }
    });
    let pictures = decoded(trained, &latents.collect::<Vec<_>>(), device)?;
    let grid = picture::grid(&pictures, SIDE, SIDE, side, picture::SCALE)?;
    let caption = "Decoded from the plane of the figure of latents, from -2.5 to 2.5 on both axes.";
    extras.pictures.push(Picture::new("Plane of latents", caption, &png(&grid)?));
    Ok(())
}

fn png(picture: &GrayImage) -> Result<Vec<u8>> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).context("encoding a picture")?;
    Ok(bytes.into_inner())
}
