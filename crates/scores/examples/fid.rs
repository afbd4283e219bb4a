//! FID, KID, precision, recall, density and coverage between two sets of images.
//!
//! ```text
//! cargo run --release -p hvae-scores --example fid -- REAL SAMPLES [--weights FILE]
//! ```
//!
//! Each set is a folder of pictures, a `.npz` or `.npy` file of images, or in the IDX format. Without `--weights` the
//! features are those of the built-in MNIST classifier, which takes 28x28 images. With `--weights`,
//! a copy of `pt_inception-2015-12-05-6726825d.pth`, they are Inception's, as in published FIDs.
#![allow(clippy::print_stdout, reason = "the scores are the result")]

use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use hvae_data::ImageSet;
use hvae_data::own::{OwnImages, Part};
use hvae_scores::inception::Depth;
use hvae_scores::{ExtractOptions, Extractor, FeatureChoice, FeatureMetrics};
use hvae_scores::{extract, frechet_distance};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (real, samples, choice, weights) = match arguments[..] {
        [real, samples] => (real, samples, FeatureChoice::MnistClassifier, None),
        [real, samples, "--weights", file] => {
            (real, samples, FeatureChoice::Inception(Depth::D2048), Some(Path::new(file)))
        }
        _ => bail!("usage: fid REAL SAMPLES [--weights FILE]"),
    };
    let extractor = Extractor::load(&choice, weights, &Device::flex())?;
    let options = ExtractOptions { keep: true, ..ExtractOptions::default() };
    let real = extract(&extractor, real, &read(real, &extractor)?, options)?;
    let samples = extract(&extractor, samples, &read(samples, &extractor)?, options)?;
    println!("FID {:.4}", frechet_distance(&real.statistics, &samples.statistics)?);
    let sets = real.features.zip(samples.features).context("features are kept")?;
    println!("{}", FeatureMetrics::of(&sets.0, &sets.1, 0)?);
    println!("features: {}", extractor.description());
    Ok(())
}

fn read(path: &str, extractor: &Extractor) -> Result<ImageSet> {
    Ok(OwnImages::find(Path::new(path))?.read(Part::Whole, extractor.shape())?.0)
}
