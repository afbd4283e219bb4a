//! Where a legend covers the fewest data points.

/// Points per straight line.
const PER_LINE: usize = 24;

/// A position in a plot, as fractions of its width from the left and of its height from the top.
pub(super) type At = (f64, f64);

/// Of `places`, upper left corners with what they stand for, the first at which a box of `size`
/// (width and height) covers the fewest of `points`.
pub(super) fn freest<P>(
    places: impl IntoIterator<Item = (At, P)>,
    size: At,
    points: &[At],
) -> Option<P> {
    let covered = |((left, top), _): &(At, P)| {
        let inside = |&&(x, y): &&At| {
            (*left..=left + size.0).contains(&x) && (*top..=top + size.1).contains(&y)
        };
        points.iter().filter(inside).count()
    };
    places.into_iter().min_by_key(covered).map(|(_, place)| place)
}

/// Points on the straight lines between `corners`.
pub(super) fn line(corners: &[At]) -> Vec<At> {
    let between = |pair: &[At]| {
        let (a, b) = (pair[0], pair[1]);
        let at = move |k| {
            let t = k as f64 / PER_LINE as f64;
            (a.0 + (b.0 - a.0) * t, a.1 + (b.1 - a.1) * t)
        };
        (0..PER_LINE).map(at).collect::<Vec<_>>()
    };
    let mut points: Vec<_> = corners.windows(2).flat_map(between).collect();
    points.extend(corners.last());
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_legend_avoids_lines() {
        // From the lower left to the upper right: the corners off the diagonal are free.
        let rising = line(&[(0.0, 1.0), (1.0, 0.0)]);
        let corners = [(0.7, 0.0), (0.0, 0.0), (0.7, 0.7), (0.0, 0.7)].map(|at| (at, at));
        assert_eq!(freest(corners, (0.3, 0.3), &rising), Some((0.0, 0.0)));
        let falling = line(&[(0.0, 0.0), (1.0, 1.0)]);
        assert_eq!(freest(corners, (0.3, 0.3), &falling), Some((0.7, 0.0)));
        assert!(rising.len() > 20 && rising.contains(&(0.5, 0.5)), "{rising:?}");
    }
}
