//! One seed, many independent streams of random numbers.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use sha2::{Digest, Sha256};

/// What random numbers are for. Each purpose is a stream of its own, so that drawing more for one
/// changes nothing for another.
#[derive(Debug, Clone, Copy)]
pub enum Stream {
    /// Initial weights.
    Weights,
    /// Order of the training images in an epoch.
    Order,
    /// Posterior noise of a training step.
    Noise,
    /// Latents of samples from the prior.
    Prior,
    /// Posterior noise of an evaluation batch.
    Evaluation,
    /// Stored patterns of a modern Hopfield network.
    Patterns,
    /// Where the states of a network start, and what disturbs them.
    Starts,
    /// Pixels drawn as coins from grey values, per training step.
    Binarisation,
    /// The same per evaluation batch.
    EvaluationBinarisation,
    /// Which images make up the subsets of a kernel distance.
    Subsets,
    /// Shifts of a classifier's training images.
    Augmentation,
    /// Posterior noise of the latents that a mixture is fitted to.
    MixtureFit,
    /// Latents of samples from a mixture.
    Mixture,
    /// Latents of an importance-weighted bound, per image.
    Importance,
    /// Pixels of its images drawn as coins.
    LikelihoodBinarisation,
    /// Which pixels are hidden, and noise on the others.
    Occlusion,
}

/// The generator of `(seed, stream, index)`. Equal arguments give equal numbers on every device
/// and in every process; nothing of it needs saving.
pub fn generator(seed: u64, stream: Stream, index: u64) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(b"hvae random stream 1");
    hash.update(seed.to_le_bytes());
    hash.update((stream as u64).to_le_bytes());
    hash.update(index.to_le_bytes());
    ChaCha8Rng::from_seed(hash.finalize().into())
}

/// `count` standard normal numbers of that stream.
pub fn normal(seed: u64, stream: Stream, index: u64, count: usize) -> Vec<f32> {
    let mut rng = generator(seed, stream, index);
    (0..count).map(|_| StandardNormal.sample(&mut rng)).collect()
}

/// `count` numbers of that stream, uniform in `[0, 1)`.
pub fn uniform(seed: u64, stream: Stream, index: u64, count: usize) -> Vec<f32> {
    let mut rng = generator(seed, stream, index);
    (0..count).map(|_| rng.random::<f32>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_and_repeat() {
        let draw = |seed, stream, index| normal(seed, stream, index, 8);
        let base = draw(1, Stream::Noise, 0);
        assert_eq!(base, draw(1, Stream::Noise, 0));
        for other in
            [draw(2, Stream::Noise, 0), draw(1, Stream::Prior, 0), draw(1, Stream::Noise, 1)]
        {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn normal_numbers_have_mean_zero_and_variance_one() {
        let n = 100_000;
        let draws = normal(3, Stream::Prior, 0, n);
        let mean = draws.iter().sum::<f32>() / n as f32;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / n as f32;
        // Five standard errors: 5/sqrt(n), and 5 sqrt(2/n).
        assert!(mean.abs() < 0.016, "{mean}");
        assert!((variance - 1.0).abs() < 0.023, "{variance}");
    }
}
