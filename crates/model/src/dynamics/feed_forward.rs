//! Signals that pass through a network once, without feedback.

use burn::tensor::Tensor;

use crate::energy::layer::LayerId;
use crate::energy::network::HopfieldNetwork;
use crate::energy::per_layer::PerLayer;
use crate::error::{ModelError, require_shape};

/// The states of all layers when signals pass once from the first, `input` (`[batch, n_0]`), to the
/// last: `s_k = g_k(c_k (b_k + sum_{l<k} W_lk s_l))`.
///
/// # Errors
///
/// [`ModelError::Shape`] when `input` has another width than the first layer,
/// [`ModelError::Network`] for a layer without a coupling to a lower one.
pub(crate) fn feed_forward(
    network: &HopfieldNetwork,
    input: Tensor<2>,
) -> Result<PerLayer<Tensor<2>>, ModelError> {
    let first = network.spec(LayerId(0));
    let what = format!("the state of layer {}", first.name);
    require_shape(what, &input, [input.dims()[0], first.size()])?;
    let mut states = PerLayer::empty(network.layers.len());
    states.set(LayerId(0), input);
    for (k, layer) in network.ids().zip(&network.layers).skip(1) {
        let below = network.couplings.iter().filter(|c| c.upper == k && c.lower < k);
        let fields = below.map(|c| c.interaction.linear().to_upper(states[c.lower].clone()));
        let sum = fields.reduce(|a, b| a + b);
        let mut input = sum.ok_or_else(|| {
            ModelError::Network(format!("no signal reaches layer {}", layer.spec.name))
        })?;
        if let Some(bias) = &layer.bias {
            input = input + bias.val().unsqueeze();
        }
        states.set(k, layer.spec.activation.apply(input.mul_scalar(layer.spec.gain)));
    }
    Ok(states)
}
