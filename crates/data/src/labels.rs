//! Class labels of images: what can be read of them, and why not.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use hvae_runtime::npz::{Loaded, Values};

/// Labels of images with the names of their classes, or the reason why there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Labels {
    pub(crate) values: Option<Vec<u8>>,
    /// The name of each class from 0 on; empty if they have only numbers.
    pub(crate) names: Vec<String>,
    /// Why labels that exist were left out.
    pub(crate) reason: Option<String>,
}

impl Labels {
    pub(crate) fn none(reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..Self::default() }
    }

    pub(crate) fn numbers(values: Vec<u8>) -> Self {
        Self { values: Some(values), ..Self::default() }
    }
}

/// The labels of images whose classes have names: the numbers that the names are, if all are
/// numbers from 0 to 255, otherwise their places among `classes`, in order.
pub(crate) fn numbered(names: &[&str], classes: &BTreeSet<String>) -> Labels {
    let number = |name: &str| name.parse::<u8>().ok().filter(|number| number.to_string() == name);
    if classes.iter().all(|class| number(class).is_some()) {
        return Labels::numbers(names.iter().filter_map(|name| number(name)).collect());
    }
    if classes.len() > 1 + usize::from(u8::MAX) {
        return Labels::none(format!("there are {} classes, more than 256", classes.len()));
    }
    let place = |name: &&str| classes.iter().position(|class| class == name).unwrap_or(0) as u8;
    let values = names.iter().map(place).collect();
    Labels { values: Some(values), names: classes.iter().cloned().collect(), reason: None }
}

/// The labels in the array `name` of `count` images: numbers, names or one-hot rows. `classes` are
/// names in other parts of the set. Only an array of another length is an error.
pub(crate) fn of_array(
    array: Loaded,
    name: &str,
    count: usize,
    mut classes: BTreeSet<String>,
) -> Result<Labels> {
    let Loaded { shape, values } = array;
    let rows = shape.first().copied().unwrap_or(1);
    ensure!(rows == count, "{rows} labels in `{name}` for {count} images");
    let width: usize = shape.iter().skip(1).product();
    let numbers: Vec<f64> = match values {
        Values::Text(names) if width == 1 => {
            classes.extend(names.iter().cloned());
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            return Ok(numbered(&names, &classes));
        }
        Values::Text(_) => return Ok(Labels::none(format!("`{name}` has the shape {shape:?}"))),
        Values::Bool(values) => values.into_iter().map(|v| f64::from(u8::from(v))).collect(),
        Values::F32(values) => values.into_iter().map(f64::from).collect(),
        Values::F64(values) => values,
        Values::U8(values) => values.into_iter().map(f64::from).collect(),
        Values::I64(values) => values.into_iter().map(|v| v as f64).collect(),
    };
    if width > 1 && width <= 1 + usize::from(u8::MAX) && shape.len() == 2 {
        return Ok(one_hot(&numbers, width, name));
    }
    if width != 1 {
        return Ok(Labels::none(format!("`{name}` has the shape {shape:?}")));
    }
    #[allow(clippy::cast_sign_loss, reason = "between 0 and 255")]
    let number = |v: f64| ((0.0..=255.0).contains(&v) && v.fract() == 0.0).then_some(v as u8);
    let wrong = numbers.iter().position(|value| number(*value).is_none());
    Ok(match wrong {
        None => Labels::numbers(numbers.into_iter().filter_map(number).collect()),
        Some(at) => Labels::none(format!(
            "label {at} of `{name}` is {}, but labels are whole numbers from 0 to 255",
            numbers[at]
        )),
    })
}

/// The place of the 1 in each row.
fn one_hot(numbers: &[f64], width: usize, name: &str) -> Labels {
    let place = |row: &[f64]| {
        let mut ones = row.iter().enumerate().filter(|(_, value)| **value != 0.0);
        let (place, value) = ones.next()?;
        ((*value - 1.0).abs() < f64::EPSILON && ones.next().is_none()).then_some(place as u8)
    };
    let places: Option<Vec<u8>> = numbers.chunks_exact(width).map(place).collect();
    match places {
        Some(places) => Labels::numbers(places),
        None => Labels::none(format!("the rows of `{name}` are not all one-hot")),
    }
}
