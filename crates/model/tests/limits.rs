//! Couplings are kept where an equilibrium exists.
#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test may stop")]
#![recursion_limit = "256"]

mod common;

use burn::module::Param;
use burn::tensor::{Device, Tensor};
use common::{distance, host, layer, matrix, matrix_mut, pairs, rng, strengthen};
use hvae_model::{Activation, HopfieldNetwork, LayerId};

/// Couplings that are too strong for an equilibrium are scaled to the limit, others not touched.
#[test]
fn couplings_are_kept_below_the_limit() {
    let device = Device::flex();
    let layers = vec![
        layer("image", 30, Activation::Sigmoid, 5.0),
        layer("hidden", 20, Activation::Relu, 1.0),
        layer("mean", 4, Activation::Identity, 3.0),
    ];
    let couplings = [(0, 1), (1, 2), (1, 1), (0, 0)];
    let mut network =
        HopfieldNetwork::new(layers, &pairs(&couplings), &mut rng(3), &device).unwrap();
    strengthen(&mut network, 4.0);
    let before: Vec<_> = network.couplings.iter().map(|c| host(matrix(c).val())).collect();
    let limited = network.limit_couplings(0.5, |_| true);
    let strength = |i: usize, factor: f64| {
        factor * common::spectral_norm(&matrix(&limited.couplings[i]).val())
    };
    assert_eq!(host(matrix(&limited.couplings[0]).val()), before[0], "the image is bounded");
    for (i, factor) in [(1, 3.0_f64.sqrt()), (2, 1.0), (3, 5.0 * 0.25)] {
        let s = strength(i, factor);
        assert!((0.49..0.52).contains(&s), "coupling {i}: {s}");
    }
    let held = limited.clone().limit_couplings(0.1, |k| k != LayerId(1));
    assert_eq!(
        host(matrix(&held.couplings[1]).val()),
        host(matrix(&limited.couplings[1]).val()),
        "a layer that never relaxes"
    );
    let again = limited.clone().limit_couplings(1.0, |_| true);
    assert_eq!(host(matrix(&again.couplings[2]).val()), host(matrix(&limited.couplings[2]).val()));
}

/// With deferred reads the strengths are not read, and the weights are the same. A
/// device that records gradients counts as one.
#[test]
fn the_limit_is_the_same_without_reading_the_device() {
    let limited = |device: &Device| {
        let layers = vec![
            layer("hidden", 20, Activation::Relu, 1.0),
            layer("mean", 4, Activation::Identity, 3.0),
        ];
        let couplings = [(0, 1), (0, 0), (1, 1)];
        let mut network =
            HopfieldNetwork::new(layers, &pairs(&couplings), &mut rng(3), device).unwrap();
        strengthen(&mut network, 4.0);
        // One stays below the limit, where it must not change at all.
        let weak = matrix(&network.couplings[2]).val().mul_scalar(1e-3).into_data();
        *matrix_mut(&mut network.couplings[2]) =
            Param::from_tensor(Tensor::from_data(weak, device));
        let before = host(matrix(&network.couplings[2]).val());
        let limited = network.limit_couplings(0.5, |_| true);
        let weights: Vec<_> = limited.couplings.iter().map(|c| host(matrix(c).val())).collect();
        assert_eq!(weights[2], before);
        weights
    };
    let (read, unread) = (limited(&Device::flex()), limited(&Device::flex().autodiff()));
    for (a, b) in read.iter().zip(&unread) {
        assert!(distance(b, a) < 1e-5, "{:e}", distance(b, a));
    }
}
