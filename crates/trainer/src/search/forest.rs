//! A random forest of what a study has measured, and which parameters matter in it: functional
//! analysis of variance (Hutter, Hoos and Leyton-Brown, ICML 2014).

use hvae_runtime::rng::{self, Stream};
use rand::RngExt;

const TREES: u64 = 64;
/// A cell of a tree has at least as many points.
const SMALLEST: usize = 2;

/// A box of the unit cube in which a tree has one value.
#[derive(Debug, Clone)]
struct Leaf {
    /// Lower and upper end on each axis.
    ends: Vec<[f64; 2]>,
    value: f64,
}

impl Leaf {
    /// Its extent along the axes that are not in `fixed`.
    fn volume(&self, fixed: &[usize]) -> f64 {
        let others = self.ends.iter().enumerate().filter(|(axis, _)| !fixed.contains(axis));
        others.map(|(_, [low, high])| high - low).product()
    }

    fn has(&self, axis: usize, at: f64) -> bool {
        let [low, high] = self.ends[axis];
        low <= at && (at < high || high >= 1.0)
    }
}

/// Regression trees, each of points drawn with replacement.
#[derive(Debug)]
pub(crate) struct Forest {
    trees: Vec<Vec<Leaf>>,
}

impl Forest {
    /// A forest of `values` at `points` of the unit cube.
    pub(crate) fn new(points: &[Vec<f64>], values: &[f64]) -> Self {
        let axes = points.first().map_or(0, Vec::len);
        let tree = |number| {
            let mut rng = rng::generator(0, Stream::Search, number);
            let draw = |_| rng.random_range(0..points.len());
            let drawn: Vec<usize> = (0..points.len()).map(draw).collect();
            let mut leaves = Vec::new();
            grow(points, values, drawn, vec![[0.0, 1.0]; axes], &mut leaves);
            leaves
        };
        Self { trees: (0..TREES).map(tree).collect() }
    }

    /// The mean over all points with the coordinates `at` on these axes.
    pub(crate) fn marginal(&self, axes: &[usize], at: &[f64]) -> f64 {
        let of_tree = |leaves: &Vec<Leaf>| -> f64 {
            let here = |leaf: &&Leaf| axes.iter().zip(at).all(|(axis, at)| leaf.has(*axis, *at));
            leaves.iter().filter(here).map(|leaf| leaf.value * leaf.volume(axes)).sum()
        };
        self.trees.iter().map(of_tree).sum::<f64>() / self.trees.len() as f64
    }

    /// The share of the variance over the unit cube that each axis explains alone.
    pub(crate) fn importance(&self, axes: usize) -> Vec<f64> {
        let mut shares = vec![0.0; axes];
        for leaves in &self.trees {
            let moment = |power| -> f64 {
                leaves.iter().map(|leaf| leaf.volume(&[]) * leaf.value.powi(power)).sum()
            };
            let mean = moment(1);
            let variance = moment(2) - mean * mean;
            if variance > 1e-12 * mean * mean {
                for (axis, share) in shares.iter_mut().enumerate() {
                    *share += explained(leaves, axis, mean) / variance / TREES as f64;
                }
            }
        }
        shares
    }
}

/// The variance of the marginal of one axis.
fn explained(leaves: &[Leaf], axis: usize, mean: f64) -> f64 {
    let mut cuts: Vec<f64> = leaves.iter().flat_map(|leaf| leaf.ends[axis]).collect();
    cuts.sort_by(f64::total_cmp);
    cuts.dedup();
    let part = |pair: &[f64]| {
        let middle = f64::midpoint(pair[0], pair[1]);
        let here = leaves.iter().filter(|leaf| leaf.has(axis, middle));
        let marginal: f64 = here.map(|leaf| leaf.value * leaf.volume(&[axis])).sum();
        (pair[1] - pair[0]) * (marginal - mean).powi(2)
    };
    cuts.windows(2).map(part).sum()
}

/// Grows a tree over the points `drawn`, which are in the box `ends`.
fn grow(
    points: &[Vec<f64>],
    values: &[f64],
    drawn: Vec<usize>,
    ends: Vec<[f64; 2]>,
    leaves: &mut Vec<Leaf>,
) {
    let Some((axis, cut)) = best_cut(points, values, &drawn, ends.len()) else {
        let value = drawn.iter().map(|at| values[*at]).sum::<f64>() / drawn.len().max(1) as f64;
        leaves.push(Leaf { ends, value });
        return;
    };
    let (below, above) = drawn.into_iter().partition(|at| points[*at][axis] < cut);
    let [mut low, mut high] = [ends.clone(), ends];
    (low[axis][1], high[axis][0]) = (cut, cut);
    grow(points, values, below, low, leaves);
    grow(points, values, above, high, leaves);
}

/// Axis and place of the cut that leaves the least squared deviation from the means of both sides.
fn best_cut(
    points: &[Vec<f64>],
    values: &[f64],
    drawn: &[usize],
    axes: usize,
) -> Option<(usize, f64)> {
    let mean = drawn.iter().map(|at| values[*at]).sum::<f64>() / drawn.len().max(1) as f64;
    let mut best = (0.0, None);
    let sorted = |axis: usize| {
        let at = |at: &usize| (points[*at][axis], values[*at] - mean);
        let mut sorted: Vec<(f64, f64)> = drawn.iter().map(at).collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        sorted
    };
    for axis in 0..axes {
        let sorted = sorted(axis);
        let mut below = 0.0;
        for count in 1..sorted.len() {
            below += sorted[count - 1].1;
            let (left, right) = (sorted[count - 1].0, sorted[count].0);
            let sizes = [count, sorted.len() - count];
            if right - left < 1e-9 || sizes.iter().any(|size| *size < SMALLEST) {
                continue;
            }
            // Deviations sum to 0, so that both sides have the same sum but for its sign.
            let gain: f64 = sizes.iter().map(|size| below * below / *size as f64).sum();
            if gain > best.0 + 1e-12 {
                best = (gain, Some((axis, f64::midpoint(left, right))));
            }
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variance_is_divided_as_in_the_function() {
        let mut rng = rng::generator(1, Stream::Search, 0);
        let points: Vec<Vec<f64>> =
            (0..300).map(|_| (0..3).map(|_| rng.random()).collect()).collect();
        // Variances 9/12 and 1/12; the third axis has none.
        let value = |p: &Vec<f64>| 3.0 * p[0] + p[1];
        let values: Vec<f64> = points.iter().map(value).collect();
        let forest = Forest::new(&points, &values);
        let importance = forest.importance(3);
        for (found, expected) in importance.iter().zip([0.9, 0.1, 0.0]) {
            assert!((found - expected).abs() < 0.06, "{importance:?}");
        }
        for at in [0.1, 0.5, 0.9] {
            let marginal = forest.marginal(&[0], &[at]);
            assert!((marginal - (3.0 * at + 0.5)).abs() < 0.2, "{at}: {marginal}");
        }
        let both = forest.marginal(&[0, 1], &[0.8, 0.2]);
        assert!((both - 2.6).abs() < 0.25, "{both}");
        let whole = forest.marginal(&[], &[]);
        assert!((whole - 2.0).abs() < 0.1, "{whole}");
    }

    #[test]
    fn equal_values_have_no_importance() {
        let points: Vec<Vec<f64>> = (0..9).map(|k| vec![f64::from(k) / 9.0]).collect();
        assert_eq!(Forest::new(&points, &[2.0; 9]).importance(1), [0.0]);
    }
}
