//! Modern Hopfield networks: energies, updates, thresholds, and the edges of their range.
#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

use burn::tensor::{Device, Tensor, TensorData};
use hvae_model::ModelError;
use hvae_model::modern::{
    Equidistant, ModernHopfield, Space, Thresholds, beta_eff, equidistant, random, stability,
};
use hvae_solver::{Anderson, Damped, Method, Picard, StoppingRule, Termination};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn device() -> Device {
    Device::flex()
}

fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

fn tensor(rows: &[&[f32]]) -> Tensor<2> {
    let values: Vec<f32> = rows.concat();
    Tensor::from_data(TensorData::new(values, [rows.len(), rows[0].len()]), &device())
}

fn host(tensor: Tensor<2>) -> Vec<f64> {
    let values: Vec<f32> = tensor.into_data().try_to_vec().unwrap();
    values.into_iter().map(f64::from).collect()
}

fn rows(tensor: Tensor<2>) -> Vec<Vec<f64>> {
    let width = tensor.dims()[1];
    host(tensor).chunks(width).map(<[f64]>::to_vec).collect()
}

fn length(row: Tensor<2>) -> f64 {
    host(row).iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The energy as its definition says, in double precision.
fn energy(patterns: &[Vec<f64>], state: &[f64], beta: f64) -> f64 {
    let overlaps: Vec<f64> = patterns.iter().map(|x| dot(x, state)).collect();
    let largest = overlaps.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = overlaps.iter().map(|z| (beta * (z - largest)).exp()).sum();
    let norm = patterns.iter().map(|x| dot(x, x)).fold(0.0, f64::max);
    let count = patterns.len() as f64;
    -largest - (sum / count).ln() / beta + dot(state, state) / 2.0 + norm / 2.0
}

/// The update as its definition says, in double precision.
fn update(patterns: &[Vec<f64>], state: &[f64], beta: f64) -> Vec<f64> {
    let overlaps: Vec<f64> = patterns.iter().map(|x| beta * dot(x, state)).collect();
    let largest = overlaps.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = overlaps.iter().map(|z| (z - largest).exp()).collect();
    let sum: f64 = weights.iter().sum();
    (0..state.len())
        .map(|k| patterns.iter().zip(&weights).map(|(x, w)| x[k] * w / sum).sum())
        .collect()
}

fn example(count: usize, dimension: usize) -> ModernHopfield {
    ModernHopfield::new(random(count, dimension, 1.5, &mut rng(1), &device()).unwrap()).unwrap()
}

#[test]
fn energy_and_update_follow_their_definitions() {
    let network = example(7, 5);
    let patterns = rows(network.patterns());
    let states = random(6, 5, 2.0, &mut rng(2), &device()).unwrap();
    let betas = [1e-3, 0.1, 1.0, 3.0, 20.0, 400.0];
    let energies = host(network.energy(states.clone(), &betas).unwrap());
    let updated = network.at(&betas, Space::States).unwrap().update(states.clone());
    for (row, state) in rows(states).iter().enumerate() {
        let expected = energy(&patterns, state, betas[row]);
        assert!((energies[row] - expected).abs() < 2e-6, "{row}: {} {expected}", energies[row]);
        let expected = update(&patterns, state, betas[row]);
        for (a, b) in rows(updated.clone())[row].iter().zip(expected) {
            assert!((a - b).abs() < 1e-4, "{row}: {a} {b}");
        }
    }
}

#[test]
fn updates_never_raise_the_energy() {
    let network = example(20, 8);
    let betas: Vec<f64> = (0..64).map(|i| 1e-3 * 1.2_f64.powi(i)).collect();
    let mut states = random(64, 8, 3.0, &mut rng(3), &device()).unwrap();
    let retrieval = network.at(&betas, Space::States).unwrap();
    let mut before = host(network.energy(states.clone(), &betas).unwrap());
    for _ in 0..20 {
        states = retrieval.update(states);
        let after = host(network.energy(states.clone(), &betas).unwrap());
        for (row, (old, new)) in before.iter().zip(&after).enumerate() {
            assert!(*new <= old + 2e-6 && *new >= -1e-6, "row {row}: {old} -> {new}");
        }
        before = after;
    }
}

/// `p <- softmax(beta X X' p)` in double precision.
fn update_weights(patterns: &[Vec<f64>], weights: &[f64], beta: f64) -> Vec<f64> {
    let state: Vec<f64> = (0..patterns[0].len())
        .map(|k| patterns.iter().zip(weights).map(|(x, p)| x[k] * p).sum())
        .collect();
    let overlaps: Vec<f64> = patterns.iter().map(|x| beta * dot(x, &state)).collect();
    let largest = overlaps.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let raised: Vec<f64> = overlaps.iter().map(|z| (z - largest).exp()).collect();
    let sum: f64 = raised.iter().sum();
    raised.into_iter().map(|z| z / sum).collect()
}

/// Overlaps of a million that differ by ones: in f32 they are multiples of 1/16.
#[test]
fn a_distant_mean_costs_weights_no_digits() {
    // D^2 = 2 M^2 (1 - c) = 2
    let set = Equidistant { count: 5, dimension: 9, norm: 1e3, cosine: 1.0 - 1e-6 };
    let stored = equidistant(&set, &mut rng(4), &device()).unwrap();
    let patterns = rows(stored.clone());
    let network = ModernHopfield::new(stored).unwrap();
    assert!((network.distance_squared() - 2.0).abs() < 1e-2, "{}", network.distance_squared());
    let start = [
        [1.0, 0.0, 0.0, 0.0, 0.0],
        [0.5, 0.25, 0.125, 0.125, 0.0],
        [0.0, 0.25, 0.25, 0.25, 0.25],
        [0.0, 0.0, 0.5, 0.5, 0.0],
    ];
    let betas = [6.0; 4];
    let retrieval = network.at(&betas, Space::Weights).unwrap();
    let mut weights = tensor(&start.each_ref().map(<[f32; 5]>::as_slice));
    for step in 1..=20 {
        let before = rows(weights.clone());
        weights = retrieval.update(weights);
        for (row, found) in rows(weights.clone()).into_iter().enumerate() {
            let expected = update_weights(&patterns, &before[row], betas[row]);
            for (a, b) in found.into_iter().zip(expected) {
                assert!((a - b).abs() < 1e-3, "step {step}, row {row}: {a} {b}");
            }
        }
    }
}

fn retrieved<M: Method>(network: &ModernHopfield, space: Space, method: &M) -> Vec<Vec<f64>> {
    let betas: Vec<f64> = (0..12).map(|i| 0.5 * 1.6_f64.powi(i)).collect();
    let states = random(12, network.dimension(), 1.5, &mut rng(5), &device()).unwrap();
    let retrieval = network.at(&betas, space).unwrap();
    let guess = match space {
        Space::States => states,
        Space::Weights => retrieval.weights(network.overlaps(states).unwrap()),
    };
    let rule = StoppingRule::new(1e-6, 5000).unwrap();
    let solution = retrieval.solve(guess, method, &rule).unwrap();
    assert!(solution.all_converged(), "{:?}", solution.outcomes);
    let end = solution.state.component(0).clone();
    match space {
        Space::States => rows(end),
        Space::Weights => rows(network.read(end, &betas).unwrap().centred + network.mean()),
    }
}

#[test]
fn states_weights_and_methods_agree() {
    let network = example(6, 10);
    let plain = retrieved(&network, Space::States, &Picard);
    for (name, other) in [
        ("weights", retrieved(&network, Space::Weights, &Picard)),
        ("damped", retrieved(&network, Space::States, &Damped::new(0.3).unwrap())),
        ("anderson", retrieved(&network, Space::Weights, &Anderson::new(4).unwrap())),
    ] {
        for (row, (a, b)) in plain.iter().zip(&other).enumerate() {
            let apart: f64 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
            assert!(apart < 1e-3, "{name}, row {row}: {apart}");
        }
    }
}

#[test]
fn equidistant_sets_have_their_norm_and_cosine() {
    for set in [
        Equidistant::simplex(6, 5, 2.0),
        Equidistant::orthogonal(6, 6, 0.5),
        Equidistant { count: 4, dimension: 30, norm: 3.0, cosine: 0.7 },
        Equidistant { count: 3, dimension: 3, norm: 1.0, cosine: 1.0 },
        Equidistant { count: 1, dimension: 1, norm: 2.0, cosine: 0.0 },
    ] {
        let patterns = rows(equidistant(&set, &mut rng(6), &device()).unwrap());
        for (i, a) in patterns.iter().enumerate() {
            for (j, b) in patterns.iter().enumerate() {
                let expected = set.norm.powi(2) * if i == j { 1.0 } else { set.cosine };
                assert!((dot(a, b) - expected).abs() < 1e-5 * set.norm.powi(2), "{set:?}");
            }
        }
    }
}

/// Weights that start at pattern 0, one row for each `beta`.
fn at_pattern(betas: usize, count: usize) -> Tensor<2> {
    let mut values = vec![0.0; betas * count];
    values.iter_mut().step_by(count).for_each(|v| *v = 1.0);
    Tensor::from_data(TensorData::new(values, [betas, count]), &device())
}

#[test]
fn minima_appear_at_the_first_threshold_and_tie_at_the_second() {
    for count in [3, 5, 10, 50] {
        let known = Thresholds::of(count).unwrap();
        let set = Equidistant::orthogonal(count, count + 2, 2.0);
        let network =
            ModernHopfield::new(equidistant(&set, &mut rng(7), &device()).unwrap()).unwrap();
        assert!((beta_eff(1.0, network.distance_squared()) - 4.0).abs() < 1e-4);
        let betas: Vec<f64> =
            [known.b1 * 0.995, known.b1 * 1.005, known.b2 * 0.999, known.b2 * 1.001]
                .iter()
                .map(|b| b / beta_eff(1.0, network.distance_squared()))
                .collect();
        let rule = StoppingRule::new(1e-6, 4000).unwrap();
        let solution = network
            .at(&betas, Space::Weights)
            .unwrap()
            .solve(at_pattern(4, count), &Picard, &rule)
            .unwrap();
        let readings = network.read(solution.state.component(0).clone(), &betas).unwrap();
        let order: Vec<f64> = host(readings.to_mean);
        let full = 2.0 * (1.0 - 1.0 / count as f64).sqrt();
        assert!(order[0] < 0.01 * full && order[1] > 0.9 * known.m1 * full, "{count}: {order:?}");
        let uniform = Tensor::full([4, count], 1.0 / count as f32, &device());
        let mean = host(network.read(uniform, &betas).unwrap().energy);
        let pattern = host(readings.energy);
        assert!(pattern[2] > mean[2] && pattern[3] < mean[3], "{count}: {pattern:?} {mean:?}");
    }
}

fn eigenvalue(network: &ModernHopfield, weights: Tensor<2>, beta: f64) -> f64 {
    let start = random(1, network.dimension(), 1.0, &mut rng(8), &device()).unwrap();
    let rule = StoppingRule::new(1e-5, 2000).unwrap();
    stability(network, weights, &[beta], start, &rule).unwrap()[0].eigenvalue
}

#[test]
fn the_mean_loses_stability_where_the_eigenvalue_is_one() {
    let set = Equidistant { count: 12, dimension: 20, norm: 1.0, cosine: 0.3 };
    let network = ModernHopfield::new(equidistant(&set, &mut rng(9), &device()).unwrap()).unwrap();
    let uniform = Tensor::full([1, 12], 1.0 / 12.0, &device());
    let beta = 12.0 / beta_eff(1.0, network.distance_squared());
    assert!((eigenvalue(&network, uniform, beta) - 1.0).abs() < 1e-4);
}

/// For patterns in pairs `x, -x` the origin is a fixed point at every `beta`, stable or not.
#[test]
fn the_eigenvalue_predicts_growth_for_unequal_patterns() {
    let half = random(15, 10, 1.0, &mut rng(10), &device()).unwrap();
    let network = ModernHopfield::new(Tensor::cat(vec![half.clone(), -half], 0)).unwrap();
    let uniform = || Tensor::full([1, 30], 1.0 / 30.0, &device());
    let unit = eigenvalue(&network, uniform(), 1.0);
    for factor in [0.9, 0.99, 1.01, 1.2] {
        let beta = factor / unit;
        let retrieval = network.at(&[beta], Space::States).unwrap();
        let mut state = random(1, 10, 1e-3, &mut rng(11), &device()).unwrap();
        for _ in 0..200 {
            // Kept small, so that the map stays linear.
            state = retrieval.update(state);
            let now = length(state.clone());
            state = state * (1e-3 / now);
        }
        let grown = length(retrieval.update(state)) / 1e-3;
        assert!((grown - factor).abs() < 2e-3, "{factor}: {grown}");
    }
}

#[test]
fn one_pattern_is_always_retrieved() {
    let network = ModernHopfield::new(tensor(&[&[1.0, -2.0]])).unwrap();
    let betas = [0.0, 1.0, 1e30];
    let start = tensor(&[&[9.0, 9.0], &[0.0, 0.0], &[-1.0, 2.0]]);
    let rule = StoppingRule::new(1e-6, 10).unwrap();
    let solution = network.at(&betas, Space::States).unwrap().solve(start, &Picard, &rule).unwrap();
    assert!(solution.all_converged());
    for state in rows(solution.state.component(0).clone()) {
        assert!((state[0] - 1.0).abs() < 1e-6 && (state[1] + 2.0).abs() < 1e-6);
    }
    let energies = host(network.energy(solution.state.component(0).clone(), &betas).unwrap());
    assert!(energies.iter().all(|e| e.abs() < 1e-5), "{energies:?}");
    assert!(network.distance_squared().abs() < 1e-12);
    assert!(eigenvalue(&network, Tensor::ones([1, 1], &device()), 3.0).abs() < 1e-12);
}

/// Two patterns: `m = tanh(beta_eff m / 2)`.
#[test]
fn two_patterns_obey_their_closed_form() {
    let set = Equidistant::orthogonal(2, 4, 1.0);
    let network = ModernHopfield::new(equidistant(&set, &mut rng(12), &device()).unwrap()).unwrap();
    let betas = [1.5, 1.9, 2.2, 3.0, 8.0];
    let rule = StoppingRule::new(1e-7, 4000).unwrap();
    let solution = network
        .at(&betas, Space::Weights)
        .unwrap()
        .solve(at_pattern(5, 2), &Picard, &rule)
        .unwrap();
    for (weights, beta) in rows(solution.state.component(0).clone()).iter().zip(betas) {
        let m = weights[0] - weights[1];
        assert!((m - (beta * m / 2.0).tanh()).abs() < 1e-5, "{beta}: {m}");
        assert!(if beta < 2.0 { m < 1e-4 } else { m > 0.4 }, "{beta}: {m}");
    }
}

#[test]
fn duplicate_patterns_share_their_weight() {
    let patterns = tensor(&[&[1.0, 0.0], &[1.0, 0.0], &[0.0, 1.0]]);
    let network = ModernHopfield::new(patterns).unwrap();
    let start = tensor(&[&[1.0, 0.0]]);
    let retrieval = network.at(&[50.0], Space::Weights).unwrap();
    let guess = retrieval.weights(network.overlaps(start).unwrap());
    let rule = StoppingRule::new(1e-6, 50).unwrap();
    let solution = retrieval.solve(guess, &Picard, &rule).unwrap();
    let weights = host(solution.state.component(0).clone());
    assert!((weights[0] - 0.5).abs() < 1e-6 && (weights[1] - 0.5).abs() < 1e-6, "{weights:?}");
    let readings = network.read(solution.state.component(0).clone(), &[50.0]).unwrap();
    assert!(host(readings.to_nearest)[0] < 1e-6);
    assert!((host(readings.entropy)[0] - 2.0_f64.ln()).abs() < 1e-5);
    // All the same: one fixed point, at distance 0 of everything.
    let same = ModernHopfield::new(Tensor::ones([4, 3], &device())).unwrap();
    let retrieval = same.at(&[1e6], Space::Weights).unwrap();
    let solution = retrieval.solve(at_pattern(1, 4), &Picard, &rule).unwrap();
    let readings = same.read(solution.state.component(0).clone(), &[1e6]).unwrap();
    assert!(host(readings.to_mean)[0] < 1e-6 && host(readings.energy)[0].abs() < 1e-6);
}

#[test]
fn no_beta_overflows() {
    let network = example(9, 6);
    let betas = [0.0, f64::from(f32::MIN_POSITIVE), 1e-12, 1e12, 1e30, f64::from(f32::MAX)];
    for space in [Space::States, Space::Weights] {
        let states = random(6, 6, 1e3, &mut rng(13), &device()).unwrap();
        let retrieval = network.at(&betas, space).unwrap();
        let guess = match space {
            Space::States => states,
            Space::Weights => retrieval.weights(network.overlaps(states).unwrap()),
        };
        let rule = StoppingRule::new(1e-5, 100).unwrap();
        let solution = retrieval.solve(guess, &Picard, &rule).unwrap();
        assert!(solution.outcomes.iter().all(|o| o.termination == Termination::Converged));
        let end = solution.state.component(0).clone();
        let energies = match space {
            Space::States => host(network.energy(end, &betas).unwrap()),
            Space::Weights => {
                let readings = network.read(end, &betas).unwrap();
                let (mean, near) = (host(readings.to_mean), host(readings.to_nearest));
                // No order at beta near 0; a pattern itself at the largest.
                assert!(mean[..3].iter().all(|d| *d < 1e-6), "{mean:?}");
                assert!(near[3..].iter().all(|d| *d < 1e-6), "{near:?}");
                host(readings.energy)
            }
        };
        assert!(energies.iter().all(|e| e.is_finite() && *e > -1e-6), "{energies:?}");
    }
}

#[test]
fn bad_input_is_refused() {
    let d = &device();
    let setting = |error: ModelError| matches!(error, ModelError::Setting { .. });
    assert!(setting(ModernHopfield::new(Tensor::zeros([0, 3], d)).unwrap_err()));
    for wrong in [f32::NAN, f32::INFINITY, f32::MAX] {
        let patterns = tensor(&[&[1.0, wrong]]);
        let error = ModernHopfield::new(patterns).unwrap_err();
        assert!(matches!(error, ModelError::NotFinite { .. }), "{wrong}: {error}");
    }
    let network = example(4, 3);
    for beta in [-1.0, f64::NAN, f64::INFINITY, 1e39] {
        assert!(setting(network.at(&[beta], Space::States).unwrap_err()), "{beta}");
    }
    assert!(setting(network.at(&[], Space::States).unwrap_err()));
    let shape = |error: ModelError| matches!(error, ModelError::Shape { .. });
    assert!(shape(network.energy(Tensor::zeros([1, 4], d), &[1.0]).unwrap_err()));
    assert!(setting(network.energy(Tensor::zeros([2, 3], d), &[1.0]).unwrap_err()));
    assert!(shape(network.read(Tensor::zeros([1, 3], d), &[1.0]).unwrap_err()));
    let rule = StoppingRule::new(1e-5, 10).unwrap();
    let retrieval = network.at(&[1.0], Space::Weights).unwrap();
    assert!(shape(retrieval.solve(Tensor::zeros([1, 3], d), &Picard, &rule).unwrap_err()));
    let zero = Tensor::zeros([1, 3], d);
    let weights = Tensor::full([1, 4], 0.25, d);
    assert!(setting(stability(&network, weights, &[1.0], zero, &rule).unwrap_err()));

    let good = Equidistant { count: 4, dimension: 6, norm: 1.0, cosine: 0.2 };
    for bad in [
        Equidistant { count: 0, ..good },
        Equidistant { dimension: 3, ..good },
        Equidistant { norm: 0.0, ..good },
        Equidistant { norm: f64::NAN, ..good },
        Equidistant { cosine: -0.5, ..good },
        Equidistant { cosine: 1.1, ..good },
        Equidistant { cosine: f64::NAN, ..good },
    ] {
        assert!(setting(equidistant(&bad, &mut rng(14), d).unwrap_err()), "{bad:?}");
    }
    assert!(random(0, 3, 1.0, &mut rng(14), d).is_err());
    assert!(random(3, 0, 1.0, &mut rng(14), d).is_err());
    assert!(random(3, 3, -1.0, &mut rng(14), d).is_err());
}
