//! Where a legend covers least.

/// Points on the way from one end of a line to the other.
const ALONG: i32 = 24;

/// Of `places` (left and top), the first at which a box of `size` (width and height) covers the fewest
/// of `points`.
pub(super) fn freest(
    places: &[(i32, i32)],
    size: (i32, i32),
    points: &[(i32, i32)],
) -> Option<(i32, i32)> {
    let covered = |&&(left, top): &&(i32, i32)| {
        let inside = |&&(x, y): &&(i32, i32)| {
            (left..=left + size.0).contains(&x) && (top..=top + size.1).contains(&y)
        };
        points.iter().filter(inside).count()
    };
    places.iter().min_by_key(covered).copied()
}

/// `corners` with points on the straight lines between them.
pub(super) fn line(corners: &[(i32, i32)]) -> Vec<(i32, i32)> {
    let between = |pair: &[(i32, i32)]| {
        let (a, b) = (pair[0], pair[1]);
        let at = move |k: i32| (a.0 + (b.0 - a.0) * k / ALONG, a.1 + (b.1 - a.1) * k / ALONG);
        (0..ALONG).map(at).collect::<Vec<_>>()
    };
    let mut points: Vec<_> = corners.windows(2).flat_map(between).collect();
    points.extend(corners.last());
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_legend_goes_where_no_line_is() {
        // From the lower left to the upper right: the corners off the diagonal are free.
        let rising = line(&[(0, 100), (100, 0)]);
        let corners = [(70, 0), (0, 0), (70, 70), (0, 70)];
        assert_eq!(freest(&corners, (30, 30), &rising), Some((0, 0)));
        let falling = line(&[(0, 0), (100, 100)]);
        assert_eq!(freest(&corners, (30, 30), &falling), Some((70, 0)));
        assert!(rising.len() > 20 && rising.contains(&(50, 50)), "{rising:?}");
    }
}
