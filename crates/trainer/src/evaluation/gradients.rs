//! Gradients by equilibrium propagation beside those through the relaxation itself.

use anyhow::{Context, Result};
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use hvae_model::Vae;

use crate::run::metrics::GradientCheck;
use hvae_device::host::download;

/// One parameter's two gradients.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// Such as `decoder hidden1-image`.
    pub name: String,
    /// Cosine of the angle between them.
    pub cosine: f64,
    /// Norm of the estimate over that of the exact one.
    pub norm_ratio: f64,
    products: [f64; 3],
}

/// Every parameter's `estimate` beside its `exact` gradient.
///
/// # Errors
///
/// When a gradient is missing or the device cannot be read.
pub fn compare(
    model: &Vae,
    estimate: &GradientsParams,
    exact: &GradientsParams,
) -> Result<Vec<Comparison>> {
    let mut parameters = Parameters(Vec::new());
    model.visit(&mut parameters);
    let parameters = parameters.0.into_iter();
    parameters
        .map(|(id, rank)| {
            let name = model.parameter_name(id);
            let flat = |gradients: &GradientsParams| {
                let gradient = match rank {
                    1 => gradients.get::<1>(id),
                    _ => gradients.get::<2>(id).map(|g| g.flatten(0, 1)),
                };
                download(gradient.with_context(|| format!("{name} has no gradient"))?)
            };
            let (e, x) = (flat(estimate)?, flat(exact)?);
            let dot = |a: &[f32], b: &[f32]| -> f64 {
                a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
            };
            let products = [dot(&e, &x), dot(&e, &e), dot(&x, &x)];
            let (cosine, norm_ratio) = cosine_and_ratio(products);
            Ok(Comparison { name, cosine, norm_ratio, products })
        })
        .collect()
}

/// The comparison of all parameters taken together.
pub fn summary(comparisons: &[Comparison]) -> GradientCheck {
    let sum = |i: usize| comparisons.iter().map(|c| c.products[i]).sum::<f64>();
    let (cosine, norm_ratio) = cosine_and_ratio([sum(0), sum(1), sum(2)]);
    let worst_cosine = comparisons.iter().map(|c| c.cosine).fold(1.0, f64::min);
    GradientCheck { cosine, norm_ratio, worst_cosine }
}

/// Nothing found where there is something is as wrong as can be.
fn cosine_and_ratio([both, estimate, exact]: [f64; 3]) -> (f64, f64) {
    let (e, x) = (estimate.sqrt(), exact.sqrt());
    if e == 0.0 && x > 0.0 { (0.0, 0.0) } else { (both / (e * x), e / x) }
}

/// The id and rank of every parameter.
struct Parameters(Vec<(ParamId, usize)>);

impl ModuleVisitor for Parameters {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push((param.id, D));
    }
}
