//! Networks: layers and couplings, their construction and their energy.

use std::ops::RangeInclusive;

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, RngExt};

use crate::energy::activation::Activation;
use crate::energy::coupling::{Coupling, CouplingSpec};
use crate::energy::interaction::InteractionKind;
use crate::energy::interaction::bilinear::Direction;
use crate::energy::layer::{Layer, LayerId, LayerSpec};
use crate::error::{ModelError, require_network, require_shape};

/// A network of layers with symmetric couplings and the energy
///
/// ```text
/// E(s) = sum_k [ A_k(s_k)/c_k - <b_k, s_k> ]
///        - sum_{k<l} <s_k, W_kl s_l> - 1/2 sum_k <s_k, R_k s_k>
/// ```
///
/// so that an equilibrium satisfies `s_k = g_k(c_k (b_k + sum_l W_kl s_l + R_k s_k))`
/// (Hopfield 1984; HAM form of Krotov 2021, arXiv 2107.06446).
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use hvae_model::{Activation, CouplingSpec, HopfieldNetwork, LayerSpec};
/// use rand::SeedableRng;
///
/// let layers = vec![
///     LayerSpec::new("input", 4, Activation::Identity),
///     LayerSpec::new("output", 3, Activation::Tanh).with_gain(2.0),
/// ];
/// let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
/// let device = Device::flex();
/// let network = HopfieldNetwork::new(layers, &CouplingSpec::chain(2), &mut rng, &device)?;
/// assert_eq!(network.parameters(), 4 * 3 + 4 + 3);
/// let states = [Tensor::zeros([5, 4], &device), Tensor::zeros([5, 3], &device)];
/// assert_eq!(network.energy(&states)?.dims(), [5]);
/// # Ok::<(), hvae_model::ModelError>(())
/// ```
#[derive(Module, Debug)]
pub struct HopfieldNetwork {
    /// The layers, in the order in which signals first pass through them.
    pub layers: Vec<Layer>,
    /// The couplings.
    pub couplings: Vec<Coupling>,
}

/// Range of gains, amplitudes and the like: their squares and initial weights are normal numbers in
/// f32.
pub(crate) const FACTORS: RangeInclusive<f64> = 1e-15..=1e15;

impl HopfieldNetwork {
    /// A network of these layers and couplings.
    ///
    /// Weights start uniform in `+-r/c`, where `c` is the gain of the upper layer and, with the
    /// fan-in `n`, `r = sqrt(6/n)` below a rectified layer (He et al. 2015, arXiv 1502.01852) and
    /// `1/sqrt(n)` otherwise; biases in `+-1/(c sqrt(n))`. So the signal that passes from layer to
    /// layer does not depend on the gains. `rng` draws the weights of each coupling, then the
    /// biases of each layer. An error ([`ModelError::Network`]) without layers, for an empty layer,
    /// a gain outside 1e-15 to 1e15, a coupling of a layer that does not exist, one that is given
    /// twice, a dense one within a layer, or one for pairs within a layer between two.
    pub fn new(
        layers: Vec<LayerSpec>,
        couplings: &[CouplingSpec],
        rng: &mut impl Rng,
        device: &Device,
    ) -> Result<Self, ModelError> {
        check(&layers, couplings)?;
        let mut draw = |spec: &CouplingSpec| {
            let (lower, upper) = (&layers[spec.lower.0], &layers[spec.upper.0]);
            let fan_in = spec.kind.fan_in([lower.shape, upper.shape]);
            let bound = bound(fan_in, upper);
            build(spec, &layers, |count| uniform(count, bound, rng), device)
        };
        let couplings: Vec<Coupling> = couplings.iter().map(&mut draw).collect();
        let layers = layers.into_iter().enumerate().map(|(k, spec)| {
            let below = couplings.iter().filter(|c| c.upper == LayerId(k) && !c.is_within());
            let fan_in = below.map(|c| c.interaction.linear().fan_in(Direction::Up)).max();
            let fan_in = fan_in.unwrap_or(spec.size());
            let bound = 1.0 / (spec.gain * (fan_in as f64).sqrt());
            let bias = spec.bias.then(|| {
                let bias = TensorData::new(uniform(spec.size(), bound, rng), [spec.size()]);
                Param::from_tensor(Tensor::from_data(bias, device))
            });
            Layer { bias, spec }
        });
        Ok(Self { layers: layers.collect(), couplings })
    }

    /// Adds couplings whose weights are zero. Errors are those of [`Self::new`].
    pub fn add_couplings(
        &mut self,
        couplings: &[CouplingSpec],
        device: &Device,
    ) -> Result<(), ModelError> {
        let specs: Vec<_> = self.layers.iter().map(|l| l.spec.clone()).collect();
        check(&specs, couplings)?;
        for spec in couplings {
            require_once(spec, self.are_coupled(spec.lower, spec.upper))?;
            let zeros = |count| vec![0.0; count];
            self.couplings.push(build(spec, &specs, zeros, device));
        }
        Ok(())
    }

    /// What layer `k` is.
    pub fn spec(&self, k: LayerId) -> &LayerSpec {
        &self.layers[k.0].spec
    }

    /// All layers.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = LayerId> + use<> {
        (0..self.layers.len()).map(LayerId)
    }

    /// What layer `k` is called in messages.
    pub(crate) fn name(&self, k: LayerId) -> &str {
        self.layers.get(k.0).map_or("?", |l| l.spec.name.as_str())
    }

    /// Whether layers `a` and `b` are coupled.
    pub(crate) fn are_coupled(&self, a: LayerId, b: LayerId) -> bool {
        self.couplings.iter().any(|c| c.joins(a, b))
    }

    /// `E(s)` of every sample, `[batch]`, for the states of all layers, each `[batch, n_k]`.
    pub fn energy(&self, states: &[Tensor<2>]) -> Result<Tensor<1>, ModelError> {
        let (found, needed) = (states.len(), self.layers.len());
        require_network(found == needed, || format!("{found} states for {needed} layers"))?;
        for (layer, state) in self.layers.iter().zip(states) {
            let expected = [states[0].dims()[0], layer.spec.size()];
            require_shape(format!("the state of layer {}", layer.spec.name), state, expected)?;
        }
        let own = self.layers.iter().zip(states).map(|(layer, s)| {
            let own = layer.spec.activation.conjugate(s.clone()).div_scalar(layer.spec.gain);
            match &layer.bias {
                Some(bias) => own - s.clone() * bias.val().unsqueeze(),
                None => own,
            }
            .sum_dim(1)
        });
        let pairs = self.couplings.iter().map(|c| {
            let [lower, upper] = [c.lower, c.upper].map(|k| states[k.0].clone());
            c.energy(lower, upper)
        });
        let total = own.chain(pairs).reduce(|a, b| a + b).expect("a network has layers");
        Ok(total.squeeze_dim(1))
    }

    /// Number of independent parameters: within a layer one for each joined pair of units.
    pub fn parameters(&self) -> usize {
        let weights = self.couplings.iter().map(Coupling::parameters);
        let biases = self.layers.iter().filter(|l| l.bias.is_some()).map(|l| l.spec.size());
        weights.chain(biases).sum()
    }

    /// Checks weights from elsewhere: within a layer they must be symmetric, and zero on the
    /// diagonal and for units that are not coupled, or there is no energy. A relative difference of
    /// 1e-5 of the largest weight is taken for rounding.
    pub fn check_couplings(&self) -> Result<(), ModelError> {
        self.couplings.iter().try_for_each(|c| {
            require_network(c.interaction.linear().is_sound(), || {
                format!(
                    "the weights within layer {} are not symmetric, or couple units that must not \
                     be coupled (pixels farther apart than visible_reach)",
                    self.name(c.lower)
                )
            })
        })
    }

    /// Projects gradients by automatic differentiation on the directions in which weights can
    /// change: within a layer on symmetric matrices, zero for pairs that are not joined.
    pub fn project(&self, gradients: &mut GradientsParams) {
        for coupling in &self.couplings {
            coupling.interaction.linear().project(gradients);
        }
    }

    /// Scales fresh weights, which [`Self::new`] has made for signals from lower to upper layers,
    /// to the geometric mean of what the two directions need. Where layer `k` is clamped, its state
    /// is multiplied by `amplitude(k)`.
    pub(crate) fn balance(&mut self, amplitude: impl Fn(LayerId) -> f64) {
        for c in &mut self.couplings {
            let (lower, upper) = (&self.layers[c.lower.0].spec, &self.layers[c.upper.0].spec);
            let map = c.interaction.linear_mut();
            let made = bound(map.fan_in(Direction::Up), upper);
            let forward = made / amplitude(c.lower);
            let backward = bound(map.fan_in(Direction::Down), lower) / amplitude(c.upper);
            map.weights_mut().scale(&((forward * backward).sqrt() / made).into());
        }
    }
}

/// A coupling between layers of `layers`, whose weights come from `draw`.
fn build(
    spec: &CouplingSpec,
    layers: &[LayerSpec],
    draw: impl FnOnce(usize) -> Vec<f32>,
    device: &Device,
) -> Coupling {
    let shapes = [spec.lower, spec.upper].map(|k| layers[k.0].shape);
    let interaction = spec.kind.build(shapes, draw, device);
    Coupling { interaction, lower: spec.lower, upper: spec.upper }
}

/// Half the width of the interval in which weights start, for the fan-in of layer `to`.
fn bound(fan_in: usize, to: &LayerSpec) -> f64 {
    let square = if to.activation == Activation::Relu { 6.0 } else { 1.0 };
    (square / fan_in as f64).sqrt() / to.gain
}

fn check(layers: &[LayerSpec], couplings: &[CouplingSpec]) -> Result<(), ModelError> {
    require_network(!layers.is_empty(), || "it has no layers".to_owned())?;
    for layer in layers {
        let LayerSpec { name, gain, .. } = layer;
        require_network(layer.size() > 0, || format!("layer {name} has no units"))?;
        require_network(FACTORS.contains(gain), || {
            format!("layer {name}: gain {gain:e} must lie between 1e-15 and 1e15")
        })?;
    }
    for (i, spec) in couplings.iter().enumerate() {
        let CouplingSpec { lower, upper, kind } = spec;
        let count = layers.len();
        require_network(lower.max(upper).0 < count, || {
            let what = "names a layer that does not exist; there are";
            format!("coupling ({lower}, {upper}) {what} {count}")
        })?;
        require_network((*kind == InteractionKind::Dense) != (lower == upper), || {
            format!("coupling ({lower}, {upper}) cannot be {kind:?}")
        })?;
        require_once(spec, couplings[..i].iter().any(|c| (c.lower, c.upper) == (*lower, *upper)))?;
    }
    Ok(())
}

fn require_once(spec: &CouplingSpec, given: bool) -> Result<(), ModelError> {
    require_network(!given, || format!("coupling ({}, {}) is given twice", spec.lower, spec.upper))
}

fn uniform(count: usize, bound: f64, rng: &mut impl Rng) -> Vec<f32> {
    let bound = bound as f32;
    (0..count).map(|_| rng.random_range(-bound..=bound)).collect()
}
