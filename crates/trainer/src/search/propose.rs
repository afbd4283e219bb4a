//! The point of the next trial: a function of the space, its seed, the number of the trial and the
//! trials before, so that a study that was killed goes on as if it had not been.

use anyhow::{Result, bail};
use hvae_runtime::rng::{self, Stream};

use crate::search::file::{SamplerKind, Settings};
use crate::search::space::Space;
use crate::search::tpe::{self, Axes, Point};
use crate::search::trial::{State, Trial, ranked};

/// Points that are drawn at most, until one satisfies the constraints and is new.
const ATTEMPTS: u64 = 300;
/// Points of a grid at most.
const MAX_GRID: usize = 100_000;

/// The parameters of the next trial; `None` if every point was tried.
pub(crate) fn propose(space: &Space, trials: &[Trial]) -> Result<Option<Settings>> {
    let number = trials.len();
    if let Some(known) = space.known.get(number) {
        return Ok(Some(known.clone()));
    }
    let is_new = |settings: &Settings| !trials.iter().any(|t| t.parameters == *settings);
    if space.file.sampler.kind == SamplerKind::Grid {
        let points = grid(space)?.into_iter().map(|point| space.settings(&point));
        let mut new =
            points.filter(|settings| is_new(settings) && fault(space, settings).is_none());
        return Ok(new.next());
    }
    let history = history(space, trials);
    let mut reason = None;
    for attempt in 0..ATTEMPTS {
        let index = number as u64 * ATTEMPTS + attempt;
        let mut rng = rng::generator(space.file.sampler.seed, Stream::Search, index);
        let point = match &history {
            Some(points) => tpe::propose(space, points, &mut rng),
            None => space.uniform(&mut rng),
        };
        let settings = space.settings(&point);
        match fault(space, &settings) {
            None if is_new(&settings) => return Ok(Some(settings)),
            None => reason = Some(None),
            Some(why) => reason = reason.or(Some(Some(why))),
        }
    }
    match reason {
        Some(Some(why)) => bail!("none of {ATTEMPTS} points satisfies the constraints: {why}"),
        _ => Ok(None),
    }
}

/// Why a point is not tried.
fn fault(space: &Space, settings: &Settings) -> Option<String> {
    match space.config(settings) {
        Ok(config) => space.violation(&config),
        Err(error) => Some(format!("{error:#}")),
    }
}

/// The points so far for the model, from the best: those without a value are the worst. `None`
/// before there are enough for it.
fn history(space: &Space, trials: &[Trial]) -> Option<Vec<Point>> {
    let sampler = &space.file.sampler;
    if sampler.kind == SamplerKind::Random || trials.len() < sampler.startup {
        return None;
    }
    let levels = space.file.budget.levels();
    let best = ranked(trials, &space.objectives, &levels, sampler.startup.max(1));
    let without = |trial: &&Trial| trial.level(&levels) == 0;
    let failed = trials.iter().filter(|trial| without(trial) && trial.state == State::Failed);
    let running = trials.iter().filter(|trial| without(trial) && trial.state != State::Failed);
    if best.is_empty() {
        return None;
    }
    let all = best.into_iter().chain(failed).chain(running);
    Some(all.map(|trial| space.point_of(&trial.parameters)).collect())
}

/// Every combination of a few values of each parameter.
pub(crate) fn grid(space: &Space) -> Result<Vec<Point>> {
    let levels = space.file.sampler.levels;
    let mut points = vec![Point::new()];
    for (axis, parameter) in space.parameters.iter().enumerate() {
        let all = parameter.domain.levels(levels);
        let mut longer = Vec::new();
        for point in points {
            if space.applies(axis, &point) {
                longer.extend(all.iter().map(|at| [&point[..], &[Some(*at)]].concat()));
            } else {
                longer.push([&point[..], &[None]].concat());
            }
        }
        points = longer;
        if points.len() > MAX_GRID {
            bail!(
                "a grid of {levels} levels has more than {MAX_GRID} points: lower sampler.levels"
            );
        }
    }
    Ok(points)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::search::file::SpaceFile;
    use crate::search::trial::Measured;

    fn space(more: &str) -> Space {
        let text = format!(
            "{more}
            [settings]
            \"data.validation_images\" = 10
            [parameters.\"training.learning_rate\"]
            kind = \"log\"
            low = 1e-4
            high = 1e-1
            [parameters.\"model.kind\"]
            kind = \"choice\"
            values = [\"h-vae\", \"th-vae\"]
            [parameters.\"model.image_amplitude\"]
            kind = \"linear\"
            low = 10.0
            high = 30.0
            when = {{ \"model.kind\" = \"th-vae\" }}
            [parameters.\"model.hidden\"]
            kind = \"int\"
            low = 8
            high = 512
            log = true"
        );
        Space::new(SpaceFile::parse(&text, Path::new(".")).unwrap()).unwrap()
    }

    /// A study whose trials end at once: the larger the learning rate, the better.
    fn play(space: &Space, count: usize) -> Vec<Trial> {
        let mut trials = Vec::new();
        while trials.len() < count {
            let Some(parameters) = propose(space, &trials).unwrap() else { break };
            let value = crate::search::domain::number(&parameters["training.learning_rate"]);
            let mut trial = Trial::new(trials.len() + 1, parameters, 1, 10);
            trial.epochs.push(Measured { epoch: 10, values: Some(vec![value.unwrap()]) });
            trial.state = State::Complete;
            trials.push(trial);
        }
        trials
    }

    #[test]
    fn points_follow_from_seed_and_history_alone() {
        let space = space("");
        let all = play(&space, 30);
        for cut in [0, 5, 12, 29] {
            assert_eq!(propose(&space, &all[..cut]).unwrap().unwrap(), all[cut].parameters);
        }
        let of = |key: &str, t: &Trial| t.parameters.get(key).cloned();
        for trial in &all {
            let tied = of("model.kind", trial).unwrap().as_str() == Some("th-vae");
            assert_eq!(of("model.image_amplitude", trial).is_some(), tied);
        }
        let rate = |t: &Trial| of("training.learning_rate", t).unwrap().as_float().unwrap();
        let large = all[10..].iter().filter(|t| rate(t) > 0.03).count();
        assert!(large >= 12, "{large} of 20 in the best sixth");
        let other = Space::new(SpaceFile {
            sampler: crate::search::file::Sampler { seed: 2, ..space.file.sampler.clone() },
            ..space.file.clone()
        });
        assert_ne!(play(&other.unwrap(), 1)[0].parameters, all[0].parameters);
    }

    #[test]
    fn known_points_come_first_and_constraints_hold() {
        let space = space(
            "enqueue = [{ \"training.learning_rate\" = 0.01, \"model.hidden\" = 16 }, \"th-vae\"]
            [constraints]
            max_parameters = 500000",
        );
        let trials = play(&space, 15);
        let known = |at: usize, key: &str| trials[at].parameters[key].to_string();
        assert_eq!(known(0, "model.kind"), "\"h-vae\"");
        assert_eq!(known(0, "model.hidden"), "16");
        assert_eq!(
            (known(1, "model.hidden"), known(1, "model.image_amplitude")),
            ("512".into(), "20.0".into())
        );
        for trial in &trials {
            let config = space.config(&trial.parameters).unwrap();
            assert!(Space::parameters_of(&config) <= 500_000.0, "{:?}", trial.parameters);
        }
    }

    #[test]
    fn a_grid_is_every_combination_once() {
        let space = space("[sampler]\nkind = \"grid\"\nlevels = 3");
        // Rates x widths x (amplitudes of the one kind, and the other kind).
        assert_eq!(grid(&space).unwrap().len(), 3 * 3 * (3 + 1));
        let trials = play(&space, 100);
        assert_eq!(trials.len(), 36);
        let repeated =
            |at: usize| trials[..at].iter().any(|t| t.parameters == trials[at].parameters);
        assert!(!(0..36).any(repeated));
    }
}
