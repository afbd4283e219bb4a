//! The couplings among the layers, in the form in which sweeps read them fastest.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use hvae_device::is_plain_cpu;

use crate::{chn_ham::network::LayeredNetwork, kernels::values as host};

/// The weights above the first, each in both directions.
#[derive(Debug, Clone)]
pub(super) struct Couplings {
    /// `W_(k+1)`, from layer `k` to the one above (from 0, without the pixels).
    up: Vec<Tensor<2>>,
    /// `W_(k+1)'`, from there back to layer `k`.
    down: Vec<Tensor<2>>,
}

impl Couplings {
    /// The couplings of `network`.
    pub(super) fn new(network: &LayeredNetwork) -> Self {
        let weights = || network.weights[1..].iter().map(Param::val);
        let up = weights().map(spread).collect();
        let down = weights().map(|w| spread(w.transpose())).collect();
        Self { up, down }
    }

    /// `sum_l W_kl r_l` over the neighbours of layer `k` (from 0, without the pixels) for which
    /// there is an `r_l`, `[batch, n_k]`; `None` where there is none.
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

/// `w` as products of a few dozen rows read it fastest; on the CPU that is a copy.
///
/// A transposed view would be read column by column, which makes such products up to four times as
/// slow. And rows whose distance in memory is a power of two share few places of the cache: they
/// are laid a little further apart, which made products with 512 x 1024 weights up to 1.6 times as
/// fast.
fn spread(w: Tensor<2>) -> Tensor<2> {
    if !is_plain_cpu(&w) {
        return w;
    }
    let ([rows, columns], device) = (w.dims(), Device::flex());
    let w = Tensor::from_data(TensorData::new(host(w), [rows, columns]), &device);
    if !columns.is_multiple_of(256) {
        return w;
    }
    Tensor::cat(vec![w, Tensor::zeros([rows, 16], &device)], 1).narrow(1, 0, columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::wave;

    /// Laid apart or not, a view or not: the same matrix, and the same products.
    #[test]
    fn spread_weights_are_the_same_weights() {
        let device = Device::flex();
        for (rows, columns) in [(3, 40), (40, 256), (256, 512)] {
            let w = wave(rows, columns, 0.0);
            for w in [w.clone(), w.transpose()] {
                let apart = spread(w.clone());
                let [inputs, _] = w.dims();
                let x = Tensor::<2>::ones([5, inputs], &device);
                assert_eq!(apart.clone().into_data(), w.clone().into_data());
                let off: f32 = (x.clone().matmul(apart) - x.matmul(w)).abs().max().into_scalar();
                assert!(off < 1e-4, "{rows} x {columns}: {off}");
            }
        }
    }
}
