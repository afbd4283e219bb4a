//! What a parameter may be: its values as coordinates in `[0, 1]`, and back.

use toml::Value;

use crate::search::tpe::Axis;

/// The values of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Domain {
    /// Numbers, uniform themselves or in their logarithm.
    Real { low: f64, high: f64, log: bool },
    /// Whole numbers, likewise.
    Whole { low: i64, high: i64, log: bool },
    /// Some values, in their order or without one.
    List { values: Vec<Value>, ordered: bool },
}

impl Domain {
    /// The axis of its coordinates.
    pub(crate) fn axis(&self) -> Axis {
        match self {
            Self::List { values, ordered: false } => Axis::Cells(values.len()),
            _ => Axis::Line,
        }
    }

    /// The value at a coordinate.
    pub(crate) fn at(&self, coordinate: f64) -> Value {
        match self {
            Self::Real { low, high, log } => {
                let value = from_unit(coordinate, (*low, *high), *log);
                Value::Float(rounded(value, 4).clamp(*low, *high))
            }
            Self::Whole { low, high, log } => {
                let value = from_unit(coordinate, around(*low, *high), *log).round() as i64;
                Value::Integer(value.clamp(*low, *high))
            }
            Self::List { values, .. } => {
                let index = usize::try_from((coordinate * values.len() as f64) as i64);
                values[index.unwrap_or(0).min(values.len() - 1)].clone()
            }
        }
    }

    /// The coordinate of `value`, if it is one of its values.
    pub(crate) fn position(&self, value: &Value) -> Option<f64> {
        match self {
            Self::Real { low, high, log } => {
                let number = number(value)?;
                let inside = (*low..=*high).contains(&number);
                inside.then(|| to_unit(number, (*low, *high), *log))
            }
            Self::Whole { low, high, log } => {
                let number = value.as_integer()?;
                let inside = (*low..=*high).contains(&number);
                inside.then(|| to_unit(number as f64, around(*low, *high), *log))
            }
            Self::List { values, .. } => {
                let index = values.iter().position(|other| same(other, value))?;
                Some((index as f64 + 0.5) / values.len() as f64)
            }
        }
    }

    /// Coordinates of `count` values over its whole range, or of all if there are not as many.
    pub(crate) fn levels(&self, count: usize) -> Vec<f64> {
        let (cells, count) = match self {
            Self::Real { .. } => (None, count),
            Self::List { values, .. } => (Some(values.len()), values.len()),
            Self::Whole { low, high, .. } => {
                let all = usize::try_from(high - low + 1).unwrap_or(count);
                (Some(all).filter(|all| *all <= count), all.min(count))
            }
        };
        let at = |index: usize| match cells {
            // The value itself: coordinates of whole numbers are not evenly spaced in logarithms.
            Some(cells) => match self {
                Self::Whole { low, .. } => self.position(&Value::Integer(low + index as i64)),
                _ => Some((index as f64 + 0.5) / cells as f64),
            },
            None => Some(index as f64 / (count.max(2) - 1) as f64),
        };
        (0..count).filter_map(at).collect()
    }

    /// Values at both ends, or all of a list.
    pub(crate) fn extremes(&self) -> Vec<Value> {
        match self {
            Self::List { values, .. } => values.clone(),
            _ => [0.0, 1.0].map(|end| self.at(end)).into(),
        }
    }
}

/// Whether two settings are the same: numbers by their value, and a list of one number as that
/// number.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    let plain = |value: &Value| match value {
        Value::Array(items) if items.len() == 1 => number(&items[0]),
        other => number(other),
    };
    a == b || plain(a).zip(plain(b)).is_some_and(|(a, b)| a.total_cmp(&b).is_eq())
}

/// A number, whole or not.
pub(crate) fn number(value: &Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))
}

/// Whole numbers as cells of width 1.
fn around(low: i64, high: i64) -> (f64, f64) {
    (low as f64 - 0.5, high as f64 + 0.5)
}

fn from_unit(unit: f64, (low, high): (f64, f64), log: bool) -> f64 {
    if log { (low.ln() + unit * (high.ln() - low.ln())).exp() } else { low + unit * (high - low) }
}

fn to_unit(value: f64, (low, high): (f64, f64), log: bool) -> f64 {
    let scale = |x: f64| if log { x.ln() } else { x };
    (scale(value) - scale(low)) / (scale(high) - scale(low))
}

/// `value` with this many digits, so that people can read it and type it.
pub(crate) fn rounded(value: f64, digits: usize) -> f64 {
    format!("{value:.*e}", digits - 1).parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(ordered: bool) -> Domain {
        Domain::List { values: [16, 32, 64].map(Value::Integer).into(), ordered }
    }

    #[test]
    fn values_come_back_from_their_coordinates() {
        let real = Domain::Real { low: 1e-4, high: 1e-1, log: true };
        assert_eq!(real.at(0.0), Value::Float(1e-4));
        assert_eq!(real.at(1.0), Value::Float(1e-1));
        assert_eq!(real.at(1.0 / 3.0), Value::Float(1e-3));
        assert!((real.position(&Value::Float(1e-3)).unwrap() - 1.0 / 3.0).abs() < 1e-12);
        for domain in [
            Domain::Whole { low: 1, high: 9, log: true },
            Domain::Whole { low: -3, high: 5, log: false },
            list(true),
            list(false),
        ] {
            for coordinate in domain.levels(100) {
                let value = domain.at(coordinate);
                let back = domain.position(&value).unwrap();
                assert_eq!(domain.at(back), value, "{domain:?}");
            }
        }
    }

    #[test]
    fn values_outside_have_no_coordinate() {
        let whole = Domain::Whole { low: 1, high: 9, log: false };
        for wrong in [Value::Integer(0), Value::Integer(10), Value::Float(2.5), "x".into()] {
            assert_eq!(whole.position(&wrong), None, "{wrong}");
        }
        assert_eq!(list(false).position(&Value::Integer(48)), None);
        assert!(same(&Value::Array(vec![512.into()]), &Value::Integer(512)));
        assert!(!same(&Value::Array(vec![512.into(), 256.into()]), &Value::Integer(512)));
    }

    #[test]
    fn levels_cover_the_range_once() {
        assert_eq!(list(true).levels(2).len(), 3);
        let whole = |high| Domain::Whole { low: 1, high, log: false };
        assert_eq!(whole(4).levels(10).len(), 4);
        let ends = whole(100).levels(3).into_iter().map(|at| whole(100).at(at));
        let ends: Vec<Value> = ends.collect();
        assert!(ends.len() == 3 && ends[0] == 1.into() && ends[2] == 100.into(), "{ends:?}");
        assert_eq!(Domain::Real { low: 0.0, high: 1.0, log: false }.levels(3), [0.0, 0.5, 1.0]);
    }
}
