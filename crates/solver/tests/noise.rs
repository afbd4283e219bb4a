//! Maps with noise, which depends on the sample and on the iteration.
#![allow(clippy::unwrap_used, reason = "a test may stop")]
#![recursion_limit = "256"]

mod problems;

use burn::tensor::{Int, Tensor};
use hvae_solver::{Damped, FixedPointMap, Outcome, Picard, State, solve, solve_in_parts};
use problems::{bits, column, indices, rule, zeros};

const SAMPLES: usize = 12;

/// `s = rate s + 1 + decay^i noise(sample, i)`, with pseudorandom noise.
#[derive(Clone)]
struct Noisy {
    rate: Tensor<2>,
    /// The id of every sample: its row number in the whole batch.
    sample: Tensor<2>,
    decay: f32,
}

impl Noisy {
    fn new(decay: f32) -> Self {
        let ids: Vec<f64> = (0..SAMPLES).map(|i| i as f64).collect();
        let rates: Vec<f64> = ids.iter().map(|i| 0.07 * i).collect();
        Self { rate: column(&rates), sample: column(&ids), decay }
    }
}

impl FixedPointMap for Noisy {
    fn apply(&self, state: &State, iteration: usize) -> State {
        let phase = self.sample.clone().mul_scalar(7.3).add_scalar(3.1 * iteration as f32);
        let noise = phase.sin().mul_scalar(self.decay.powi(iteration as i32));
        state.map(|s| s * self.rate.clone() + noise.clone().add_scalar(1.0))
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        let pick = |t: &Tensor<2>| t.clone().select(0, rows.clone());
        Self { rate: pick(&self.rate), sample: pick(&self.sample), ..*self }
    }
}

#[test]
fn the_noise_of_a_sample_does_not_depend_on_the_rest_of_the_batch() {
    let (map, guess) = (Noisy::new(0.6), zeros(SAMPLES, &[1]));
    let method = Damped::new(0.2).unwrap();
    for rule in [rule(1e-5, 200), rule(1e-5, 200).with_check_every(5).unwrap()] {
        let whole = solve(map.clone(), guess.clone(), &method, &rule).unwrap();
        let ends = whole.outcomes.iter().map(|o| o.iterations);
        assert!(ends.clone().min() < ends.max(), "some samples end first");
        let masked = solve(map.clone(), guess.clone(), &method, &rule.with_masking()).unwrap();
        let parts = solve_in_parts(map.clone(), guess.clone(), &method, &rule, 5).unwrap();
        for other in [masked, parts] {
            assert_eq!(bits(&other.state), bits(&whole.state));
            assert_eq!(other.outcomes, whole.outcomes);
        }
        for i in 0..SAMPLES {
            let row = indices(&[i]);
            let single = solve(map.select(&row), guess.select(&row), &method, &rule).unwrap();
            assert_eq!(bits(&single.state)[0], bits(&whole.state)[i], "sample {i}");
            assert_eq!(single.outcomes, [whole.outcomes[i]] as [Outcome; 1], "sample {i}");
        }
    }
}

#[test]
fn a_fixed_number_of_iterations_returns_the_last_image() {
    let (map, guess) = (Noisy::new(1.0), zeros(SAMPLES, &[1]));
    let rule = rule(0.0, 20).with_check_every(20).unwrap();
    let solution = solve(map.clone(), guess.clone(), &Picard, &rule).unwrap();
    let expected = (0..20).fold(guess, |state, iteration| map.apply(&state, iteration));
    assert_eq!(bits(&solution.state), bits(&expected));
}
