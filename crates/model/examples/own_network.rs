//! A custom topology: free phase, gradient by equilibrium propagation, comparison with
//! backpropagation through the relaxation.
#![allow(clippy::print_stdout, reason = "an example shows what it finds")]
#![recursion_limit = "256"]

mod common;

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, Tensor};
use hvae_model::{
    Activation, Cost, CouplingSpec, Force, HopfieldNetwork, LayerId, LayerSpec, ModelError, Nudge,
    NudgeSize, Nudging, Relaxation, Role, Shape, Unconverged, gradient,
};
use hvae_solver::StoppingRule;
use rand::SeedableRng;

/// The layer that is clamped, one between, and the one that has a target.
const INPUT: LayerId = LayerId(0);
const HIDDEN: LayerId = LayerId(1);
const OUTPUT: LayerId = LayerId(2);

fn main() -> Result<(), ModelError> {
    let device = Device::flex();
    device.seed(1);
    // An input, a hidden layer on a grid whose neighbours are coupled, and an output; the input is
    // coupled with both.
    let layers = vec![
        LayerSpec::new("input", 10, Activation::Identity).without_bias(),
        LayerSpec::new("hidden", 36, Activation::Tanh).with_shape(Shape::grey(6, 6)),
        LayerSpec::new("output", 4, Activation::Sigmoid).with_gain(2.0),
    ];
    let couplings = [
        CouplingSpec::dense(INPUT, HIDDEN),
        CouplingSpec::dense(HIDDEN, OUTPUT),
        CouplingSpec::dense(INPUT, OUTPUT),
        CouplingSpec::banded(HIDDEN, 1),
    ];
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let network = HopfieldNetwork::new(layers, &couplings, &mut rng, &device)?;

    let input = Tensor::<2>::random([16, 10], Distribution::Normal(0.0, 1.0), &device);
    let target = Tensor::<2>::random([16, 4], Distribution::Uniform(0.0, 1.0), &device);
    let rule = StoppingRule::new(1e-6, 200)?;
    let phase = Relaxation::new(&network, roles(input.clone()))?;
    let free = phase.free_equilibrium(0.3, &rule)?;

    // C = |s - target|^2 / 2, whose force on the output is s - target.
    let forces = [Force { layer: OUTPUT, force: free.state(OUTPUT) - target.clone() }];
    let nudge = Nudge {
        size: NudgeSize::new(1e-3),
        nudging: Nudging::Centred,
        unconverged: Unconverged::Use,
        damping: 0.3,
        rule,
    };
    let found = gradient(&phase, &free, Cost::Forces(&forces), &nudge)?;
    println!("beta = {:.4}", found.beta().read());

    let mut estimate = GradientsParams::new();
    found.register(&network, &mut estimate);
    let unrolled = unrolled(&network, input, &target)?;
    for coupling in &network.couplings {
        let (lower, upper) = (coupling.lower, coupling.upper);
        let cosine = common::cosine(coupling, &estimate, &unrolled);
        println!("{lower}-{upper}: cosine with the unrolled gradient {cosine:.6}");
    }
    Ok(())
}

fn roles(input: Tensor<2>) -> Vec<Role> {
    let mut roles = vec![Role::Free; 3];
    roles[INPUT.0] = Role::Clamped(input);
    roles
}

/// The gradient by automatic differentiation through 100 sweeps.
fn unrolled(
    network: &HopfieldNetwork,
    input: Tensor<2>,
    target: &Tensor<2>,
) -> Result<GradientsParams, ModelError> {
    struct Trace;
    impl ModuleMapper for Trace {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            Param::initialized(param.id, param.val().autodiff().require_grad())
        }
    }
    let traced = network.clone().map(&mut Trace);
    let phase = Relaxation::new(&traced, roles(input.autodiff()))?;
    let rule = StoppingRule::new(0.0, 100)?;
    let free = phase.free_equilibrium(0.3, &rule)?;
    let error = free.state(OUTPUT) - target.clone().autodiff();
    let cost = error.square().sum_dim(1).mean().mul_scalar(0.5);
    let mut gradients = GradientsParams::from_grads(cost.backward(), &traced);
    network.project(&mut gradients);
    Ok(gradients)
}
