//! `hvae.HopfieldNetwork`: networks of any topology, their equilibria and gradients.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow, bail, ensure};
use burn::module::Param;
use burn::tensor::{Device, Tensor};
use hvae_device::{download, upload};
use hvae_model::{
    Activation, Cost, CouplingSpec, Equilibrium as Reached, Force, HopfieldNetwork as Network,
    Interaction, LayerId, LayerSpec, Nudge, NudgeSize, Nudging, Relaxation, Role, Shape,
    Unconverged, gradient,
};
use hvae_runtime::rng::{self, Stream};
use hvae_solver::StoppingRule;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde::Deserialize;

use crate::array::{array, matrix, wrong};
use crate::compute::{compute, device, exception};
use crate::outcome::Outcome;

/// A layer as a dictionary of Python.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LayerArgs {
    name: String,
    units: usize,
    #[serde(default = "identity")]
    activation: Activation,
    #[serde(default = "one")]
    gain: f64,
    #[serde(default = "yes")]
    bias: bool,
    shape: Option<[usize; 2]>,
}

fn identity() -> Activation {
    Activation::Identity
}

fn one() -> f64 {
    1.0
}

fn yes() -> bool {
    true
}

impl LayerArgs {
    fn spec(self) -> Result<LayerSpec> {
        let Self { name, units, activation, gain, bias, shape } = self;
        let spec = LayerSpec { bias, ..LayerSpec::new(&name, units, activation).with_gain(gain) };
        let Some([height, width]) = shape else { return Ok(spec) };
        ensure!(
            height.checked_mul(width) == Some(units),
            "layer {name}: shape {height}x{width} does \
            not have {units} units"
        );
        Ok(spec.with_shape(Shape::grey(height, width)))
    }
}

/// Two layers by their names; within a layer also how far apart two coupled units are at most.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum CouplingArgs {
    Pair(String, String),
    Banded(String, String, usize),
}

impl CouplingArgs {
    fn spec(&self, layers: &[LayerSpec]) -> Result<CouplingSpec> {
        let place = |name: &String| {
            let found = layers.iter().position(|layer| layer.name == *name);
            found.map(LayerId).with_context(|| format!("there is no layer {name:?}"))
        };
        Ok(match self {
            Self::Pair(a, b) if a == b => CouplingSpec::within(place(a)?),
            Self::Pair(a, b) => CouplingSpec::dense(place(a)?, place(b)?),
            Self::Banded(a, b, reach) if a == b => CouplingSpec::banded(place(a)?, *reach),
            Self::Banded(a, b, _) => bail!("only units within a layer have a reach, not {a}-{b}"),
        })
    }
}

/// Reads a list of Python through its JSON form.
fn list<T: serde::de::DeserializeOwned>(what: &str, object: &Bound<'_, PyAny>) -> PyResult<T> {
    let text: String = object.py().import("json")?.call_method1("dumps", (object,))?.extract()?;
    serde_json::from_str(&text).map_err(|error| PyValueError::new_err(format!("{what}: {error}")))
}

/// A network of layers with symmetric couplings of any topology (Hopfield 1984), with the energy
///
///     E(s) = sum_k [A_k(s_k)/c_k - <b_k, s_k>] - sum_{k<l} <s_k, W_kl s_l> - 1/2 sum_k <s_k, R_k s_k>
///
/// `layers` are dictionaries with `name`, `units` and, if not the defaults, `activation`
/// ("identity", "relu", "hard-sigmoid", "sigmoid", "tanh"), `gain` (1), `bias` (True) and `shape`
/// (height, width). `couplings` are pairs of names; a name twice couples the units within a layer, and
/// `(name, name, reach)` only those at most `reach` rows and columns apart. Weights start at random
/// from `seed`.
#[pyclass(frozen, module = "hvae")]
#[derive(Debug)]
pub(crate) struct HopfieldNetwork {
    network: Mutex<Network>,
    device: Device,
}

/// An equilibrium of a network: `states`, a dictionary of arrays by the names of the layers, and the
/// `outcome` of each sample.
#[pyclass(frozen, module = "hvae")]
#[derive(Debug)]
pub(crate) struct Equilibrium {
    reached: Mutex<Reached>,
    clamped: Mutex<Vec<Option<Tensor<2>>>>,
    names: Vec<String>,
    rule: StoppingRule,
    damping: f64,
}

/// What a mutex guards, whatever became of the thread that held it.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn roles(clamped: &[Option<Tensor<2>>]) -> Vec<Role> {
    clamped.iter().map(|state| state.clone().map_or(Role::Free, Role::Clamped)).collect()
}

/// A tensor as an array of its own shape.
fn tensor(py: Python<'_>, value: Tensor<2>) -> PyResult<Bound<'_, PyAny>> {
    let shape = value.dims();
    Ok(array(py, download(value).map_err(exception)?, &shape)?.into_any())
}

fn rule(tolerance: f64, sweeps: usize) -> PyResult<StoppingRule> {
    StoppingRule::new(tolerance, sweeps).map_err(|error| wrong(error.into()))
}

impl HopfieldNetwork {
    /// The arrays of `given`, by the places of their layers.
    fn by_layer(&self, given: &Bound<'_, PyDict>) -> PyResult<Vec<Option<Tensor<2>>>> {
        let network = lock(&self.network).clone();
        let mut found: Vec<Option<Tensor<2>>> = vec![None; network.layers.len()];
        for (name, value) in given {
            let name: String = name.extract()?;
            let layer = network.layers.iter().position(|layer| layer.spec.name == name);
            let layer =
                layer.with_context(|| format!("there is no layer {name:?}")).map_err(wrong)?;
            let units = network.layers[layer].spec.size();
            let (values, _) = matrix(&name, &value, Some(units))?;
            found[layer] = Some(upload(values.into_vec(), units, &self.device));
        }
        Ok(found)
    }
}

#[pymethods]
impl HopfieldNetwork {
    #[new]
    #[pyo3(signature = (layers, couplings, seed = 0, device = "cpu"))]
    fn new(
        layers: &Bound<'_, PyAny>,
        couplings: &Bound<'_, PyAny>,
        seed: u64,
        device: &str,
    ) -> PyResult<Self> {
        let device = self::device(layers.py(), device)?;
        let layers: Vec<LayerArgs> = list("layers", layers)?;
        let couplings: Vec<CouplingArgs> = list("couplings", couplings)?;
        let build = || {
            let layers = layers.into_iter().map(LayerArgs::spec).collect::<Result<Vec<_>>>()?;
            for (at, layer) in layers.iter().enumerate() {
                let given = layers[..at].iter().any(|other| other.name == layer.name);
                ensure!(!given, "two layers are named {:?}", layer.name);
            }
            let couplings: Result<Vec<_>> = couplings.iter().map(|c| c.spec(&layers)).collect();
            let mut rng = rng::generator(seed, Stream::Weights, 0);
            Ok(Network::new(layers, &couplings?, &mut rng, &device)?)
        };
        Ok(Self { network: Mutex::new(build().map_err(wrong)?), device })
    }

    /// Names and numbers of units of the layers, in their order.
    #[getter]
    fn layers(&self) -> Vec<(String, usize)> {
        let network = lock(&self.network);
        network.layers.iter().map(|layer| (layer.spec.name.clone(), layer.spec.size())).collect()
    }

    /// The energy of each sample, `[N]`, for the states of all layers, `[N, units]` each by name.
    fn energy<'py>(
        &self,
        py: Python<'py>,
        states: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let given: Vec<Tensor<2>> = self.by_layer(states)?.into_iter().flatten().collect();
        let network = lock(&self.network).clone();
        let energy = compute(py, move || download(network.energy(&given)?))?;
        let count = energy.len();
        Ok(array(py, energy, &[count])?.into_any())
    }

    /// The equilibrium of all other layers with those in `clamped` held at the given states, by block
    /// sweeps until the relative residual of a sample is at most `tolerance`.
    #[pyo3(signature = (clamped, tolerance = 1e-6, sweeps = 200, damping = 0.0))]
    fn equilibrium(
        &self,
        py: Python<'_>,
        clamped: &Bound<'_, PyDict>,
        tolerance: f64,
        sweeps: usize,
        damping: f64,
    ) -> PyResult<Equilibrium> {
        let (clamped, rule) = (self.by_layer(clamped)?, rule(tolerance, sweeps)?);
        let network = lock(&self.network).clone();
        let names = network.layers.iter().map(|layer| layer.spec.name.clone()).collect();
        let phase = roles(&clamped);
        let reached = compute(py, move || {
            Ok(Relaxation::new(&network, phase)?.free_equilibrium(damping, &rule)?)
        })?;
        let (reached, clamped) = (Mutex::new(reached), Mutex::new(clamped));
        Ok(Equilibrium { reached, clamped, names, rule, damping })
    }

    /// The gradient by equilibrium propagation of the mean over the batch of a cost whose forces
    /// `dC/ds` at `equilibrium` are `forces`, `[N, units]` each by the name of a layer that relaxes.
    ///
    /// Returns a dictionary: `weights`, in the form of `weights()`; `inputs`, the gradient of each
    /// sample's cost in each clamped layer; `beta`, the strength of the nudge; `outcome` of the nudged
    /// phase. `nudging` is "centred", "positive" or "negative"; `nudge` the root mean square of the push
    /// on pre-activations.
    #[pyo3(signature = (equilibrium, forces, nudge = 1e-3, nudging = "centred"))]
    fn gradients<'py>(
        &self,
        py: Python<'py>,
        equilibrium: &Equilibrium,
        forces: &Bound<'py, PyDict>,
        nudge: f64,
        nudging: &str,
    ) -> PyResult<Bound<'py, PyDict>> {
        let nudging: Nudging = list("nudging", nudging.into_pyobject(py)?.as_any())?;
        let how = Nudge {
            size: NudgeSize::new(nudge),
            nudging,
            unconverged: Unconverged::Use,
            damping: equilibrium.damping,
            rule: equilibrium.rule,
        };
        let forces = self.by_layer(forces)?.into_iter().enumerate();
        let forces = forces.filter_map(|(k, f)| Some(Force { layer: LayerId(k), force: f? }));
        let forces: Vec<Force> = forces.collect();
        let network = lock(&self.network).clone();
        let (clamped, free) =
            (lock(&equilibrium.clamped).clone(), lock(&equilibrium.reached).clone());
        let of = network.clone();
        let (found, inputs) = compute(py, move || {
            let relaxation = Relaxation::new(&of, roles(&clamped))?;
            let found = gradient(&relaxation, &free, Cost::Forces(&forces), &how)?;
            let is_coupled = |k| {
                of.couplings.iter().any(|c| {
                    let other = if c.lower == k { c.upper } else { c.lower };
                    (c.lower == k || c.upper == k) && clamped[other.0].is_none()
                })
            };
            let inputs = of.ids().filter(|k| clamped[k.0].is_some() && is_coupled(*k));
            let inputs: Vec<_> = inputs.map(|k| (k, found.input(&relaxation, k))).collect();
            Ok((found, inputs))
        })?;
        let weights = PyDict::new(py);
        for (coupling, values) in network.couplings.iter().zip(found.weights.clone()) {
            let (name, shape) = coupling_name(&network, coupling);
            weights.set_item(name, array(py, download(values).map_err(exception)?, &shape)?)?;
        }
        for (k, values) in found.biases.iter() {
            let name = format!("{} bias", network.spec(k).name);
            let values = download(values.clone()).map_err(exception)?;
            weights.set_item(name, array(py, values, &[network.spec(k).size()])?)?;
        }
        let by_name = PyDict::new(py);
        for (k, values) in inputs {
            by_name.set_item(&network.spec(k).name, tensor(py, values)?)?;
        }
        let result = PyDict::new(py);
        result.set_item("weights", weights)?;
        result.set_item("inputs", by_name)?;
        result.set_item("beta", found.beta().read())?;
        result.set_item("outcome", Outcome::new(py, &found.outcomes)?)?;
        Ok(result)
    }

    /// All parameters: weights `[units, units]` under `"lower-upper"`, biases under `"name bias"`.
    fn weights<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (network, found) = (lock(&self.network).clone(), PyDict::new(py));
        for coupling in &network.couplings {
            let (name, shape) = coupling_name(&network, coupling);
            let values = download(coupling.weights()).map_err(exception)?;
            found.set_item(name, array(py, values, &shape)?)?;
        }
        for layer in &network.layers {
            let Some(bias) = &layer.bias else { continue };
            let values = download(bias.val()).map_err(exception)?;
            let name = format!("{} bias", layer.spec.name);
            found.set_item(name, array(py, values, &[layer.spec.size()])?)?;
        }
        Ok(found)
    }

    /// Replaces parameters, all or some, in the form of `weights()`.
    fn set_weights(&self, weights: &Bound<'_, PyDict>) -> PyResult<()> {
        let mut network = lock(&self.network).clone();
        for (name, value) in weights {
            let name: String = name.extract()?;
            self.set_one(&mut network, &name, &value)?;
        }
        network.check_couplings().map_err(|error| wrong(error.into()))?;
        *lock(&self.network) = network;
        Ok(())
    }
}

impl HopfieldNetwork {
    fn set_one(&self, network: &mut Network, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let known = network.clone();
        let coupling = known.couplings.iter().position(|c| coupling_name(&known, c).0 == name);
        if let Some(at) = coupling {
            let [rows, columns] = coupling_name(&known, &known.couplings[at]).1;
            let (values, shape) = matrix(name, value, Some(columns))?;
            if shape[0] != rows {
                let text = format!("{name} has shape {shape:?}, but [{rows}, {columns}] is needed");
                return Err(PyValueError::new_err(text));
            }
            let values = Tensor::from_data(values.as_slice(), &self.device);
            network.couplings[at].set_weights(values);
            return Ok(());
        }
        let of_layer = |layer: &&mut hvae_model::Layer| name == format!("{} bias", layer.spec.name);
        let layer = network.layers.iter_mut().find(of_layer);
        let Some((units, bias)) = layer.and_then(|l| Some((l.spec.size(), l.bias.as_mut()?)))
        else {
            return Err(wrong(anyhow!("there is no parameter {name:?}")));
        };
        let row = value.py().import("numpy")?.call_method1("atleast_2d", (value,))?;
        let (values, _) = matrix(name, &row, Some(units))?;
        let values = values.as_slice();
        if values.len() != units {
            return Err(wrong(anyhow!(
                "{name} has {} numbers, but {units} are needed",
                values.len()
            )));
        }
        *bias = Param::initialized(bias.id, Tensor::from_data(values, &self.device));
        Ok(())
    }
}

/// The name of a coupling, and the shape of its weights.
fn coupling_name(network: &Network, coupling: &hvae_model::Coupling) -> (String, [usize; 2]) {
    let (lower, upper) = (network.spec(coupling.lower), network.spec(coupling.upper));
    let rows = match coupling.interaction {
        Interaction::Dense(_) => lower.size(),
        Interaction::Within(_) | Interaction::Banded(_) => upper.size(),
    };
    (format!("{}-{}", lower.name, upper.name), [rows, upper.size()])
}

#[pymethods]
impl Equilibrium {
    /// The state of every layer, `[N, units]`, by name.
    #[getter]
    fn states<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (reached, found) = (lock(&self.reached).clone(), PyDict::new(py));
        for (k, state) in reached.states.iter() {
            found.set_item(&self.names[k.0], tensor(py, state.clone())?)?;
        }
        Ok(found)
    }

    /// How each sample ended.
    #[getter]
    fn outcome(&self, py: Python<'_>) -> PyResult<Outcome> {
        Outcome::new(py, &lock(&self.reached).outcomes)
    }
}
