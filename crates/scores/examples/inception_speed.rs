//! Images per second of Inception's 2048 features on the CPU, with weights of a formula:
//! `inception_speed THREADS BATCH BATCHES`. `scripts/bench_inception.py` compares it with PyTorch.
#![allow(clippy::print_stdout, reason = "the number is the result")]

use std::time::Instant;

use anyhow::{Context, Result};
use burn::tensor::Device;
use hvae_data::ImageShape;
use hvae_scores::ImageBatch;
use hvae_scores::inception::{BatchNormConv, Conv, Depth, Inception};

fn main() -> Result<()> {
    let arguments: Vec<usize> =
        std::env::args().skip(1).map(|a| a.parse()).collect::<Result<_, _>>()?;
    let [threads, batch, batches] = arguments[..] else {
        anyhow::bail!("usage: inception_speed THREADS BATCH BATCHES")
    };
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("threads")?;
    let device = Device::flex();
    let network = Inception::new(&mut |_, shape| {
        let [out, from, height, width] = shape.weight();
        let inputs = from * height * width;
        let bound = (6.0 / inputs as f32).sqrt();
        let weight =
            (0..out * inputs).map(|i| bound * ((i * 7919 % 1000) as f32 / 500.0 - 1.0)).collect();
        let of = |value: f32| vec![value; out];
        let stored = BatchNormConv {
            weight,
            scale: of(1.0),
            shift: of(0.0),
            mean: of(0.0),
            variance: of(1.0),
        };
        Ok(Conv::fold(&stored, shape, &device))
    })?;
    let bytes: Vec<u8> =
        (0..batch * ImageShape::MNIST.pixels()).map(|i| (i * 31 % 251) as u8).collect();
    let images = ImageBatch { bytes: &bytes, shape: ImageShape::MNIST };
    let run = || network.features(images, Depth::D2048, &device);
    run()?;
    let start = Instant::now();
    for _ in 0..batches {
        run()?;
    }
    println!("{}", (batch * batches) as f64 / start.elapsed().as_secs_f64());
    Ok(())
}
