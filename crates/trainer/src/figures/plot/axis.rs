//! From values to positions: linear and logarithmic scales, their limits and ticks.

use crate::figures::plot::Scale;

/// A scale with limits and ticks, in positions: the logarithm of a value, or the value.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    logarithmic: bool,
    /// First and last position.
    pub(super) limits: (f64, f64),
    /// Positions of ticks.
    pub(super) ticks: Vec<f64>,
    /// Digits after the point that tell the ticks apart.
    digits: usize,
    /// What the ticks are called, where they have names.
    names: Vec<String>,
}

/// About how many ticks an axis has.
const TICKS: u32 = 6;
/// And how many at most, where they are not evenly spaced.
const MOST: usize = 10;

impl Axis {
    /// An axis for `values`, with a little room on both sides.
    pub(super) fn new(scale: &Scale, values: impl Iterator<Item = f64>) -> Self {
        let mut axis = Self {
            logarithmic: scale.logarithmic,
            limits: (0.0, 1.0),
            ticks: vec![],
            digits: 4,
            names: scale.names.clone(),
        };
        let values = values.filter(|v| axis.position(*v).is_finite());
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            let position = axis.position(value);
            (low, high) = (low.min(position), high.max(position));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        let range = high - low;
        let room = if range > 1e-9 * high.abs() {
            0.04 * range
        } else if axis.logarithmic {
            0.5
        } else if scale.whole || high == 0.0 {
            1.0
        } else {
            0.05 * high.abs()
        };
        axis.limits = match scale.limits {
            Some((low, high)) => (axis.position(low), axis.position(high)),
            None => (low - room, high + room),
        };
        axis.ticks = axis.make_ticks();
        if scale.whole {
            axis.ticks.retain(|tick| (tick - tick.round()).abs() < 1e-9);
        }
        if !axis.names.is_empty() {
            axis.ticks = (1..=axis.names.len()).map(|number| number as f64).collect();
        }
        axis.digits = axis.digits();
        axis
    }

    /// Where `value` goes; not finite where it cannot be shown.
    pub(super) fn position(&self, value: f64) -> f64 {
        if self.logarithmic { value.ln() } else { value }
    }

    /// What a tick at `position` is called.
    pub(super) fn label(&self, position: f64) -> String {
        let value = if self.logarithmic { position.exp() } else { position };
        let mut named = (1..).zip(&self.names);
        if let Some((_, name)) = named.find(|&(at, _)| (value - f64::from(at)).abs() < 1e-9) {
            return name.clone();
        }
        let size = value.abs();
        if size < 1e-12 {
            "0".to_owned()
        } else if !(1e-3..1e5).contains(&size) {
            let text = format!("{value:.2e}");
            let (number, power) = text.split_once('e').unwrap_or((&text, "0"));
            format!("{}e{power}", trim(number))
        } else {
            trim(&format!("{value:.*}", self.digits)).to_owned()
        }
    }

    /// Four, or as many as the distance of the first two ticks has.
    fn digits(&self) -> usize {
        match self.ticks[..] {
            [first, second, ..] if !self.logarithmic => {
                let power = 1 - (second - first).log10().floor() as i32;
                usize::try_from(power).unwrap_or(0).max(4)
            }
            _ => 4,
        }
    }

    fn make_ticks(&self) -> Vec<f64> {
        let (low, high) = self.limits;
        if !self.logarithmic {
            return linear_ticks(low, high);
        }
        let decades = (low / std::f64::consts::LN_10).floor() as i32
            ..=(high / std::f64::consts::LN_10).ceil() as i32;
        let within = |steps: &[f64]| -> Vec<f64> {
            let values =
                decades.clone().flat_map(|d| steps.iter().map(move |s| s * 10_f64.powi(d)));
            values.map(f64::ln).filter(|p| (low..=high).contains(p)).collect()
        };
        let choices: [&[f64]; 3] =
            [&[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0], &[1.0, 2.0, 5.0], &[1.0]];
        let fitting = choices.iter().map(|c| within(c)).find(|t| t.len() <= MOST);
        fitting.unwrap_or_else(|| {
            let all = within(&[1.0]);
            let step = all.len().div_ceil(MOST);
            all.into_iter().step_by(step).collect()
        })
    }
}

fn trim(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

/// Multiples of 1, 2 or 5 times a power of ten.
fn linear_ticks(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / f64::from(TICKS);
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|s| s * power).into_iter().find(|s| *s >= rough);
    let step = step.unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    (first..=last.min(first + 50)).map(|i| i as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_within_the_limits() {
        let scale = |logarithmic| Scale { logarithmic, ..Scale::default() };
        let axis = Axis::new(&scale(false), [0.0, 1.0].into_iter());
        let labels: Vec<_> = axis.ticks.iter().map(|t| axis.label(*t)).collect();
        assert_eq!(labels, ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        let axis = Axis::new(&scale(true), [2.0, 2000.0].into_iter());
        let labels: Vec<_> = axis.ticks.iter().map(|t| axis.label(*t)).collect();
        assert_eq!(labels, ["2", "5", "10", "20", "50", "100", "200", "500", "1000", "2000"]);
        for values in [vec![], vec![3.0], vec![f64::NAN]] {
            let axis = Axis::new(&scale(false), values.into_iter());
            assert!(axis.limits.0 < axis.limits.1);
        }
    }

    #[test]
    fn equal_values_and_small_ranges_have_ticks_that_differ() {
        let scale = Scale::default();
        for values in [vec![1.0], vec![4e-5], vec![0.999_91, 0.999_94], vec![1.0, 3.0]] {
            let axis = Axis::new(&scale, values.iter().copied());
            let mut labels: Vec<_> = axis.ticks.iter().map(|t| axis.label(*t)).collect();
            let count = labels.len();
            labels.dedup();
            assert!(count > 0 && labels.len() == count, "{values:?}: {labels:?}");
        }
        let whole = Scale { whole: true, ..scale };
        let epochs = Axis::new(&whole, [1.0].into_iter());
        let labels: Vec<_> = epochs.ticks.iter().map(|t| epochs.label(*t)).collect();
        assert_eq!(labels, ["0", "1", "2"]);
    }
}
