//! Linear and logarithmic axes: limits, ticks and labels.

use std::{f64::consts::LN_10, ops::Range};

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;

use crate::figures::plot::figure::Scale;

/// An axis in the coordinates of its scale: a value, or its logarithm.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    name: &'static str,
    logarithmic: bool,
    /// First and last coordinate.
    low: f64,
    high: f64,
    /// Values at the ticks.
    ticks: Vec<f64>,
    /// Labels of the ticks, if they have names.
    names: Vec<String>,
}

/// Largest number of ticks of a linear and of a logarithmic axis.
const MAX_TICKS: [usize; 2] = [7, 10];

impl Axis {
    /// An axis that covers `values` with a margin.
    pub(crate) fn new(scale: &Scale, values: impl Iterator<Item = f64>) -> Self {
        let logarithmic = scale.logarithmic;
        let coordinates = values.map(|v| coordinate(v, logarithmic)).filter(|c| c.is_finite());
        let (mut low, mut high) = coordinates
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), c| (low.min(c), high.max(c)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        let range = high - low;
        let margin = if range > 1e-9 * high.abs() {
            0.04 * range
        } else if logarithmic {
            0.5
        } else if scale.whole || high == 0.0 {
            1.0
        } else {
            0.05 * high.abs()
        };
        (low, high) = match scale.limits {
            Some((low, high)) => (coordinate(low, logarithmic), coordinate(high, logarithmic)),
            None => (low - margin, high + margin),
        };
        let ticks = if !scale.names.is_empty() {
            (1..=scale.names.len()).map(|number| number as f64).collect()
        } else if logarithmic {
            logarithmic_ticks(low, high)
        } else {
            let whole = |tick: &f64| !scale.whole || (tick - tick.round()).abs() < 1e-9;
            let ticks = RangedCoordf64::from(low..high).key_points(MAX_TICKS[0]);
            ticks.into_iter().filter(whole).collect()
        };
        Self { name: scale.name, logarithmic, low, high, ticks, names: scale.names.clone() }
    }

    /// Position of `value` as a fraction of the axis; not finite if it has none.
    pub(crate) fn fraction(&self, value: f64) -> f64 {
        (coordinate(value, self.logarithmic) - self.low) / (self.high - self.low)
    }

    /// Whether `value` is on the axis.
    pub(crate) fn contains(&self, value: f64) -> bool {
        (-1e-9..=1.0 + 1e-9).contains(&self.fraction(value))
    }

    /// Values at the ticks.
    pub(crate) fn ticks(&self) -> &[f64] {
        &self.ticks
    }

    /// What the axis shows.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The label of a tick at `value`.
    pub(crate) fn label(&self, value: f64) -> String {
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
            trim(&format!("{value:.9}")).to_owned()
        }
    }
}

impl Ranged for Axis {
    type ValueType = f64;
    type FormatOption = NoDefaultFormatting;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        first + (f64::from(last - first) * self.fraction(*value)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Grid lines at ticks only.
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        let value = |c: f64| if self.logarithmic { c.exp() } else { c };
        value(self.low)..value(self.high)
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        self.label(*value)
    }
}

fn coordinate(value: f64, logarithmic: bool) -> f64 {
    if logarithmic { value.ln() } else { value }
}

/// Multiples of powers of ten with coordinates from `low` to `high`.
fn logarithmic_ticks(low: f64, high: f64) -> Vec<f64> {
    let decades = (low / LN_10).floor() as i32..=(high / LN_10).ceil() as i32;
    let within = |multiples: &[f64]| -> Vec<f64> {
        let values =
            decades.clone().flat_map(|d| multiples.iter().map(move |m| m * 10_f64.powi(d)));
        values.filter(|v| (low..=high).contains(&v.ln())).collect()
    };
    let choices: [&[f64]; 3] =
        [&[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0], &[1.0, 2.0, 5.0], &[1.0]];
    let fitting = choices.iter().map(|c| within(c)).find(|t| t.len() <= MAX_TICKS[1]);
    fitting.unwrap_or_else(|| {
        let all = within(&[1.0]);
        let step = all.len().div_ceil(MAX_TICKS[1]);
        all.into_iter().step_by(step).collect()
    })
}

fn trim(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: &Scale, values: &[f64]) -> Vec<String> {
        let axis = Axis::new(scale, values.iter().copied());
        axis.ticks.iter().map(|t| axis.label(*t)).collect()
    }

    #[test]
    fn ticks_are_round_numbers_within_the_limits() {
        let labels = |scale, values: [f64; 2]| labels(&scale, &values);
        assert_eq!(labels(Scale::linear(""), [0.0, 1.0]), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        let logarithmic = ["2", "5", "10", "20", "50", "100", "200", "500", "1000", "2000"];
        assert_eq!(labels(Scale::logarithmic(""), [2.0, 2000.0]), logarithmic);
        assert_eq!(labels(Scale::linear("").whole(), [1.0, 1.0]), ["0", "1", "2"]);
        for values in [vec![], vec![3.0], vec![f64::NAN]] {
            let axis = Axis::new(&Scale::linear(""), values.into_iter());
            assert!(axis.low < axis.high);
        }
    }

    #[test]
    fn equal_values_and_small_ranges_have_ticks_that_differ() {
        for values in [vec![1.0], vec![4e-5], vec![0.999_91, 0.999_94], vec![1.0, 3.0]] {
            let mut labels = labels(&Scale::linear(""), &values);
            let count = labels.len();
            labels.dedup();
            assert!(count > 0 && labels.len() == count, "{values:?}: {labels:?}");
        }
    }
}
