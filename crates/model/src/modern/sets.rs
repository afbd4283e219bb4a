//! Pattern sets: equidistant and random.

use burn::tensor::{Device, Tensor};
use hvae_device::upload;
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::error::{ModelError, require};

/// `N` patterns of norm `M` with the same cosine `c` between any two.
///
/// | setting | range |
/// |---|---|
/// | `count` | `>= 1` |
/// | `dimension` | `>= N`, or `>= N - 1` for the simplex |
/// | `norm` | finite, `> 0` |
/// | `cosine` | in `[-1/(N-1), 1]`; the lower end is the simplex, 0 is orthogonal, 1 all equal |
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Equidistant {
    /// Number of patterns `N`.
    pub count: usize,
    /// Dimension `d`.
    pub dimension: usize,
    /// Norm `M` of each.
    pub norm: f64,
    /// Cosine `c` between any two.
    pub cosine: f64,
}

impl Equidistant {
    /// The simplex: patterns that sum to 0, with cosine `-1/(N-1)`.
    pub fn simplex(count: usize, dimension: usize, norm: f64) -> Self {
        Self { count, dimension, norm, cosine: simplex_cosine(count) }
    }

    /// Orthogonal patterns.
    pub fn orthogonal(count: usize, dimension: usize, norm: f64) -> Self {
        Self { count, dimension, norm, cosine: 0.0 }
    }

    /// Checks the ranges; the error names the setting.
    pub fn check(&self) -> Result<(), ModelError> {
        let Self { count, dimension, norm, cosine } = *self;
        require(count >= 1, "count", count, "at least one pattern is needed")?;
        require(norm.is_finite() && norm > 0.0, "norm", norm, "must be finite and above 0")?;
        let lowest = simplex_cosine(count);
        let ok = cosine.is_finite() && cosine >= lowest - 1e-12 && cosine <= 1.0;
        let reason = format!("the cosine of {count} equidistant patterns lies in [{lowest}, 1]");
        require(ok, "cosine", cosine, &reason)?;
        let needed = if count > 1 && self.is_simplex() { count - 1 } else { count };
        let reason = format!("{count} such patterns need at least {needed} dimensions");
        require(dimension >= needed, "dimension", dimension, &reason)
    }

    fn is_simplex(&self) -> bool {
        self.cosine - simplex_cosine(self.count) < 1e-12
    }
}

/// The least cosine that `count` equidistant patterns can have.
fn simplex_cosine(count: usize) -> f64 {
    if count < 2 { 0.0 } else { -1.0 / (count - 1) as f64 }
}

/// Reflections that turn a set into general position.
const REFLECTIONS: usize = 3;

/// The patterns that `set` describes, `[N, d]`, turned by `rng` into general position.
///
/// They are `a u_i + b e`, with `u_i` the corners of a simplex of `N - 1` dimensions, `e` a
/// direction orthogonal to it, `a^2 = M^2 (1 - c)` and `b^2 = M^2 c + a^2 / N`.
pub fn equidistant(
    set: &Equidistant,
    rng: &mut impl Rng,
    device: &Device,
) -> Result<Tensor<2>, ModelError> {
    set.check()?;
    let Equidistant { count, dimension, norm, cosine } = *set;
    let a = norm * (1.0 - cosine).max(0.0).sqrt();
    let b = (norm * norm * cosine + a * a / count as f64).max(0.0).sqrt();
    let mut rows = vec![vec![0.0; dimension]; count];
    for (i, row) in rows.iter_mut().enumerate() {
        for (axis, value) in row.iter_mut().enumerate().take(count - 1) {
            *value = a * helmert(axis + 1, i);
        }
        if !(count > 1 && set.is_simplex()) {
            row[count - 1] = b;
        }
    }
    for _ in 0..REFLECTIONS {
        reflect(&mut rows, &direction(dimension, 1.0, rng));
    }
    Ok(on_device(&rows, dimension, device))
}

/// `count` patterns of norm `norm` in directions drawn uniformly from the sphere, `[N, d]`.
pub fn random(
    count: usize,
    dimension: usize,
    norm: f64,
    rng: &mut impl Rng,
    device: &Device,
) -> Result<Tensor<2>, ModelError> {
    require(count >= 1, "count", count, "at least one pattern is needed")?;
    require(dimension >= 1, "dimension", dimension, "patterns need at least one value")?;
    require(norm.is_finite() && norm > 0.0, "norm", norm, "must be finite and above 0")?;
    let rows: Vec<_> = (0..count).map(|_| direction(dimension, norm, rng)).collect();
    Ok(on_device(&rows, dimension, device))
}

/// Value `i` of the `k`-th Helmert vector, `k >= 1`: the vectors are orthonormal and sum to 0.
fn helmert(k: usize, i: usize) -> f64 {
    let scale = ((k * (k + 1)) as f64).sqrt();
    match i.cmp(&k) {
        std::cmp::Ordering::Less => 1.0 / scale,
        std::cmp::Ordering::Equal => -(k as f64) / scale,
        std::cmp::Ordering::Greater => 0.0,
    }
}

/// Reflects each row in the plane orthogonal to the unit vector `axis`.
fn reflect(rows: &mut [Vec<f64>], axis: &[f64]) {
    for row in rows {
        let along: f64 = row.iter().zip(axis).map(|(r, a)| r * a).sum();
        for (value, a) in row.iter_mut().zip(axis) {
            *value -= 2.0 * along * a;
        }
    }
}

/// A random vector of norm `norm`.
fn direction(dimension: usize, norm: f64, rng: &mut impl Rng) -> Vec<f64> {
    let draws: Vec<f64> = (0..dimension).map(|_| StandardNormal.sample(rng)).collect();
    let length = draws.iter().map(|x| x * x).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    draws.into_iter().map(|x| x * norm / length).collect()
}

fn on_device(rows: &[Vec<f64>], dimension: usize, device: &Device) -> Tensor<2> {
    upload(rows.iter().flatten().map(|&v| v as f32).collect(), dimension, device)
}
