//! Latents drawn from the prior.

use hvae_model::Vae;
use hvae_runtime::rng::{self, Stream};

/// `count` latents of the prior, `[count, latent]`. `hvae sample` and `hvae fid` draw the same
/// ones.
pub fn prior_latents(model: &Vae, count: usize, seed: u64) -> Vec<f32> {
    model.prior().sample(count, model.latent(), &mut rng::generator(seed, Stream::Prior, 0))
}
