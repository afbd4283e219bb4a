//! The tree-structured Parzen estimator (Bergstra et al. 2011), over all parameters at once.
//!
//! With `l` the density of the best points so far and `g` that of the others, the point of the
//! largest `l(x) / g(x)` has the largest expected improvement. Both are mixtures of one component
//! per point, a product over the axes (Falkner et al. 2018), and of one that is uniform, so that no
//! region is ever given up. A point without a coordinate on an axis, because a condition does not
//! hold, is uniform on it.

use rand::{Rng, RngExt};

/// Candidates that are drawn from `l`.
const CANDIDATES: usize = 24;
/// One point in so many is good; and their largest number.
const GOOD: (usize, usize) = (7, 25);
/// Width of a kernel of a single point, in the unit of an axis.
const WIDTH: f64 = 0.15;

/// What the coordinates of an axis are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Axis {
    /// Numbers in `[0, 1]`.
    Line,
    /// The middles `(i + 1/2) / n` of `n` cells that have no order.
    Cells(usize),
}

/// A coordinate per axis; `None` on those that do not apply.
pub(crate) type Point = Vec<Option<f64>>;

/// The axes, and which apply.
pub(crate) trait Axes {
    /// The axes, each after those that decide whether it applies.
    fn axes(&self) -> &[Axis];
    /// Whether an axis applies, given the coordinates on those before it.
    fn applies(&self, axis: usize, before: &[Option<f64>]) -> bool;

    /// A point whose coordinate on each axis that applies is that of `draw`.
    fn point(&self, mut draw: impl FnMut(usize, Axis) -> f64) -> Point {
        let mut point = Point::new();
        for (number, axis) in self.axes().iter().enumerate() {
            point.push(self.applies(number, &point).then(|| draw(number, *axis)));
        }
        point
    }

    /// A point that is uniform on every axis.
    fn uniform(&self, rng: &mut impl Rng) -> Point {
        self.point(|_, axis| axis.uniform(rng))
    }
}

impl Axis {
    fn uniform(self, rng: &mut impl Rng) -> f64 {
        match self {
            Self::Line => rng.random(),
            Self::Cells(count) => (rng.random_range(0..count) as f64 + 0.5) / count as f64,
        }
    }

    /// The share of the kernel of a cell that is spread over all cells, for `count` points.
    fn spread(cells: usize, count: usize) -> f64 {
        let cells = cells as f64;
        cells / (cells + count as f64)
    }
}

/// The point to try next, `ranked` being those that were tried, from the best.
pub(crate) fn propose(axes: &impl Axes, ranked: &[Point], rng: &mut impl Rng) -> Point {
    let count = ranked.len().div_ceil(GOOD.0).min(GOOD.1);
    let (good, bad) = ranked.split_at(count);
    let [good, bad] = [good, bad].map(|points| Density::of(axes.axes(), points));
    let mut best = (f64::NEG_INFINITY, Point::new());
    for _ in 0..CANDIDATES {
        let point = good.draw(axes, rng);
        let score = good.log(&point) - bad.log(&point);
        if score > best.0 {
            best = (score, point);
        }
    }
    best.1
}

/// A mixture of a component per point and a uniform one.
struct Density<'a> {
    axes: &'a [Axis],
    points: &'a [Point],
    width: f64,
}

impl<'a> Density<'a> {
    fn of(axes: &'a [Axis], points: &'a [Point]) -> Self {
        let (count, dimensions) = (points.len().max(1) as f64, axes.len() as f64);
        // Scott's rule, with `WIDTH` for the standard deviation.
        let width = WIDTH * count.powf(-1.0 / (dimensions + 4.0));
        Self { axes, points, width }
    }

    fn draw(&self, axes: &impl Axes, rng: &mut impl Rng) -> Point {
        let centre = self.points.get(rng.random_range(0..=self.points.len()));
        axes.point(|number, axis| match centre.and_then(|centre| centre[number]) {
            Some(centre) => self.draw_near(centre, axis, rng),
            None => axis.uniform(rng),
        })
    }

    fn draw_near(&self, centre: f64, axis: Axis, rng: &mut impl Rng) -> f64 {
        match axis {
            // The normal distribution on [0, 1], by rejection: at least half of it is there.
            Axis::Line => loop {
                let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
                let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
                let x = centre + self.width * normal;
                if (0.0..=1.0).contains(&x) {
                    return x;
                }
            },
            Axis::Cells(cells) if rng.random::<f64>() < Axis::spread(cells, self.points.len()) => {
                axis.uniform(rng)
            }
            Axis::Cells(_) => centre,
        }
    }

    /// The logarithm of the density at `point`.
    fn log(&self, point: &Point) -> f64 {
        let component = |centre: &Point| -> f64 {
            let axes = self.axes.iter().zip(point.iter().zip(centre));
            axes.map(|(axis, (x, centre))| match (x, centre) {
                (Some(x), Some(centre)) => self.log_kernel(*x, *centre, *axis),
                // Relative to a uniform one.
                _ => 0.0,
            })
            .sum()
        };
        let logs: Vec<f64> = self.points.iter().map(component).chain([0.0]).collect();
        let largest = logs.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
        let sum: f64 = logs.iter().map(|log| (log - largest).exp()).sum();
        largest + (sum / logs.len() as f64).ln()
    }

    /// The logarithm of a kernel, relative to the uniform density of its axis.
    fn log_kernel(&self, x: f64, centre: f64, axis: Axis) -> f64 {
        match axis {
            Axis::Line => {
                let phi = |at: f64| normal_cdf((at - centre) / self.width);
                let z = (x - centre) / self.width;
                -0.5 * (z * z + std::f64::consts::TAU.ln())
                    - (self.width * (phi(1.0) - phi(0.0))).ln()
            }
            Axis::Cells(cells) => {
                let spread = Axis::spread(cells, self.points.len());
                let here =
                    if (x - centre).abs() < 1e-9 { (1.0 - spread) * cells as f64 } else { 0.0 };
                (here + spread).ln()
            }
        }
    }
}

/// The distribution function of the standard normal, to 1.5e-7 (Abramowitz and Stegun 7.1.26).
fn normal_cdf(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let poly = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let tail = 0.5 * poly.iter().fold(0.0, |sum, c| (sum + c) * t) * (-x * x).exp();
    if z < 0.0 { tail } else { 1.0 - tail }
}

#[cfg(test)]
mod tests {
    use hvae_runtime::rng::{Stream, generator};

    use super::*;

    /// A choice, and five lines, of which the fourth applies with the first choice alone.
    struct Plane;

    impl Axes for Plane {
        fn axes(&self) -> &[Axis] {
            use Axis::{Cells, Line};
            &[Cells(2), Line, Line, Line, Line, Line]
        }

        fn applies(&self, axis: usize, before: &[Option<f64>]) -> bool {
            axis != 4 || before[0].is_some_and(|choice| choice < 0.5)
        }
    }

    /// Lowest, 0, with the first choice at a point that differs on every axis.
    fn loss(point: &Point) -> f64 {
        let best = [0.25, 0.3, 0.7, 0.2, 0.9, 0.5];
        let weights = [0.6, 4.0, 2.0, 1.0, 1.0, 0.05];
        let part = |((x, best), weight): ((&Option<f64>, f64), f64)| {
            x.map_or(0.05, |x| weight * (x - best).powi(2))
        };
        point.iter().zip(best).zip(weights).map(part).sum()
    }

    /// The lowest of 60 losses, the first 10 of random points.
    fn lowest(seed: u64, startup: usize) -> f64 {
        let mut tried: Vec<(f64, Point)> = Vec::new();
        for trial in 0..60 {
            let mut rng = generator(seed, Stream::Search, trial as u64);
            let points: Vec<Point> = tried.iter().map(|(_, point)| point.clone()).collect();
            let point = if trial < startup {
                Plane.uniform(&mut rng)
            } else {
                propose(&Plane, &points, &mut rng)
            };
            assert_eq!(point[4].is_some(), point[0].unwrap() < 0.5, "{point:?}");
            assert!(point.iter().flatten().all(|x| (0.0..=1.0).contains(x)), "{point:?}");
            tried.push((loss(&point), point));
            tried.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        tried[0].0
    }

    #[test]
    fn it_finds_a_known_optimum_better_than_random_search() {
        let mean = |startup| (0..20).map(|seed| lowest(seed, startup)).sum::<f64>() / 20.0;
        let (parzen, random) = (mean(10), mean(60));
        assert!(parzen < 0.2 * random, "Parzen {parzen}, random {random}");
    }

    #[test]
    fn a_density_is_one_over_the_whole_range() {
        let points: Vec<Point> = [0.1, 0.5, 0.97].map(|x| vec![Some(x), Some(0.25)]).into();
        let axes = [Axis::Line, Axis::Cells(2)];
        let density = Density::of(&axes, &points);
        let count = 2000;
        let at =
            |k: usize, cell| density.log(&vec![Some((k as f64 + 0.5) / count as f64), Some(cell)]);
        // Relative to a uniform one.
        let sum: f64 = [0.25, 0.75]
            .iter()
            .flat_map(|cell| (0..count).map(move |k| (k, *cell)))
            .map(|(k, cell)| at(k, cell).exp())
            .sum();
        let mean = sum / (2 * count) as f64;
        assert!((mean - 1.0).abs() < 1e-4, "{mean}");
    }
}
