//! What is searched for: one or two metrics of a run, and which of two runs is better.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::run::EpochMetrics;

/// The default: the validation ELBO.
pub(crate) const ELBO: &str = "validation.elbo";
/// The number of weights and biases, known before training.
const PARAMETERS: &str = "parameters";
/// Seconds of all epochs.
const SECONDS: &str = "seconds";
/// Names of `metrics.jsonl`, or beginnings of them.
const METRICS: [&str; 12] = [
    "train.elbo",
    "train.kl",
    "train.reconstruction_error",
    "latents.active_units",
    "gradient_norm",
    "images_per_second",
    "dropped",
    "loop_gains.",
    "gradient_check.",
    "prior.",
    "phases.",
    "validation.",
];

/// Whether more or less of a metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    /// More is better.
    Maximise,
    /// Less is better.
    Minimise,
}

/// One metric or two, with their directions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Objectives(Vec<(String, Direction)>);

impl Objectives {
    /// Checks what a space asks for; the validation ELBO if it asks for nothing.
    pub(crate) fn new(asked: &BTreeMap<String, Direction>) -> Result<Self> {
        let default = [(ELBO.to_owned(), Direction::Maximise)];
        if asked.is_empty() {
            return Ok(Self(default.into()));
        }
        ensure!(asked.len() <= 2, "objectives: one metric or two, not {}", asked.len());
        for name in asked.keys() {
            if let Some(metric) = name.strip_prefix("test.") {
                bail!(
                    "objectives.{name}: nothing may be chosen by the test set; validation.{metric} \
                     is the same of held-out training images (data.validation_images)"
                );
            }
            let is_validation =
                ["elbo", "kl", "reconstruction_error"].map(|metric| format!("validation.{metric}"));
            let begins = |known: &str| match known.strip_suffix('.') {
                Some("validation") => is_validation.contains(name),
                Some(_) => name.len() > known.len() && name.starts_with(known),
                None => name == known,
            };
            let known = [PARAMETERS, SECONDS].contains(&name.as_str());
            ensure!(
                known || METRICS.iter().any(|metric| begins(metric)),
                "objectives.{name}: unknown metric; there are validation.elbo, parameters, seconds \
                 and the numbers of metrics.jsonl, such as latents.active_units"
            );
        }
        Ok(Self(asked.iter().map(|(name, direction)| (name.clone(), *direction)).collect()))
    }

    /// Names and directions.
    pub(crate) fn all(&self) -> &[(String, Direction)] {
        &self.0
    }

    /// Their names, for a heading.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Their values after an epoch of a model with this many `parameters` that took `seconds` so
    /// far; `None` if the epoch lacks one, was not evaluated or has a value that is not a number.
    pub(crate) fn values(
        &self,
        epoch: &EpochMetrics,
        parameters: f64,
        seconds: f64,
    ) -> Option<Vec<f64>> {
        let scalars: BTreeMap<String, f64> = epoch.scalars().into_iter().collect();
        let value = |(name, _): &(String, Direction)| match name.as_str() {
            PARAMETERS => Some(parameters),
            SECONDS => Some(seconds),
            name => match name.strip_prefix("validation.") {
                Some(metric) => scalars.get(&format!("test.{metric}")).copied(),
                None => scalars.get(name).copied(),
            },
        };
        epoch.test.as_ref()?;
        let values: Option<Vec<f64>> = self.0.iter().map(value).collect();
        values.filter(|values| values.iter().all(|value| value.is_finite()))
    }

    /// The indices of `all`, from the best: by their value, or, of two objectives, by how many
    /// Pareto fronts are better and then by how far apart neighbours on the front are.
    pub(crate) fn order(&self, all: &[&[f64]]) -> Vec<usize> {
        let losses: Vec<Vec<f64>> = all.iter().map(|values| self.losses(values)).collect();
        let mut indices: Vec<usize> = (0..all.len()).collect();
        if self.0.len() == 1 {
            indices.sort_by(|&a, &b| losses[a][0].total_cmp(&losses[b][0]));
            return indices;
        }
        let mut order = Vec::new();
        while !indices.is_empty() {
            let (mut front, rest): (Vec<_>, Vec<_>) = indices
                .iter()
                .partition(|&&a| !indices.iter().any(|&b| dominates(&losses[b], &losses[a])));
            sort_by_crowding(&mut front, &losses);
            order.append(&mut front);
            indices = rest;
        }
        order
    }

    /// Those of `all` that no other is better than in every objective, and at least as good in all.
    pub(crate) fn front(&self, all: &[&[f64]]) -> Vec<usize> {
        let losses: Vec<Vec<f64>> = all.iter().map(|values| self.losses(values)).collect();
        let is_best = |a: &usize| !losses.iter().any(|other| dominates(other, &losses[*a]));
        (0..all.len()).filter(is_best).collect()
    }

    /// Values of which less is better.
    pub(crate) fn losses(&self, values: &[f64]) -> Vec<f64> {
        let loss = |(value, (_, direction)): (&f64, &(String, Direction))| match direction {
            Direction::Maximise => -value,
            Direction::Minimise => *value,
        };
        values.iter().zip(&self.0).map(loss).collect()
    }
}

fn dominates(a: &[f64], b: &[f64]) -> bool {
    let pairs = || a.iter().zip(b);
    pairs().all(|(a, b)| a <= b) && pairs().any(|(a, b)| a < b)
}

/// Sorts a front of two objectives: its ends first, then by the distance between the neighbours.
fn sort_by_crowding(front: &mut [usize], losses: &[Vec<f64>]) {
    front.sort_by(|&a, &b| losses[a][0].total_cmp(&losses[b][0]).then(a.cmp(&b)));
    let span = |k: usize| {
        let ends = front.first().zip(front.last());
        ends.map_or(0.0, |(&a, &b)| (losses[b][k] - losses[a][k]).abs().max(f64::MIN_POSITIVE))
    };
    let spans = [span(0), span(1)];
    let room: BTreeMap<usize, f64> = (0..front.len())
        .map(|at| {
            let neighbours = at.checked_sub(1).zip(Some(at + 1).filter(|next| *next < front.len()));
            let room = neighbours.map_or(f64::INFINITY, |(before, after)| {
                let [a, b] = [before, after].map(|at| &losses[front[at]]);
                (0..2).map(|k| (a[k] - b[k]).abs() / spans[k]).sum()
            });
            (front[at], room)
        })
        .collect();
    let by_room = |a: &usize, b: &usize| -> Ordering { room[b].total_cmp(&room[a]) };
    front.sort_by(by_room);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::MeanLosses;

    fn objectives(asked: &[(&str, Direction)]) -> Result<Objectives> {
        Objectives::new(&asked.iter().map(|(name, d)| ((*name).to_owned(), *d)).collect())
    }

    #[test]
    fn the_test_set_and_unknown_metrics_are_refused_by_name() {
        use Direction::Maximise;
        for (name, expected) in [
            ("test.elbo", "validation.elbo"),
            ("validation.elbow", "objectives.validation.elbow"),
            ("loop_gains.", "objectives.loop_gains."),
            ("fid", "objectives.fid"),
        ] {
            let message = objectives(&[(name, Maximise)]).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        let three = ["seconds", "parameters", "train.kl"].map(|name| (name, Maximise));
        assert!(objectives(&three).unwrap_err().to_string().contains("not 3"));
        assert!(objectives(&[("phases.decoder_free.sweeps", Maximise)]).is_ok());
    }

    #[test]
    fn an_epoch_without_evaluation_or_with_nan_has_no_value() {
        let objectives = objectives(&[]).unwrap();
        let epoch = |elbo| EpochMetrics {
            test: Some(MeanLosses { elbo, ..MeanLosses::default() }),
            ..EpochMetrics::default()
        };
        assert_eq!(objectives.values(&epoch(3.0), 0.0, 0.0), Some(vec![3.0]));
        assert_eq!(objectives.values(&epoch(f64::NAN), 0.0, 0.0), None);
        assert_eq!(objectives.values(&EpochMetrics::default(), 0.0, 0.0), None);
    }

    #[test]
    fn fronts_are_peeled_off_and_ends_come_first() {
        use Direction::{Maximise, Minimise};
        // Sorted by name: parameters, then the ELBO.
        let both = objectives(&[(ELBO, Maximise), (PARAMETERS, Minimise)]).unwrap();
        let all = [[1.0, 1.0], [2.0, 1.0], [2.0, 5.0], [3.0, 5.5], [9.0, 9.0], [9.0, 0.0]];
        let all: Vec<&[f64]> = all.iter().map(<[f64; 2]>::as_slice).collect();
        assert_eq!(both.front(&all), [0, 2, 3, 4]);
        assert_eq!(both.order(&all), [0, 4, 3, 2, 1, 5]);
        let one = objectives(&[(ELBO, Maximise)]).unwrap();
        assert_eq!(one.order(&[&[1.0], &[3.0], &[2.0], &[3.0]]), [1, 3, 2, 0]);
    }
}
