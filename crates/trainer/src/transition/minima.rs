//! Clustering of final states into distinct minima.

/// Components compared between two tests whether the distance already exceeds the tolerance.
const STRIDE: usize = 32;

/// Clusters states, the rows of `states` with `dimension` values: a state joins the first cluster
/// whose first member is closer than `tolerance`, or else starts a new one. Returns the cluster of
/// each state, numbered by first appearance.
pub(super) fn group(states: &[f32], dimension: usize, tolerance: f64) -> Vec<usize> {
    let limit = (tolerance * tolerance) as f32;
    let mut leaders: Vec<&[f32]> = Vec::new();
    let mut labels = Vec::new();
    for state in states.chunks(dimension.max(1)) {
        let found = leaders.iter().position(|leader| within(leader, state, limit));
        labels.push(found.unwrap_or(leaders.len()));
        if found.is_none() {
            leaders.push(state);
        }
    }
    labels
}

/// Whether `|a - b|^2 <= limit`; stops as soon as it is not.
fn within(a: &[f32], b: &[f32], limit: f32) -> bool {
    let mut sum = 0.0;
    for (a, b) in a.chunks(STRIDE).zip(b.chunks(STRIDE)) {
        sum += a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
        if sum > limit {
            return false;
        }
    }
    sum <= limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_states_are_one_minimum_and_far_ones_are_not() {
        let states = [0.0, 0.0, 1.0, 0.0, 0.05, 0.0, 1.0, 0.04, 0.0, 1.0];
        assert_eq!(group(&states, 2, 0.1), [0, 1, 0, 1, 2]);
        assert_eq!(group(&states, 2, 0.0), [0, 1, 2, 3, 4]);
        assert_eq!(group(&[2.0, 2.0, 2.0], 1, 0.0), [0, 0, 0]);
        assert!(group(&[], 3, 0.1).is_empty());
    }
}
