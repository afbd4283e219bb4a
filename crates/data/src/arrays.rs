//! Images in numpy's `.npz` and `.npy` files.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use image::DynamicImage;

use crate::{CLASSES, ImageSet};
use hvae_runtime::npz;
use hvae_runtime::npz::{Loaded, Values};

/// Images as they stand in a file.
#[derive(Debug)]
pub(super) struct Stored {
    /// Pixels of all images, image after image, row by row, the channels of a pixel side by side.
    pub(super) bytes: Vec<u8>,
    pub(super) count: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    /// 1 for grey, 3 for colours, 4 for colours with opacity.
    pub(super) channels: usize,
    /// One for each image, of any value, if the file has them.
    pub(super) labels: Option<Vec<i64>>,
}

impl Stored {
    /// The image of this number.
    pub(super) fn picture(&self, index: usize) -> Option<DynamicImage> {
        let length = self.height * self.width * self.channels;
        let bytes = self.bytes[index * length..][..length].to_vec();
        let (width, height) = (self.width as u32, self.height as u32);
        match self.channels {
            1 => image::GrayImage::from_raw(width, height, bytes).map(DynamicImage::ImageLuma8),
            3 => image::RgbImage::from_raw(width, height, bytes).map(DynamicImage::ImageRgb8),
            _ => image::RgbaImage::from_raw(width, height, bytes).map(DynamicImage::ImageRgba8),
        }
    }
}

/// Reads the grey images of a `.npz` or `.npy` file.
///
/// A `.npz` holds them in the array `images`, or in its only one beside `labels`. Shapes: `[N, height,
/// width]`, `[N, height, width, 1]`, `[N, 1, height, width]`, or `[N, side^2]` for square images.
/// `uint8` runs from 0 to 255; floats from 0 to 1, rounded to that as pictures are; `bool` is black or
/// white. `labels`, whole
/// numbers from 0 to 9, are optional.
///
/// # Errors
///
/// When the file cannot be read, has no such array, or holds values outside that range or that are
/// not numbers; the message names file, image and pixel.
pub fn read(path: &Path) -> anyhow::Result<ImageSet> {
    let stored = stored(path, None)?;
    let read = || {
        ensure!(stored.channels == 1, "its images have colours; make them grey");
        let labels = stored.labels.as_deref().map(classes).transpose()?;
        let of = |labels| ImageSet::new(stored.bytes, labels, stored.height, stored.width);
        match labels {
            Some(labels) => of(labels),
            None => Ok(of(vec![0; stored.count])?.unlabelled()),
        }
    };
    read().with_context(|| format!("cannot use the images of {}", path.display()))
}

/// The images of a `.npz` or `.npy` file as [`read`] finds them, or in the arrays called `names`: images
/// and, unless there is none of that name, labels. Colours may stand last or before height and width.
///
/// # Errors
///
/// As [`read`].
pub(super) fn stored(path: &Path, names: Option<[&str; 2]>) -> anyhow::Result<Stored> {
    let read = || {
        let (name, images, labels) = match names {
            None => find(path)?,
            Some([images, labels]) => {
                let has = npz::names(path)?.iter().any(|name| name == labels);
                let labels = has.then(|| npz::load(path, labels)).transpose()?;
                (images.to_owned(), npz::load(path, images)?, labels)
            }
        };
        let shape = shape(&images.shape).with_context(|| {
            format!(
                "the array `{name}` has the shape {:?}, which is not that of images",
                images.shape
            )
        })?;
        let Shape { count, height, width, channels, first } = shape;
        let mut bytes =
            bytes(images.values, shape).with_context(|| format!("the array `{name}`"))?;
        if first {
            bytes = channels_last(&bytes, height * width, channels);
        }
        ensure!(count > 0, "the array `{name}` holds no image");
        let labels = labels.map(numbers).transpose()?;
        if let Some(labels) = &labels {
            ensure!(labels.len() == count, "{} labels for {count} images", labels.len());
        }
        Ok(Stored { bytes, count, height, width, channels, labels })
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
fn find(path: &Path) -> anyhow::Result<(String, Loaded, Option<Loaded>)> {
    if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npy")) {
        return Ok(("array".to_owned(), npz::load_npy(path)?, None));
    }
    let names = npz::names(path)?;
    let others: Vec<_> = names.iter().filter(|name| *name != "labels").collect();
    let name = match others[..] {
        _ if names.iter().any(|name| name == "images") => "images",
        [only] => only.as_str(),
        _ => bail!("it holds the arrays {}, none named `images`", names.join(", ")),
    };
    let labels = names.iter().any(|name| name == "labels");
    let labels = labels.then(|| npz::load(path, "labels")).transpose()?;
    Ok((name.to_owned(), npz::load(path, name)?, labels))
}

/// What an array of images is like.
#[derive(Clone, Copy)]
struct Shape {
    count: usize,
    height: usize,
    width: usize,
    channels: usize,
    /// Whether the channels stand before height and width.
    first: bool,
}

impl Shape {
    /// Where the value at this place is, for messages.
    fn place(self, at: usize) -> String {
        let pixels = self.height * self.width;
        let (image, within) = (at / (pixels * self.channels), at % (pixels * self.channels));
        let pixel = if self.first { within % pixels } else { within / self.channels };
        format!("image {image}, row {}, column {}", pixel / self.width, pixel % self.width)
    }
}

fn shape(shape: &[usize]) -> Option<Shape> {
    let of = |count, height, width, channels, first| {
        (height > 0 && width > 0).then_some(Shape { count, height, width, channels, first })
    };
    match *shape {
        [count, pixels] => {
            let side = pixels.isqrt();
            (side * side == pixels).then(|| of(count, side, side, 1, false)).flatten()
        }
        [count, height, width] => of(count, height, width, 1, false),
        // Rather grey images of 3 columns than coloured ones of a single row.
        [count, 1, height, width] if width != 1 => of(count, height, width, 1, true),
        [count, height, width, channels @ (1 | 3 | 4)] => of(count, height, width, channels, false),
        [count, channels @ (1 | 3 | 4), height, width] => of(count, height, width, channels, true),
        _ => None,
    }
}

fn bytes(values: Values, shape: Shape) -> anyhow::Result<Vec<u8>> {
    let byte = |(at, value): (usize, f64)| -> anyhow::Result<u8> {
        ensure!(value.is_finite(), "{} is not a number ({value})", shape.place(at));
        ensure!(
            (0.0..=1.0).contains(&value),
            "{} is {value}, but pixels given as floats run from 0 to 1",
            shape.place(at)
        );
        #[allow(clippy::cast_sign_loss, reason = "between 0 and 255")]
        Ok((value * 255.0).round() as u8)
    };
    match values {
        Values::U8(bytes) => Ok(bytes),
        Values::Bool(values) => Ok(values.into_iter().map(|v| if v { 255 } else { 0 }).collect()),
        Values::F32(values) => values.into_iter().map(f64::from).enumerate().map(byte).collect(),
        Values::F64(values) => values.into_iter().enumerate().map(byte).collect(),
        Values::I64(_) => bail!(
            "its numbers are int64: save images as uint8 from 0 to 255, as floats from 0 to 1, or as bool"
        ),
    }
}

/// The numbers in an array of labels.
fn numbers(labels: Loaded) -> anyhow::Result<Vec<i64>> {
    match labels.values {
        Values::U8(labels) => Ok(labels.into_iter().map(i64::from).collect()),
        Values::I64(labels) => Ok(labels),
        _ => bail!("the array `labels` must hold uint8 or int64"),
    }
}

/// Labels as classes.
///
/// # Errors
///
/// When one is none of those that are told apart.
pub(super) fn classes(labels: &[i64]) -> anyhow::Result<Vec<u8>> {
    let class = |(at, &label): (usize, &i64)| {
        let class = u8::try_from(label).ok().filter(|class| *class < CLASSES);
        class.with_context(|| {
            format!("label {at} is {label}, but labels run from 0 to {}", CLASSES - 1)
        })
    };
    labels.iter().enumerate().map(class).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use hvae_runtime::npz::{Array, save};

    use super::*;

    fn error(arrays: &[(&str, Array<'_>)]) -> String {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("set.npz");
        save(&path, arrays).unwrap();
        let message = format!("{:#}", read(&path).unwrap_err());
        assert!(message.contains("set.npz"), "{message}");
        message
    }

    #[test]
    fn images_of_every_form_are_read() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("set.npz");
        let bytes: Vec<u8> = (0..12).collect();
        for shape in [vec![2, 2, 3], vec![2, 2, 3, 1], vec![2, 1, 2, 3]] {
            save(&path, &[("anything", Array::U8 { shape, values: &bytes })]).unwrap();
            let set = read(&path).unwrap();
            assert_eq!((set.bytes(), set.height(), set.width()), (bytes.as_slice(), 2, 3));
        }
        let values = [0.0, 0.2, 0.5, 1.0];
        let images = Array::F32 { shape: vec![1, 4], values: &values };
        let labels = Array::I64 { shape: vec![1], values: &[7] };
        save(
            &path,
            &[
                ("images", images),
                ("labels", labels),
                ("more", Array::U8 { shape: vec![0], values: &[] }),
            ],
        )
        .unwrap();
        let set = read(&path).unwrap();
        assert_eq!(
            (set.bytes(), set.labels(), set.height()),
            ([0, 51, 128, 255].as_slice(), [7].as_slice(), 2)
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
    fn half_precision_and_truth_are_read() {
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
    fn unfit_arrays_are_told() {
        let one = |shape: &[usize], values| Array::F32 { shape: shape.to_vec(), values };
        let nan = [0.0, 1.0, 0.5, 0.25, 0.0, f32::NAN];
        assert!(
            error(&[("x", one(&[1, 2, 3], &nan))])
                .contains("image 0, row 1, column 2 is not a number")
        );
        assert!(
            error(&[("x", one(&[1, 2, 1], &[0.5, 1.5]))])
                .contains("image 0, row 1, column 0 is 1.5")
        );
        assert!(error(&[("x", one(&[3], &[0.0; 3]))]).contains("shape [3]"));
        assert!(error(&[("x", one(&[0, 2, 2], &[]))]).contains("no image"));
        assert!(
            error(&[("a", one(&[1, 1], &[0.0])), ("b", one(&[1, 1], &[0.0]))])
                .contains("none named `images`")
        );
        let labels = Array::U8 { shape: vec![2], values: &[1, 2] };
        assert!(
            error(&[("x", one(&[1, 1], &[0.0])), ("labels", labels)])
                .contains("2 labels for 1 images")
        );
        for (label, bytes) in [(300, None), (200, Some([200])), (-1, None)] {
            let labels = match &bytes {
                Some(values) => Array::U8 { shape: vec![1], values },
                None => Array::I64 { shape: vec![1], values: &[label] },
            };
            let message = error(&[("x", one(&[1, 1], &[0.0])), ("labels", labels)]);
            assert!(message.contains(&format!("label 0 is {label}, but")), "{message}");
        }
        let colour = Array::U8 { shape: vec![1, 2, 2, 3], values: &[0; 12] };
        assert!(error(&[("x", colour)]).contains("have colours"));
        let odd = Array::U8 { shape: vec![1, 2, 2, 2], values: &[0; 8] };
        assert!(error(&[("x", odd)]).contains("not that of images"));
    }

    #[test]
    fn files_that_are_no_archives_are_told() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("set.npz");
        std::fs::write(&path, "<html>").unwrap();
        assert!(format!("{:#}", read(&path).unwrap_err()).contains("set.npz"));
        save(&path, &[("x", Array::U8 { shape: vec![9, 9, 9], values: &[3; 729] })]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(format!("{:#}", read(&path).unwrap_err()).contains("set.npz"));
    }
}
