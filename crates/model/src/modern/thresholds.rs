//! The three thresholds of equidistant patterns, by formula.

/// `beta_eff = beta D^2 / 2`, with `D` the distance between two patterns; for patterns of norm `M`
/// and cosine `c` it is `beta M^2 (1 - c)`.
pub fn beta_eff(beta: f64, distance_squared: f64) -> f64 {
    beta * distance_squared / 2.0
}

/// Where the regimes of `N` equidistant patterns meet, as values of [`beta_eff`].
///
/// On the line from the mean pattern (`m = 0`) to a pattern (`m = 1`), a fixed point satisfies
///
/// ```text
/// beta_eff = h(m) = ln[(1 + (N-1) m) / (1 - m)] / m
/// b1 = min_m h(m)                      minima at patterns appear, at m = m1
/// b2 = 2 (N-1)/(N-2) ln(N-1)           those and the mean have the same energy, at m = (N-2)/(N-1)
/// b3 = N                               the mean loses stability
/// ```
///
/// For `N = 2` all three are 2 and `m1 = 0`: the transition is continuous.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Thresholds {
    /// Minima at patterns appear.
    pub b1: f64,
    /// They and the mean have equal energy.
    pub b2: f64,
    /// The mean loses stability.
    pub b3: f64,
    /// How far along the line from mean to pattern the minimum appears, in `[0, 1)`.
    pub m1: f64,
}

impl Thresholds {
    /// The thresholds of `count` patterns; `None` below 2, where there is nothing to tell apart.
    pub fn of(count: usize) -> Option<Self> {
        let n = count as f64;
        match count {
            0 | 1 => None,
            2 => Some(Self { b1: 2.0, b2: 2.0, b3: 2.0, m1: 0.0 }),
            _ => {
                let m1 = appearance(n);
                let b2 = 2.0 * (n - 1.0) / (n - 2.0) * (n - 1.0).ln();
                Some(Self { b1: branch(n, m1), b2, b3: n, m1 })
            }
        }
    }
}

/// `h(m)`, the `beta_eff` at which the line has a fixed point at `m`.
fn branch(n: f64, m: f64) -> f64 {
    (((n - 1.0) * m).ln_1p() - (-m).ln_1p()) / m
}

/// The minimum of `h`, which falls and then rises on `(0, 1)`, by ternary search.
fn appearance(n: f64) -> f64 {
    let (mut low, mut high) = (1e-9, 1.0 - 1e-12);
    for _ in 0..200 {
        let third = (high - low) / 3.0;
        if branch(n, low + third) < branch(n, high - third) {
            high -= third;
        } else {
            low += third;
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values found once by simulation, to four digits.
    #[test]
    fn the_table_of_known_thresholds() {
        for (count, b1, b2) in [
            (3, 2.7456, 2.7726),
            (5, 3.5645, 3.6968),
            (10, 4.5598, 4.9438),
            (20, 5.4788, 6.2160),
            (50, 6.6250, 7.9458),
            (100, 7.4587, 9.2840),
            (1000, 10.1107, 13.8274),
        ] {
            let found = Thresholds::of(count).expect("at least two patterns");
            assert!((found.b1 - b1).abs() < 6e-5, "{count}: {found:?}");
            assert!((found.b2 - b2).abs() < 6e-5, "{count}: {found:?}");
            assert!((found.b3 - count as f64).abs() < 1e-12, "{count}: {found:?}");
        }
    }

    #[test]
    fn two_patterns_meet_in_one_point_and_one_has_none() {
        let two = Thresholds::of(2).expect("two patterns");
        assert!([two.b1, two.b2, two.b3].iter().all(|b| (b - 2.0).abs() < 1e-12));
        assert_eq!(Thresholds::of(1), None);
        assert_eq!(Thresholds::of(0), None);
    }
}
