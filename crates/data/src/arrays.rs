//! Images in NumPy's `.npz` and `.npy` files.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context, Result, bail, ensure};
use hvae_runtime::npz::{self, Kind, Loaded, Rows, Unsupported, Values};

use crate::convert::{Gathered, Raw, Wanted, gather};
use crate::labels::{Labels, of_array};
use crate::{ImageSet, ImageShape, report::Report};

/// Names of the arrays of images of each part, and the names that their labels have then.
pub(crate) const NAMES: [&[[&str; 2]]; 3] = [
    &[["x_train", "y_train"], ["X_train", "y_train"], ["train_images", "train_labels"]],
    &[["x_test", "y_test"], ["X_test", "y_test"], ["test_images", "test_labels"]],
    &[
        ["x_valid", "y_valid"],
        ["x_val", "y_val"],
        ["X_val", "y_val"],
        ["valid_images", "valid_labels"],
        ["val_images", "val_labels"],
        ["validation_images", "validation_labels"],
    ],
];
/// Names of arrays of labels in a file without parts.
const LABELS: [&str; 4] = ["labels", "label", "y", "targets"];

/// The arrays of a part of a set; a `.npy` has no name for its only one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrays {
    images: Option<String>,
    labels: Option<String>,
}

/// The arrays of each part of the `.npz` or `.npy` file `path`. A file without parts holds one.
pub(crate) fn parts(path: &Path) -> Result<[Option<Arrays>; 3]> {
    if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npy")) {
        return Ok([Some(Arrays { images: None, labels: None }), None, None]);
    }
    let found = npz::names(path)?;
    let has = |wanted: &str| found.iter().any(|name| name == wanted);
    let named = |name: &str| has(name).then(|| name.to_owned());
    let part = |names: &[[&str; 2]]| {
        let [images, labels] = names.iter().find(|[images, _]| has(images))?;
        Some(Arrays { images: named(images), labels: named(labels) })
    };
    let parts = NAMES.map(part);
    if parts[0].is_some() {
        return Ok(parts);
    }
    let others: Vec<_> = found.iter().filter(|name| !LABELS.contains(&name.as_str())).collect();
    let labels = LABELS.iter().find_map(|name| named(name));
    let [images, labels] = match &others[..] {
        _ if has("images") => [named("images"), labels],
        [only] => [named(only), labels],
        // As `numpy.savez(path, images, labels)` names them.
        [first, second] if *first == "arr_0" && *second == "arr_1" => {
            [named("arr_0"), named("arr_1")]
        }
        _ => bail!(
            "{} holds the arrays {}, none named `images` or `x_train`",
            path.display(),
            found.join(", ")
        ),
    };
    Ok([Some(Arrays { images, labels }), None, None])
}

/// Reads those of the images in `part`, one of `parts` of the file `path`, that are wanted.
///
/// Shapes: `[N, height, width]`, with an axis of 1, 3 or 4 channels at the end or before the
/// height, or `[N, side^2]`. Values: whole numbers from 0 to 255, floats from 0 to 1, or `bool`.
pub(crate) fn read(
    path: &Path,
    part: &Arrays,
    parts: &[Option<Arrays>; 3],
    wanted: &Wanted<'_>,
) -> Result<(ImageSet, Report)> {
    let read = || {
        let (count, found) = npz::read(path, part.images.as_deref(), |rows| images(rows, wanted))?;
        let labels = labels(path, part, parts, count)?;
        let values = labels.values.map(|values| wanted.of(values));
        found.with(Labels { values, ..labels })
    };
    read().with_context(|| format!("cannot use the images of {}", path.display()))
}

fn images(rows: &mut Rows<'_>, wanted: &Wanted<'_>) -> Result<(usize, Gathered)> {
    let header = rows.header().clone();
    let layout = layout(&header.shape)?;
    let mut index = 0;
    let mut next = || -> Result<Option<Raw>> {
        let Some(row) = rows.next_row()? else { return Ok(None) };
        let (bytes, rounded) = bytes(row, header.kind, layout, index)?;
        index += 1;
        Ok(Some(layout.picture(bytes, rounded)))
    };
    let found = gather(wanted, layout.count, &mut std::iter::from_fn(|| next().transpose()))?;
    Ok((layout.count, found))
}

/// The labels of a part. Those that cannot be read are left out.
fn labels(path: &Path, part: &Arrays, parts: &[Option<Arrays>; 3], count: usize) -> Result<Labels> {
    let Some(name) = &part.labels else { return Ok(Labels::default()) };
    let load = |name: &String| npz::load(path, name);
    let array = match load(name) {
        Err(error) if error.is::<Unsupported>() => {
            return Ok(Labels::none(format!("`{name}`: {}", error.root_cause())));
        }
        array => array?,
    };
    let mut classes = BTreeSet::new();
    if matches!(array.values, Values::Text(_)) {
        // A class has one number in every part.
        for other in parts.iter().flatten().filter_map(|other| other.labels.as_ref()) {
            if let Ok(Loaded { values: Values::Text(names), .. }) = load(other) {
                classes.extend(names);
            }
        }
    }
    of_array(array, name, count, classes)
}

/// How an array holds images.
#[derive(Debug, Clone, Copy)]
struct Layout {
    count: usize,
    shape: ImageShape,
    /// Whether the axis of channels comes before height and width.
    channels_first: bool,
}

impl Layout {
    /// Image, row and column of a value, for messages.
    fn place(self, image: usize, at: usize) -> String {
        let ImageShape { channels, height, width } = self.shape;
        let pixel = if self.channels_first { at % (height * width) } else { at / channels };
        format!("image {image}, row {}, column {}", pixel / width, pixel % width)
    }

    /// `value`, that of a pixel if it is one, from 0 for black to 255 for white.
    fn shade(self, value: f64, whole: bool, image: usize, at: usize) -> Result<f64> {
        let place = || self.place(image, at);
        ensure!(value.is_finite(), "{} is not a number ({value})", place());
        if whole {
            let found = (0.0..=255.0).contains(&value);
            ensure!(found, "{} is {value}, but whole numbers run from 0 to 255", place());
            return Ok(value);
        }
        let remedy = match value {
            v if (-1.0..0.0).contains(&v) => "; if these run from -1 to 1, save (images + 1) / 2",
            v if v > 1.0 && v <= 255.0 => {
                "; if these run from 0 to 255, divide by 255 or save uint8"
            }
            _ => "",
        };
        let found = (0.0..=1.0).contains(&value);
        let text = "but pixels given as floats run from 0 to 1";
        ensure!(found, "{} is {value}, {text}{remedy}", place());
        Ok(value * 255.0)
    }

    /// The picture with these values, in the order of the array.
    fn picture(self, bytes: Vec<u8>, rounded: bool) -> Raw {
        let (channels, pixels) = (self.shape.channels, self.shape.height * self.shape.width);
        let moved = |at: usize| bytes[at % channels * pixels + at / channels];
        let bytes = if self.channels_first && channels > 1 {
            (0..bytes.len()).map(moved).collect()
        } else {
            bytes
        };
        Raw::Pixels { bytes, shape: self.shape, rounded }
    }
}

/// The layout of an array of this shape.
fn layout(axes: &[usize]) -> Result<Layout> {
    let not = || format!("its shape {axes:?} is not that of images");
    let (count, [channels, height, width], channels_first) = match *axes {
        [count, pixels] => {
            let side = pixels.isqrt();
            ensure!(side * side == pixels, not());
            (count, [1, side, side], false)
        }
        [count, height, width] => (count, [1, height, width], false),
        // Rather grey images of 3 columns than coloured ones of a single row.
        [count, 1, height, width] if width != 1 => (count, [1, height, width], true),
        [count, height, width, channels @ (1 | 3 | 4)] => (count, [channels, height, width], false),
        [count, channels @ (1 | 3 | 4), height, width] => (count, [channels, height, width], true),
        _ => bail!(not()),
    };
    ensure!(height > 0 && width > 0, not());
    ensure!(count > 0, "it holds no image");
    Ok(Layout { count, shape: ImageShape { channels, height, width }, channels_first })
}

/// The values of an image as bytes, and whether they were rounded.
fn bytes(row: Vec<u8>, kind: Kind, layout: Layout, image: usize) -> Result<(Vec<u8>, bool)> {
    let whole = match kind {
        Kind::Uint(1) => return Ok((row, false)),
        Kind::Bool => {
            return Ok((row.into_iter().map(|v| if v == 0 { 0 } else { 255 }).collect(), false));
        }
        Kind::Bytes(_) | Kind::Text(_) => bail!(TEXT),
        Kind::Int(_) | Kind::Uint(_) => true,
        Kind::Float(_) => false,
    };
    let mut rounded = false;
    let byte = |(at, value): (usize, f64)| -> Result<u8> {
        let shade = layout.shade(value, whole, image, at)?;
        rounded |= (shade - shade.round()).abs() > 1e-3;
        Ok(to_byte(shade))
    };
    let bytes = npz::numbers(&row, kind).enumerate().map(byte).collect::<Result<_>>()?;
    Ok((bytes, rounded))
}

const TEXT: &str = "it holds text, not images";

#[allow(clippy::cast_sign_loss, reason = "between 0 and 255")]
fn to_byte(shade: f64) -> u8 {
    shade.round() as u8
}

/// Whether an array holds whole numbers, and its values.
fn numbers(values: Values) -> Result<(bool, Box<dyn Iterator<Item = f64>>)> {
    Ok(match values {
        Values::Bool(values) => (false, Box::new(values.into_iter().map(u8::from).map(f64::from))),
        Values::F32(values) => (false, Box::new(values.into_iter().map(f64::from))),
        Values::F64(values) => (false, Box::new(values.into_iter())),
        Values::U8(values) => (true, Box::new(values.into_iter().map(f64::from))),
        Values::I64(values) => (true, Box::new(values.into_iter().map(|value| value as f64))),
        Values::Text(_) => bail!(TEXT),
    })
}

/// Grey images in memory, of the shapes and values of those in files: their numbers in `[0, 1]`,
/// image after image, and their shape. `name` is what messages call the array.
pub fn grey(name: &str, images: Loaded) -> Result<(Vec<f32>, ImageShape)> {
    let read = || -> Result<_> {
        let layout = layout(&images.shape)?;
        ensure!(layout.shape.channels == 1, "it is in colour; convert it to grey");
        let (whole, values) = numbers(images.values)?;
        let (pixels, white) = (layout.shape.pixels(), if whole { 255.0 } else { 1.0 });
        let number = |(at, value)| -> Result<f32> {
            layout.shade(value, whole, at / pixels, at % pixels)?;
            Ok(value as f32 / white)
        };
        Ok((values.enumerate().map(number).collect::<Result<_>>()?, layout.shape))
    };
    read().with_context(|| format!("cannot use the array `{name}`"))
}

/// As [`grey`], for numbers that stay where they are: checks them and finds the shape.
pub fn check_grey(name: &str, axes: &[usize], values: &[f32]) -> Result<ImageShape> {
    let check = || -> Result<_> {
        let layout = layout(axes)?;
        ensure!(layout.shape.channels == 1, "it is in colour; convert it to grey");
        let pixels = layout.shape.pixels();
        for (at, &value) in values.iter().enumerate() {
            layout.shade(f64::from(value), false, at / pixels, at % pixels)?;
        }
        Ok(layout.shape)
    };
    check().with_context(|| format!("cannot use the array `{name}`"))
}

/// As [`grey`], as a set with the labels in another array, if there is one; colours are converted,
/// and floats rounded to bytes.
pub fn set(name: &str, images: Loaded, labels: Option<Loaded>) -> Result<ImageSet> {
    let read = || -> Result<_> {
        let layout = layout(&images.shape)?;
        let (whole, values) = numbers(images.values)?;
        let pixels = layout.shape.pixels();
        let mut bytes = values
            .enumerate()
            .map(|(at, value)| layout.shade(value, whole, at / pixels, at % pixels).map(to_byte));
        let mut rows = (0..layout.count).map(|_| -> Result<Raw> {
            let bytes = bytes.by_ref().take(pixels).collect::<Result<_>>()?;
            Ok(layout.picture(bytes, false))
        });
        let of_array = |labels| of_array(labels, "labels", layout.count, BTreeSet::new());
        let labels = labels.map(of_array).transpose()?.unwrap_or_default();
        if let Some(reason) = &labels.reason {
            bail!("{reason}");
        }
        let wanted = Wanted { name, split: None, shape: None };
        Ok(gather(&wanted, layout.count, &mut rows)?.with(labels)?.0)
    };
    read().with_context(|| format!("cannot use the array `{name}`"))
}
