//! The same computation on a device and on the CPU.

#[cfg(any(feature = "wgpu", feature = "ndarray"))]
use std::sync::OnceLock;

#[cfg(any(feature = "wgpu", feature = "ndarray"))]
use burn::tensor::TensorData;
use hvae_scores::inception::{BatchNormConv, Conv, Depth, FeatureMap, Inception};

use hvae_model::modern::{ModernHopfield, Space};
use hvae_solver::{Anderson, Damped, Picard, StoppingRule, Termination};

use super::*;

/// Kinds with layered networks, feed-forward networks, a weight-tied dense network.
#[cfg(any(feature = "wgpu", feature = "ndarray"))]
pub(crate) const KINDS: [&str; 3] = ["h-vae", "f-vae", "tdh-vae"];

/// Trains, samples and solves on `device` and on the CPU, and compares. `run` runs a
/// command of the program on `device`.
pub(crate) fn compare_with_cpu(
    folder: &Folder,
    device: &str,
    kinds: &[&str],
    run: &dyn Fn(&[&str]),
) {
    let on = ["--device", device, "--allow-software"];
    for kind in kinds {
        let (here, there) = (format!("{kind}-cpu"), format!("{kind}-device"));
        folder.ok(&train(&tiny(kind), &here, &[]));
        run(&train(&tiny(kind), &there, &on));
        let (here, there) = (format!("checkpoints/{here}"), format!("checkpoints/{there}"));
        let apart = losses_apart(&folder.path(&here), &folder.path(&there));
        eprintln!("{kind} on {device}: losses differ by {apart:.1e}");
        assert!(apart < 1e-4, "{kind} on {device}: losses differ by {apart:.1e}");

        // The weights trained on the CPU, decoded on both.
        let sample = ["sample", &here, "--quiet", "--count", "32", "--out"];
        folder.ok(&[&sample[..], &["cpu.npz"]].concat());
        run(&[&sample[..], &["device.npz"], &on].concat());
        let pixels = |out: &str| match hvae_runtime::npz::load(&folder.path(out), "images")
            .unwrap()
            .values
        {
            hvae_runtime::npz::Values::F32(pixels) => pixels,
            other => panic!("pixels are float32, not {other:?}"),
        };
        let (a, b) = (pixels("cpu.npz"), pixels("device.npz"));
        let apart = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert_eq!(a.len(), b.len());
        assert!(apart < 1e-3, "{kind} on {device}: pixels differ by {apart:.1e}");
    }
    compare_solutions(&hvae_device::open(device, true).unwrap());
}

/// Fixed points of a modern Hopfield network by each method on `device` and on the CPU.
fn compare_solutions(device: &Device) {
    const COUNT: usize = 4;
    const DIMENSION: usize = 8;
    let rule = StoppingRule::new(1e-6, 500).unwrap();
    let betas: Vec<f64> = (0..12).map(|i| 0.1 + 0.05 * f64::from(i)).collect();
    let solve = |device: &Device, method: &str| {
        let drawn = |index, rows: usize| {
            let values = rng::normal(1, Stream::Starts, index, rows * DIMENSION);
            hvae_device::upload(values, DIMENSION, device)
        };
        let network = ModernHopfield::new(drawn(0, COUNT)).unwrap();
        let map = network.at(&betas, Space::States).unwrap();
        let starts = drawn(1, betas.len());
        let solution = match method {
            "Picard" => map.solve(starts, &Picard, &rule),
            "damped" => map.solve(starts, &Damped::new(0.3).unwrap(), &rule),
            _ => map.solve(starts, &Anderson::new(3).unwrap(), &rule),
        };
        let solution = solution.unwrap();
        for outcome in &solution.outcomes {
            assert_eq!(outcome.termination, Termination::Converged, "{method}");
        }
        hvae_device::read(solution.state.component(0).clone())
    };
    for method in ["Picard", "damped", "Anderson"] {
        let (a, b) = (solve(&Device::flex(), method), solve(device, method));
        let apart = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-4, "{method}: states differ by {apart:.1e}");
    }
}

/// Inception with random weights, the same on every device.
#[cfg(any(feature = "wgpu", feature = "ndarray"))]
fn inception(device: &Device) -> Inception {
    // The same noise for all layers: drawing 24 million numbers would take longer than the rest.
    const MOST: usize = 448 * 3 * 3 * 384;
    static NOISE: OnceLock<Vec<f32>> = OnceLock::new();
    let noise = NOISE.get_or_init(|| rng::normal(1, Stream::Noise, 1, MOST));
    Inception::new(&mut |_, shape| {
        let [to, from, height, width] = shape.weight();
        let inputs = from * height * width;
        let size = (2.0 / inputs as f32).sqrt();
        assert!(to * inputs <= MOST);
        let stored = BatchNormConv {
            weight: noise[..to * inputs].iter().map(|w| w * size).collect(),
            scale: vec![1.0; to],
            shift: vec![0.1; to],
            mean: vec![0.0; to],
            variance: vec![1.0; to],
        };
        Ok(Conv::fold(&stored, shape, device))
    })
    .unwrap()
}

/// Inception's features of two small images on `device` and on the CPU.
#[cfg(any(feature = "wgpu", feature = "ndarray"))]
pub(crate) fn compare_features(device: &Device, name: &str) {
    // The smallest images that all its pools accept.
    const SIDE: usize = 75;
    let images = rng::uniform(1, Stream::Binarization, 0, 2 * 3 * SIDE * SIDE);
    let features = |device: &Device| {
        let images = TensorData::new(images.clone(), [2, 3, SIDE, SIDE]);
        let images = Tensor::<4>::from_data(images, device).mul_scalar(2.0).sub_scalar(1.0);
        inception(device).forward(&images, Depth::D2048).global_avg_pool().unwrap()
    };
    let (a, b) = (features(&Device::flex()), features(device));
    assert_eq!((a.len(), b.len()), (2 * 2048, 2 * 2048));
    let norm = |v: &mut dyn Iterator<Item = f32>| v.map(|x| x * x).sum::<f32>().sqrt();
    let apart = norm(&mut a.iter().zip(&b).map(|(a, b)| a - b)) / norm(&mut a.iter().copied());
    eprintln!("Inception on {name}: features differ by {apart:.1e}");
    assert!(apart < 1e-4, "Inception on {name}: features differ by {apart:.1e}");
}
