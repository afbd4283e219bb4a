//! Gradients of equilibrium propagation compared with the reference gradient.

use anyhow::{Context, Result, ensure};
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use hvae_device::{download, upload};
use hvae_model::{Kind, PhaseOutcomes, PhaseSettings, Vae};
use hvae_runtime::rng::{self, Stream};

use crate::config::TrainingConfig;
use crate::run::GradientCheck;

/// The unrolled gradient of a batch, with which estimates are compared.
#[derive(Debug)]
pub(crate) struct Reference<'a> {
    model: &'a Vae,
    images: Tensor<2>,
    noise: Tensor<2>,
    kl_weight: f64,
    exact: GradientsParams,
}

impl<'a> Reference<'a> {
    /// Differentiates through `sweeps` sweeps on `images`, `[images, pixels]`.
    pub(crate) fn new(
        model: &'a Vae,
        images: Tensor<2>,
        training: &TrainingConfig,
        sweeps: usize,
    ) -> Result<Self> {
        ensure!(
            model.kind() != Kind::FVae,
            "an f-vae is trained by backpropagation: there is no estimate to check"
        );
        let ([rows, _], kl_weight) = (images.dims(), training.kl_weight);
        let noise = rng::normal(training.seed, Stream::Evaluation, 0, rows * model.latent());
        let noise = upload(noise, model.latent(), &images.device());
        let exact = model.unrolled_gradient(images.clone(), noise.clone(), kl_weight, sweeps)?;
        Ok(Self { model, images, noise, kl_weight, exact })
    }

    /// How the phases of the estimate ended, and its comparison for every parameter.
    pub(crate) fn check(
        &self,
        phases: &PhaseSettings,
    ) -> Result<(PhaseOutcomes, Vec<GradientComparison>)> {
        let (images, noise) = (self.images.clone(), self.noise.clone());
        let step = self.model.training_step(images, noise, self.kl_weight, phases)?;
        let found = compare(self.model, &step.gradients, &self.exact)?;
        Ok((step.outcomes, found))
    }
}

/// Estimate and reference of the gradient of one parameter.
#[derive(Debug, Clone)]
pub(crate) struct GradientComparison {
    /// Such as `decoder hidden1-image`.
    pub(crate) name: String,
    pub(crate) cosine: f64,
    /// Norm of the estimate over that of the reference.
    pub(crate) norm_ratio: f64,
    products: Products,
}

/// Compares `estimate` with `reference` for every parameter of `model`.
pub(crate) fn compare(
    model: &Vae,
    estimate: &GradientsParams,
    reference: &GradientsParams,
) -> Result<Vec<GradientComparison>> {
    let mut visitor = Comparing { model, estimate, reference, found: Vec::new() };
    model.visit(&mut visitor);
    visitor.found.into_iter().collect()
}

/// The comparison of all parameters as one vector.
pub(crate) fn summary(comparisons: &[GradientComparison]) -> GradientCheck {
    let sum =
        |product: fn(&Products) -> f64| comparisons.iter().map(|c| product(&c.products)).sum();
    let products = Products { er: sum(|p| p.er), ee: sum(|p| p.ee), rr: sum(|p| p.rr) };
    let worst_cosine = comparisons.iter().map(|c| c.cosine).fold(1.0, f64::min);
    GradientCheck { cosine: products.cosine(), norm_ratio: products.norm_ratio(), worst_cosine }
}

/// Scalar products of estimate `e` and reference `r`.
#[derive(Debug, Clone, Copy)]
struct Products {
    er: f64,
    ee: f64,
    rr: f64,
}

impl Products {
    fn of(e: &[f32], r: &[f32]) -> Self {
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
        };
        Self { er: dot(e, r), ee: dot(e, e), rr: dot(r, r) }
    }

    /// A zero estimate of a nonzero reference scores 0.
    fn cosine(self) -> f64 {
        if self.ee == 0.0 && self.rr > 0.0 {
            0.0
        } else {
            self.er / (self.ee.sqrt() * self.rr.sqrt())
        }
    }

    fn norm_ratio(self) -> f64 {
        self.ee.sqrt() / self.rr.sqrt()
    }
}

/// Visits the parameters of whatever rank.
struct Comparing<'a> {
    model: &'a Vae,
    estimate: &'a GradientsParams,
    reference: &'a GradientsParams,
    found: Vec<Result<GradientComparison>>,
}

impl ModuleVisitor for Comparing<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let compare = || {
            let name = self.model.parameter_name(param.id);
            let values = |gradients: &GradientsParams| {
                let gradient = gradients.get::<D>(param.id);
                download(gradient.with_context(|| {
                    format!("{name} has no gradient: the unrolled sweeps are fewer than layers")
                })?)
            };
            let products = Products::of(&values(self.estimate)?, &values(self.reference)?);
            let (cosine, norm_ratio) = (products.cosine(), products.norm_ratio());
            Ok(GradientComparison { name, cosine, norm_ratio, products })
        };
        let comparison = compare();
        self.found.push(comparison);
    }
}
