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
}

/// The generator of `(seed, stream, index)`. Equal arguments give equal numbers on every device
/// and in every process, so that a generator need not be saved.
///
/// ```
/// use hvae_runtime::rng::{Stream, uniform};
///
/// let draws = uniform(1, Stream::Noise, 0, 4);
/// assert_eq!(draws, uniform(1, Stream::Noise, 0, 4));
/// assert_ne!(draws, uniform(1, Stream::Noise, 1, 4));
/// ```
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

    /// Another number would change every run.
    #[test]
    fn the_number_of_a_stream_never_changes() {
        let streams = [
            Stream::Weights,
            Stream::Order,
            Stream::Noise,
            Stream::Prior,
            Stream::Evaluation,
            Stream::Patterns,
            Stream::Starts,
            Stream::Binarization,
            Stream::EvaluationBinarization,
            Stream::Subsets,
            Stream::Augmentation,
            Stream::MixtureFit,
            Stream::Mixture,
            Stream::Importance,
            Stream::LikelihoodBinarization,
            Stream::Occlusion,
        ];
        assert!(streams.iter().zip(0_u64..).all(|(stream, number)| *stream as u64 == number));
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
