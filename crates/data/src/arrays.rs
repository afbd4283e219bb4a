//! Images in NumPy's `.npz` and `.npy` files.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use hvae_runtime::{npz, npz::Loaded, npz::Values};
use image::DynamicImage;

use crate::{ImageSet, ImageShape, convert::picture};

/// Images of a file, of any number of channels.
#[derive(Debug)]
pub(crate) struct ArrayImages {
    /// All pixels: image, row, column, channel.
    bytes: Vec<u8>,
    pub(crate) count: usize,
    /// 1 channel for grey, 3 for RGB, 4 for RGBA.
    shape: ImageShape,
    /// One for each image, of any value, if the file has them.
    pub(crate) labels: Option<Vec<i64>>,
}

impl ArrayImages {
    /// The image at `index`.
    pub(crate) fn picture(&self, index: usize) -> anyhow::Result<DynamicImage> {
        let length = self.shape.pixels();
        picture(&self.bytes[index * length..][..length], self.shape)
    }
}

/// Reads the grey images of a `.npz` or `.npy` file.
///
/// A `.npz` holds them in the array `images`, or in its only array besides `labels`. Shapes:
/// `[N, height, width]`, `[N, height, width, 1]`, `[N, 1, height, width]`, or `[N, side^2]` for
/// square images. Values are `uint8` from 0 to 255, floats from 0 to 1, or `bool`. `labels`, whole
/// numbers from 0 to 255, are optional. Errors name file, image and pixel.
pub fn read(path: &Path) -> anyhow::Result<ImageSet> {
    let images = load(path, None)?;
    let read = || {
        ensure!(images.shape.channels == 1, "its images are in colour; convert them to grey");
        let labels = images.labels.as_deref().map(classes).transpose()?;
        ImageSet::with(images.bytes, labels, images.shape)
    };
    read().with_context(|| format!("cannot use the images of {}", path.display()))
}

/// The images of a `.npz` or `.npy` file, in the arrays that [`read`] takes or in those called
/// `names`: images and, if there is an array of that name, labels. Channels are the last axis, or
/// the one before height and width.
pub(crate) fn load(path: &Path, names: Option<[&str; 2]>) -> anyhow::Result<ArrayImages> {
    let read = || {
        let (name, images, labels) = find(path, names)?;
        let layout = layout(&images.shape).with_context(|| not_images(&name, &images.shape))?;
        let Layout { count, shape, channels_first } = layout;
        ensure!(count > 0, "the array `{name}` holds no image");
        let mut bytes =
            bytes(images.values, layout).with_context(|| format!("the array `{name}`"))?;
        if channels_first {
            bytes = channels_last(&bytes, shape.height * shape.width, shape.channels);
        }
        let labels = labels.map(numbers).transpose()?;
        if let Some(labels) = &labels {
            ensure!(labels.len() == count, "{} labels for {count} images", labels.len());
        }
        Ok(ArrayImages { bytes, count, shape, labels })
    };
    read().with_context(|| format!("cannot use the images of {}", path.display()))
}

fn channels_last(bytes: &[u8], pixels: usize, channels: usize) -> Vec<u8> {
    let images = bytes.chunks_exact(pixels * channels);
    images
        .flat_map(|i| (0..pixels * channels).map(|at| i[at % channels * pixels + at / channels]))
        .collect()
}

/// The array of images with its name, and the labels.
fn find(path: &Path, names: Option<[&str; 2]>) -> anyhow::Result<(String, Loaded, Option<Loaded>)> {
    if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npy")) {
        return Ok(("array".to_owned(), npz::load_npy(path)?, None));
    }
    let found = npz::names(path)?;
    let has = |wanted: &str| found.iter().any(|name| name == wanted);
    let others: Vec<_> = found.iter().filter(|name| *name != "labels").collect();
    let [name, labels] = match (names, &others[..]) {
        (Some(names), _) => names,
        _ if has("images") => ["images", "labels"],
        (None, [only]) => [only.as_str(), "labels"],
        _ => bail!("it holds the arrays {}, none named `images`", found.join(", ")),
    };
    let labels = has(labels).then(|| npz::load(path, labels)).transpose()?;
    Ok((name.to_owned(), npz::load(path, name)?, labels))
}

/// How an array holds images.
#[derive(Clone, Copy)]
struct Layout {
    count: usize,
    shape: ImageShape,
    /// Whether the axis of channels comes before height and width.
    channels_first: bool,
}

impl Layout {
    /// Image, row and column of the value at index `at`, for messages.
    fn place(self, at: usize) -> String {
        let ImageShape { channels, height, width } = self.shape;
        let (image, within) = (at / self.shape.pixels(), at % self.shape.pixels());
        let pixel = if self.channels_first { within % (height * width) } else { within / channels };
        format!("image {image}, row {}, column {}", pixel / width, pixel % width)
    }
}

fn layout(axes: &[usize]) -> Option<Layout> {
    let (count, [channels, height, width], channels_first) = match *axes {
        [count, pixels] => {
            let side = pixels.isqrt();
            (count, if side * side == pixels { [1, side, side] } else { return None }, false)
        }
        [count, height, width] => (count, [1, height, width], false),
        // Rather grey images of 3 columns than coloured ones of a single row.
        [count, 1, height, width] if width != 1 => (count, [1, height, width], true),
        [count, height, width, channels @ (1 | 3 | 4)] => (count, [channels, height, width], false),
        [count, channels @ (1 | 3 | 4), height, width] => (count, [channels, height, width], true),
        _ => return None,
    };
    let shape = ImageShape { channels, height, width };
    (height > 0 && width > 0).then_some(Layout { count, shape, channels_first })
}

fn bytes(values: Values, layout: Layout) -> anyhow::Result<Vec<u8>> {
    #[allow(clippy::cast_sign_loss, reason = "between 0 and 255")]
    let byte = |(at, value)| Ok((pixel(at, value, layout)? * 255.0).round() as u8);
    match values {
        Values::U8(bytes) => Ok(bytes),
        Values::Bool(values) => Ok(values.into_iter().map(|v| if v { 255 } else { 0 }).collect()),
        Values::F32(values) => values.into_iter().map(f64::from).enumerate().map(byte).collect(),
        Values::F64(values) => values.into_iter().enumerate().map(byte).collect(),
        Values::I64(_) => bail!(WHOLE_NUMBERS),
    }
}

const WHOLE_NUMBERS: &str = "its numbers are int64: save images as uint8 from 0 to 255, as floats \
    from 0 to 1, or as bool";

/// The `value` at index `at` if it is one of a pixel.
fn pixel(at: usize, value: f64, layout: Layout) -> anyhow::Result<f64> {
    ensure!(value.is_finite(), "{} is not a number ({value})", layout.place(at));
    ensure!(
        (0.0..=1.0).contains(&value),
        "{} is {value}, but pixels given as floats run from 0 to 1",
        layout.place(at)
    );
    Ok(value)
}

/// Grey images in memory, in the forms that [`read`] takes: their numbers in `[0, 1]`, image after
/// image, and their shape. `name` is what messages call the array.
pub fn grey(name: &str, images: Loaded) -> anyhow::Result<(Vec<f32>, ImageShape)> {
    let layout = grey_layout(name, &images.shape)?;
    let check = |(at, value): (usize, f64)| Ok(pixel(at, value, layout)? as f32);
    let numbers: anyhow::Result<Vec<f32>> = match images.values {
        Values::F32(values) => values.into_iter().map(f64::from).enumerate().map(check).collect(),
        Values::F64(values) => values.into_iter().enumerate().map(check).collect(),
        others => Ok(bytes(others, layout)
            .with_context(|| format!("the array `{name}`"))?
            .into_iter()
            .map(|byte| f32::from(byte) / 255.0)
            .collect()),
    };
    Ok((numbers.with_context(|| format!("the array `{name}`"))?, layout.shape))
}

/// As [`grey`], for numbers that stay where they are: checks them and finds the shape.
pub fn check_grey(name: &str, axes: &[usize], values: &[f32]) -> anyhow::Result<ImageShape> {
    let layout = grey_layout(name, axes)?;
    let check = |(at, &value)| pixel(at, f64::from(value), layout).map(drop);
    let checked = values.iter().enumerate().try_for_each(check);
    checked.with_context(|| format!("the array `{name}`"))?;
    Ok(layout.shape)
}

/// As [`grey`], as a set of images, of which floats are rounded to bytes, with their labels if these
/// are known: whole numbers from 0 to 255.
pub fn set(name: &str, images: Loaded, labels: Option<Loaded>) -> anyhow::Result<ImageSet> {
    let layout = grey_layout(name, &images.shape)?;
    let bytes = bytes(images.values, layout).with_context(|| format!("the array `{name}`"))?;
    let labels = labels.map(|labels| classes(&numbers(labels)?)).transpose()?;
    ImageSet::with(bytes, labels, layout.shape)
}

fn grey_layout(name: &str, axes: &[usize]) -> anyhow::Result<Layout> {
    let found = layout(axes).with_context(|| not_images(name, axes))?;
    ensure!(found.shape.channels == 1, "the array `{name}` is in colour; convert it to grey");
    ensure!(found.count > 0, "the array `{name}` holds no image");
    Ok(found)
}

fn not_images(name: &str, axes: &[usize]) -> String {
    format!("the array `{name}` has the shape {axes:?}, which is not that of images")
}

/// The numbers in an array of labels.
fn numbers(labels: Loaded) -> anyhow::Result<Vec<i64>> {
    match labels.values {
        Values::U8(labels) => Ok(labels.into_iter().map(i64::from).collect()),
        Values::I64(labels) => Ok(labels),
        _ => bail!("the array `labels` must hold uint8 or int64"),
    }
}

/// Labels as bytes.
pub(crate) fn classes(labels: &[i64]) -> anyhow::Result<Vec<u8>> {
    let class = |(at, &label): (usize, &i64)| {
        u8::try_from(label)
            .with_context(|| format!("label {at} is {label}, but labels run from 0 to {}", u8::MAX))
    };
    labels.iter().enumerate().map(class).collect()
}

#[cfg(test)]
mod tests {
    use hvae_runtime::npz::{Array, save};

    use super::*;

    #[test]
    fn images_of_every_form_are_read() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("set.npz");
        let bytes: Vec<u8> = (0..12).collect();
        for shape in [vec![2, 2, 3], vec![2, 2, 3, 1], vec![2, 1, 2, 3]] {
            save(&path, &[("anything", Array::U8(shape, &bytes))]).unwrap();
            let set = read(&path).unwrap();
            assert_eq!((set.bytes(), set.shape()), (bytes.as_slice(), ImageShape::grey(2, 3)));
        }
        let images = ("images", Array::F32(vec![1, 4], &[0.0, 0.2, 0.5, 1.0]));
        let labels = ("labels", Array::I64(vec![1], &[7]));
        save(&path, &[images, labels, ("more", Array::U8(vec![0], &[]))]).unwrap();
        let set = read(&path).unwrap();
        assert_eq!(
            (set.bytes(), set.labels(), set.shape()),
            ([0, 51, 128, 255].as_slice(), [7].as_slice(), ImageShape::grey(2, 2))
        );
    }

    /// A `.npy` file of one 2x2 image: head, then `data`.
    fn npy(path: &Path, kind: &str, data: &[u8]) {
        let head = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': (1, 2, 2)}}\n");
        let length = u16::try_from(head.len()).unwrap().to_le_bytes();
        let bytes = [b"\x93NUMPY\x01\x00", length.as_slice(), head.as_bytes(), data].concat();
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn half_precision_and_bool_are_read() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("set.npy");
        // 0, 1, 1/2 and 1/5 as IEEE 754 binary16.
        let halves = [0x0000_u16, 0x3c00, 0x3800, 0x3266];
        npy(&path, "<f2", &halves.map(u16::to_le_bytes).concat());
        assert_eq!(read(&path).unwrap().bytes(), [0, 255, 128, 51]);
        npy(&path, ">f2", &halves.map(u16::to_be_bytes).concat());
        assert_eq!(read(&path).unwrap().bytes(), [0, 255, 128, 51]);
        npy(&path, "|b1", &[0, 1, 1, 0]);
        assert_eq!(read(&path).unwrap().bytes(), [0, 255, 255, 0]);
        for (kind, data, part) in [
            ("<f2", &[0, 0x7c, 0, 0, 0, 0, 0, 0][..], "row 0, column 0 is not a number"),
            ("<f2", &[0; 7], "set.npy"),
            ("<u2", &[0; 8], "`astype`"),
        ] {
            npy(&path, kind, data);
            let message = format!("{:#}", read(&path).unwrap_err());
            assert!(message.contains(part), "{part}: {message}");
        }
    }

    #[test]
    fn unsuitable_arrays_are_refused() {
        let one = |shape: &[usize], values| Array::F32(shape.to_vec(), values);
        let pixel = || ("x", one(&[1, 1], &[0.0]));
        for (arrays, part) in [
            (
                vec![("x", one(&[1, 2, 3], &[0.0, 1.0, 0.5, 0.25, 0.0, f32::NAN]))],
                "image 0, row 1, column 2 is not a number",
            ),
            (vec![("x", one(&[1, 2, 1], &[0.5, 1.5]))], "image 0, row 1, column 0 is 1.5"),
            (vec![("x", one(&[3], &[0.0; 3]))], "shape [3]"),
            (vec![("x", one(&[0, 2, 2], &[]))], "no image"),
            (vec![("a", one(&[1, 1], &[0.0])), pixel()], "none named `images`"),
            (vec![pixel(), ("labels", Array::U8(vec![2], &[1, 2]))], "2 labels for 1 images"),
            (vec![pixel(), ("labels", Array::I64(vec![1], &[300]))], "label 0 is 300, but"),
            (vec![pixel(), ("labels", Array::I64(vec![1], &[-1]))], "label 0 is -1, but"),
            (vec![("x", Array::U8(vec![1, 2, 2, 3], &[0; 12]))], "in colour"),
            (vec![("x", Array::U8(vec![1, 2, 2, 2], &[0; 8]))], "not that of images"),
        ] {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join("set.npz");
            save(&path, &arrays).unwrap();
            let message = format!("{:#}", read(&path).unwrap_err());
            assert!(message.contains(part) && message.contains("set.npz"), "{part}: {message}");
        }
    }

    #[test]
    fn files_that_are_not_archives_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("set.npz");
        save(&path, &[("x", Array::U8(vec![9, 9, 9], &[3; 729]))]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for bytes in [b"<html>", &whole[..whole.len() / 2]] {
            std::fs::write(&path, bytes).unwrap();
            assert!(format!("{:#}", read(&path).unwrap_err()).contains("set.npz"));
        }
    }
}
