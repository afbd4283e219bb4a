//! Principal component analysis of latents.

use anyhow::{Context, Result, ensure};
use faer::Mat;
use hvae_scores::linear::{eigen, product};

/// Mean and principal directions of points, by decreasing variance.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pca {
    /// The mean, `[d]`.
    pub(crate) mean: Vec<f64>,
    /// Unit vectors, each `[d]`.
    pub(crate) directions: Vec<Vec<f64>>,
    /// Standard deviation along each.
    pub(crate) deviations: Vec<f64>,
}

impl Pca {
    /// Of `points`, `[n, d]` in row-major order, by the eigenvectors of their covariance. The signs
    /// of the directions make their largest components positive.
    pub(crate) fn of(points: &[f32], d: usize) -> Result<Self> {
        let n = points.len() / d;
        ensure!(n >= 2, "principal component analysis needs at least two points");
        let mean: Vec<f64> = (0..d)
            .map(|k| {
                points.iter().skip(k).step_by(d).map(|&x| f64::from(x)).sum::<f64>() / n as f64
            })
            .collect();
        let centred = Mat::from_fn(n, d, |i, k| f64::from(points[i * d + k]) - mean[k]);
        let share = 1.0 / (n - 1) as f64;
        let covariance = product(centred.transpose(), centred.as_ref(), share);
        let (values, vectors) =
            eigen(covariance.as_ref()).context("principal component analysis of the latents")?;
        let (mut directions, mut deviations) = (Vec::new(), Vec::new());
        for k in (0..d).rev() {
            let mut direction: Vec<f64> = (0..d).map(|row| vectors[(row, k)]).collect();
            let largest = direction.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs()));
            if largest.is_some_and(|x| x < 0.0) {
                for x in &mut direction {
                    *x = -*x;
                }
            }
            directions.push(direction);
            deviations.push(values[k].max(0.0).sqrt());
        }
        Ok(Self { mean, directions, deviations })
    }

    /// The point at `coordinates` along the first directions, in standard deviations.
    pub(crate) fn point(&self, coordinates: &[f64]) -> Vec<f32> {
        let mut point = self.mean.clone();
        for (k, x) in coordinates.iter().enumerate() {
            for (p, u) in point.iter_mut().zip(&self.directions[k]) {
                *p += x * self.deviations[k] * u;
            }
        }
        point.into_iter().map(|x| x as f32).collect()
    }

    /// The coordinate of `point` along direction `k`, in standard deviations.
    pub(crate) fn coordinate(&self, point: &[f32], k: usize) -> f64 {
        let offset = point.iter().zip(&self.mean).map(|(&x, m)| f64::from(x) - m);
        let along: f64 = offset.zip(&self.directions[k]).map(|(x, u)| x * u).sum();
        along / self.deviations[k].max(f64::MIN_POSITIVE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_ordered_by_variance() {
        // Points on a cross about (1, 2): far along (3, 4)/5, near along (4, -3)/5.
        let cross = [(10.0, 0.0), (-10.0, 0.0), (0.0, 1.0), (0.0, -1.0)];
        let points: Vec<f32> = cross
            .iter()
            .flat_map(|(far, near): &(f32, f32)| {
                [1.0 + 0.6 * far + 0.8 * near, 2.0 + 0.8 * far - 0.6 * near]
            })
            .collect();
        let found = Pca::of(&points, 2).unwrap();
        let close = |a: f64, b: f64| (a - b).abs() < 1e-5;
        assert!(close(found.mean[0], 1.0) && close(found.mean[1], 2.0), "{found:?}");
        assert!(close(found.directions[0][0], 0.6) && close(found.directions[0][1], 0.8));
        assert!(close(found.deviations[0], (200.0_f64 / 3.0).sqrt()), "{found:?}");
        let there = found.point(&[1.5, -0.5]);
        assert!(close(found.coordinate(&there, 0), 1.5));
        assert!(close(found.coordinate(&there, 1), -0.5));
        assert!(Pca::of(&points[..2], 2).is_err());
    }
}
