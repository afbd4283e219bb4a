use burn::{optim::GradientsParams, tensor::Tensor};
use hvae_model::Coupling;

/// The cosine between two gradients of the weights of `coupling`.
pub(crate) fn cosine(coupling: &Coupling, a: &GradientsParams, b: &GradientsParams) -> f32 {
    let [a, b] = [a, b].map(|g| g.get::<2>(coupling.id()).expect("every weight has one"));
    let dot = |a: &Tensor<2>, b: &Tensor<2>| (a.clone() * b.clone()).sum().into_scalar::<f32>();
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}
