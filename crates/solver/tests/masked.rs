//! Masking ended samples gives the same solution as removing them.
#![allow(clippy::unwrap_used, reason = "a failing test should panic")]
#![recursion_limit = "256"]

use burn::tensor::{Device, Int, Tensor};
use hvae_device::transfers;
use hvae_solver::{
    Anderson, Damped, FixedPointMap, Method, Picard, Solution, State, StoppingRule, Termination,
    solve,
};

/// `s = scale cos(s)`, one scale a sample.
#[derive(Clone)]
struct Cosines(Tensor<2>);

impl FixedPointMap for Cosines {
    fn apply(&self, state: &State, _iteration: usize) -> State {
        state.map(|s| s.cos() * self.0.clone())
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        Self(self.0.clone().select(0, rows.clone()))
    }
}

/// Converges at once, soon, late, never (it oscillates), and NaN.
const SCALES: [f32; 5] = [0.0, 0.3, 0.9, 2.5, f32::NAN];

fn run<M: Method>(method: &M, rule: &StoppingRule) -> Solution {
    let device = Device::flex();
    let scales = Tensor::<2>::from_floats(SCALES.map(|s| [s]), &device);
    let guess = State::new(vec![Tensor::from_floats([[0.5], [0.5], [0.5], [0.5], [0.5]], &device)]);
    solve(Cosines(scales), guess.unwrap(), method, rule).unwrap()
}

fn values(solution: &Solution) -> Vec<u32> {
    let data = solution.state.component(0).clone().into_data();
    data.try_to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

fn compare<M: Method>(method: &M) {
    for check_every in [1, 3, 7] {
        let rule = StoppingRule::new(1e-5, 40).unwrap().with_check_every(check_every).unwrap();
        let rule = rule.with_trace();
        let (compacted, masked) = (run(method, &rule), run(method, &rule.with_masking()));
        for (i, (a, b)) in compacted.outcomes.iter().zip(&masked.outcomes).enumerate() {
            assert_eq!((a.termination, a.iterations), (b.termination, b.iterations), "sample {i}");
            let same = a.residual.to_bits() == b.residual.to_bits();
            assert!(same, "sample {i}: {} {}", a.residual, b.residual);
        }
        assert_eq!(masked.outcomes[4].termination, Termination::NotFinite);
        assert_eq!(values(&compacted), values(&masked));
        assert_eq!(compacted.iterations, masked.iterations);
        assert_eq!(compacted.trace.len(), masked.trace.len());
        for ((a, before), (b, after)) in compacted.trace.iter().zip(&masked.trace) {
            assert_eq!(a, b);
            let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(before), bits(after), "after {a} iterations");
        }
    }
}

/// `s = (s - 1) / s`: from 1 to 0, whose residual is infinite, and on to minus infinity.
struct Falling;

impl FixedPointMap for Falling {
    fn apply(&self, state: &State, _iteration: usize) -> State {
        state.map(|s| s.clone().sub_scalar(1.0) / s)
    }

    fn select(&self, _rows: &Tensor<1, Int>) -> Self {
        Self
    }
}

#[test]
fn an_image_that_is_not_finite_is_never_returned() {
    let rule = StoppingRule::new(1e-5, 10).unwrap();
    for rule in [rule, rule.with_masking()] {
        let one = Tensor::<2>::ones([1, 1], &Device::flex());
        let guess = State::new(vec![one]).unwrap();
        let solution = solve(Falling, guess, &Picard, &rule).unwrap();
        assert_eq!(solution.outcomes[0].termination, Termination::NotFinite);
        assert_eq!(solution.outcomes[0].iterations, 2);
        assert_eq!(values(&solution), [0.0_f32.to_bits()], "the first image");
    }
}

/// One test, since transfers are counted for the whole process.
#[test]
fn masking_changes_neither_states_nor_outcomes() {
    compare(&Picard);
    compare(&Damped::new(0.3).unwrap());
    compare(&Anderson::new(3).unwrap());

    let rule = StoppingRule::new(1e-5, 40).unwrap().with_check_every(8).unwrap();
    let before = transfers();
    run(&Picard, &rule.with_masking());
    let after = transfers();
    assert_eq!(after.reads - before.reads, 5, "one read per check");
    assert_eq!(after.uploads, before.uploads);
    run(&Picard, &rule);
    assert!(transfers().uploads > after.uploads, "removing samples uploads their rows");
}
