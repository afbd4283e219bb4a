//! Weights, initialisation and energy.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData, activation};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::energy::activation::Activation;
use crate::energy::coupling::Coupling;
use crate::energy::interaction::Interaction;
use crate::energy::interaction::dense::Dense;
use crate::energy::layer::{Layer, LayerId, LayerSpec};
use crate::energy::network::HopfieldNetwork;
use crate::error::{ModelError, require_network, require_shape};

/// Steepness of `rho`.
pub(super) const STEEPNESS: f64 = 4.0;
/// Where `rho` is one half.
pub(super) const THRESHOLD: f64 = 0.5;
/// Standard deviation of the initial biases.
const BIAS_DEVIATION: f32 = 0.01;

/// `sigmoid(4 s - 2)`, elementwise.
pub fn rho<const D: usize>(s: Tensor<D>) -> Tensor<D> {
    activation::sigmoid(s.mul_scalar(STEEPNESS).sub_scalar(STEEPNESS * THRESHOLD))
}

/// `rho'(s) = 4 r (1 - r)` where `r = rho(s)`, elementwise.
pub(super) fn slope(r: &Tensor<2>) -> Tensor<2> {
    (r.clone() * (-r.clone()).add_scalar(1.0)).mul_scalar(STEEPNESS)
}

/// Which energy a [`LayeredNetwork`] has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Continuous Hopfield network: `s = rho'(s) a(s)`.
    Chn,
    /// Hierarchical associative memory: `s = a(s)`.
    Ham,
}

/// A chain of layers above the pixels: a CHN or a HAM, see the [module](crate::chn_ham).
#[derive(Module, Debug)]
pub struct LayeredNetwork {
    /// `W_1` to `W_L`, `[n_(k-1), n_k]`.
    pub weights: Vec<Param<Tensor<2>>>,
    /// `b_1` to `b_L`, `[n_k]`.
    pub biases: Vec<Param<Tensor<1>>>,
    #[module(skip)]
    form: Form,
}

impl LayeredNetwork {
    /// A network of `sizes` units: the pixels, hidden layers, the classes.
    ///
    /// Weights start uniform in `+-sqrt(6 / (rows + columns))` (Glorot & Bengio 2010), biases
    /// normal with standard deviation 0.01. There is at least one hidden layer.
    pub fn new(
        sizes: &[usize],
        form: Form,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Result<Self, ModelError> {
        require_network(sizes.len() >= 3 && !sizes.contains(&0), || {
            format!("sizes {sizes:?}: needs pixels, a hidden layer and classes")
        })?;
        let weights = sizes.windows(2).map(|pair| {
            let bound = (6.0 / (pair[0] + pair[1]) as f32).sqrt();
            let draws = (0..pair[0] * pair[1]).map(|_| rng.random_range(-bound..=bound));
            let data = TensorData::new(draws.collect::<Vec<f32>>(), [pair[0], pair[1]]);
            Param::from_tensor(Tensor::from_data(data, device))
        });
        let weights = weights.collect();
        let biases = sizes[1..].iter().map(|&size| {
            let draws = StandardNormal.sample_iter(&mut *rng).take(size);
            let values = draws.map(|normal: f32| BIAS_DEVIATION * normal).collect::<Vec<_>>();
            Param::from_tensor(Tensor::from_data(TensorData::new(values, [size]), device))
        });
        let biases = biases.collect();
        Ok(Self { weights, biases, form })
    }

    /// Which energy it has.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Number of layers above the pixels.
    pub fn depth(&self) -> usize {
        self.weights.len()
    }

    /// Units per layer, from the pixels to the classes.
    pub fn sizes(&self) -> Vec<usize> {
        let first = self.weights[0].dims()[0];
        std::iter::once(first).chain(self.weights.iter().map(|w| w.dims()[1])).collect()
    }

    /// `E(s)` of every sample, `[batch]`, given pixels `[batch, n_0]` and the states of all layers,
    /// each `[batch, n_k]`.
    pub fn energy(&self, images: Tensor<2>, states: &[Tensor<2>]) -> Result<Tensor<1>, ModelError> {
        let (found, needed) = (states.len(), self.depth());
        require_network(found == needed, || format!("{found} states for {needed} layers"))?;
        let ([batch, _], sizes) = (images.dims(), self.sizes());
        require_shape("the images", &images, [batch, sizes[0]])?;
        for (k, (&size, state)) in sizes[1..].iter().zip(states).enumerate() {
            require_shape(format!("the state of layer {}", k + 1), state, [batch, size])?;
        }
        let r: Vec<Tensor<2>> =
            std::iter::once(images).chain(states.iter().cloned()).map(rho).collect();
        let mut energy = Tensor::zeros([batch, 1], &r[0].device());
        for (k, s) in states.iter().enumerate() {
            let own = match self.form {
                Form::Chn => s.clone().square().mul_scalar(0.5),
                Form::Ham => {
                    // A(rho(s)) = s rho(s) - L(s), L(s) = ln(1 + exp(4 s - 2)) / 4.
                    let scaled = s.clone().mul_scalar(STEEPNESS).sub_scalar(STEEPNESS * THRESHOLD);
                    let integral = activation::softplus(scaled, 1.0).div_scalar(STEEPNESS);
                    s.clone() * r[k + 1].clone() - integral
                }
            };
            let bond =
                r[k].clone().matmul(self.weights[k].val()) + self.biases[k].val().unsqueeze::<2>();
            energy = energy + (own - bond * r[k + 1].clone()).sum_dim(1);
        }
        Ok(energy.squeeze_dim(1))
    }

    /// A HAM as a [`HopfieldNetwork`], with the same parameters under the same ids: the layer
    /// `pixels`, to be clamped at `rho(x)`, and the layers above it, whose states there are
    /// `rho(s_k)`. An error for a CHN, whose energy is another.
    pub fn network(&self) -> Result<HopfieldNetwork, ModelError> {
        require_network(self.form == Form::Ham, || {
            "a CHN does not have the energy of a Hopfield network in HAM form".to_owned()
        })?;
        let layers = self.sizes().into_iter().enumerate().map(|(k, size)| {
            let bias = (k > 0).then(|| {
                let shared = &self.biases[k - 1];
                Param::initialized(shared.id, shared.val().sub_scalar(THRESHOLD))
            });
            let (activation, gain) = match k {
                0 => (Activation::Identity, 1.0),
                _ => (Activation::Sigmoid, STEEPNESS),
            };
            let name = if k == 0 { "pixels".to_owned() } else { format!("layer{k}") };
            let spec = LayerSpec::new(&name, size, activation).with_gain(gain);
            Layer { spec: LayerSpec { bias: bias.is_some(), ..spec }, bias }
        });
        let couplings = self.weights.iter().enumerate().map(|(k, weight)| {
            let weight = Param::initialized(weight.id, weight.val());
            let interaction = Interaction::Dense(Dense { weight });
            Coupling { interaction, lower: LayerId(k), upper: LayerId(k + 1) }
        });
        Ok(HopfieldNetwork { layers: layers.collect(), couplings: couplings.collect() })
    }
}
