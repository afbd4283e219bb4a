//! The couplings among the layers, in the form in which sweeps read them fastest.

use burn::tensor::{Device, Tensor, TensorData};

use super::network::Classifier;
use crate::drive::{host, is_plain_cpu};

/// The weights above the first, each in both directions.
#[derive(Debug, Clone)]
pub(super) struct Couplings {
    /// `W_(k+1)`, from layer `k` to the one above (from 0, without the pixels).
    up: Vec<Tensor<2>>,
    /// `W_(k+1)'`, from there back to layer `k`.
    down: Vec<Tensor<2>>,
}

impl Couplings {
    /// Those of `network`.
    pub(super) fn new(network: &Classifier) -> Self {
        let up: Vec<Tensor<2>> = network.weights[1..].iter().map(|w| w.val()).collect();
        let down = up.iter().map(|w| transposed(w.clone())).collect();
        Self { up, down }
    }

    /// `sum_l W_kl r_l` over the neighbours of layer `k` (from 0, without the pixels) for which there
    /// is an `r_l`, `[batch, n_k]`; `None` where there is none.
    pub(super) fn field(&self, k: usize, r: &[Option<Tensor<2>>]) -> Option<Tensor<2>> {
        let below = (k > 0).then(|| r[k - 1].clone()).flatten();
        let above = r.get(k + 1).cloned().flatten();
        let below = below.map(|r| r.matmul(self.up[k - 1].clone()));
        let above = above.map(|r| r.matmul(self.down[k].clone()));
        match (below, above) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        }
    }
}

/// `w'`; on the CPU in memory of its own, because products of a few rows with a transposed view read
/// it column by column and are up to four times as slow.
fn transposed(w: Tensor<2>) -> Tensor<2> {
    if !is_plain_cpu(&w) {
        return w.transpose();
    }
    let [rows, columns] = w.dims();
    let values = host(w.transpose());
    Tensor::from_data(TensorData::new(values, [columns, rows]), &Device::flex())
}
