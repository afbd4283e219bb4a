//! An [`ImageSet`](hvae_data::ImageSet) in Burn's own data loader.
//!
//! `cargo run --release -p hvae-data --example burn_loader`

use burn::data::dataloader::DataLoaderBuilder;
use burn::data::dataloader::batcher::Batcher;
use burn::tensor::{Device, Int, Tensor, TensorData};
use hvae_data::{ImageItem, ImageShape, Split, synthetic::synthetic};

/// Images `[batch, channels, height, width]` in `[0, 1]`, and their labels.
type Batch = (Tensor<4>, Tensor<1, Int>);

#[derive(Debug)]
struct ImageBatcher(ImageShape);

impl Batcher<ImageItem, Batch> for ImageBatcher {
    fn batch(&self, items: Vec<ImageItem>, device: &Device) -> Batch {
        let ImageShape { channels, height, width } = self.0;
        let shape = [items.len(), channels, height, width];
        let labels: Vec<i64> = items.iter().map(|item| item.label.into()).collect();
        let pixels = items.iter().flat_map(|item| &item.pixels);
        let pixels: Vec<f32> = pixels.map(|&pixel| f32::from(pixel) / 255.0).collect();
        let images = Tensor::from_data(TensorData::new(pixels, shape), device);
        (images, Tensor::from_data(labels.as_slice(), device))
    }
}

#[allow(clippy::print_stdout, reason = "an example shows what it does")]
fn main() -> anyhow::Result<()> {
    let set = synthetic(1000, 1, Split::Train);
    let loader = DataLoaderBuilder::new(ImageBatcher(set.shape()))
        .batch_size(128)
        .shuffle(1)
        .set_device(Device::flex())
        .build(set);
    let mut seen = 0;
    for batch in loader.iter() {
        let (images, labels) = batch?;
        let mean: f32 = images.clone().mean().into_scalar();
        let [count, ..] = images.dims();
        assert_eq!(labels.dims(), [count]);
        println!("{:?}, mean grey value {mean:.3}", images.dims());
        seen += count;
    }
    assert_eq!(seen, 1000);
    Ok(())
}
