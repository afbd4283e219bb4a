//! One seed, many independent streams of random numbers.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use sha2::{Digest, Sha256};

/// What random numbers are for. Each purpose is a stream of its own, so that drawing more for one
/// changes nothing for another.
///
/// The number of a stream is part of its seed and never changes; a new stream gets a new number,
/// and the number of a removed one is not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Stream {
    /// Initial weights.
    Weights = 0,
    /// Order of the training images in an epoch.
    Order = 1,
    /// Posterior noise of a training step.
    Noise = 2,
    /// Latents of samples from the prior.
    Prior = 3,
    /// Posterior noise of an evaluation batch.
    Evaluation = 4,
    /// Stored patterns of a modern Hopfield network.
    Patterns = 5,
    /// Initial states of a network, and their perturbations.
    Starts = 6,
    /// Dynamic binarization of the images of a training step.
    Binarization = 7,
    /// Binarization of an evaluation batch.
    EvaluationBinarization = 8,
    /// Subsets of a kernel distance.
    Subsets = 9,
    /// Shifts of a classifier's training images.
    Augmentation = 10,
    /// Posterior noise of the latents that a mixture is fitted to.
    MixtureFit = 11,
    /// Latents of samples from a mixture.
    Mixture = 12,
    /// Latents of an importance-weighted bound, per image.
    Importance = 13,
    /// Binarization of the images of an importance-weighted bound.
    LikelihoodBinarization = 14,
    /// Hidden pixels, and noise on the others.
    Occlusion = 15,
    /// Training images at whose latents the patterns of a prior start, and their binarization.
    PriorPatterns = 16,
    /// Points of a search of hyperparameters.
    Search = 17,
}

/// The generator of `(seed, stream, index)`. Equal arguments give equal numbers on every device
/// and in every process, so that a generator need not be saved.
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

    /// Other numbers would change every run.
    #[test]
    fn the_numbers_of_a_stream_never_change() {
        let expected = [1_299_555.0, 10_929_154.0].map(|number: f32| number / 16_777_216.0);
        assert_eq!(uniform(1, Stream::Occlusion, 2, 2), expected);
    }
}
