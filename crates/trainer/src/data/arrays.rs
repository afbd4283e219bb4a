//! Images in numpy's `.npz` and `.npy` files.

use std::path::Path;

use anyhow::{Context, bail, ensure};

use super::ImageSet;
use crate::npz::{self, Loaded, Values};

/// Reads the images of a `.npz` or `.npy` file.
///
/// A `.npz` holds them in the array `images`, or in its only one beside `labels`. Shapes: `[N, height,
/// width]`, `[N, height, width, 1]`, `[N, 1, height, width]`, or `[N, side^2]` for square images.
/// `uint8` runs from 0 to 255; floats from 0 to 1, rounded to that as pictures are. `labels`, whole
/// numbers from 0 to 9, are optional; without them every label is 0.
///
/// # Errors
///
/// When the file cannot be read, has no such array, or holds values outside that range or that are
/// not numbers; the message names file, image and pixel.
pub fn read(path: &Path) -> anyhow::Result<ImageSet> {
    read_as(path, find)
}

/// Reads the images of the array `images` of a `.npz` file, with the labels of the array `labels`.
///
/// # Errors
///
/// As [`read`].
pub fn read_named(path: &Path, images: &str, labels: Option<&str>) -> anyhow::Result<ImageSet> {
    read_as(path, |path| {
        let labels = labels.map(|name| npz::load(path, name)).transpose()?;
        Ok((images.to_owned(), npz::load(path, images)?, labels))
    })
}

fn read_as(
    path: &Path,
    find: impl Fn(&Path) -> anyhow::Result<(String, Loaded, Option<Loaded>)>,
) -> anyhow::Result<ImageSet> {
    let read = || {
        let (name, images, labels) = find(path)?;
        let [count, height, width] = shape(&images.shape).with_context(|| {
            format!(
                "the array `{name}` has the shape {:?}, which is not that of grey images",
                images.shape
            )
        })?;
        let bytes = bytes(images.values, height * width, width)
            .with_context(|| format!("the array `{name}`"))?;
        ensure!(count > 0, "the array `{name}` holds no image");
        let labels = labels.map_or_else(|| Ok(vec![0; count]), label_bytes)?;
        ensure!(labels.len() == count, "{} labels for {count} images", labels.len());
        ImageSet::new(bytes, labels, height, width)
    };
    read().with_context(|| format!("cannot use the images of {}", path.display()))
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

/// Count, height and width.
fn shape(shape: &[usize]) -> Option<[usize; 3]> {
    match *shape {
        [count, pixels] => {
            let side = pixels.isqrt();
            (side * side == pixels && side > 0).then_some([count, side, side])
        }
        [count, height, width] | [count, height, width, 1] | [count, 1, height, width] => {
            (height > 0 && width > 0).then_some([count, height, width])
        }
        _ => None,
    }
}

fn bytes(values: Values, pixels: usize, width: usize) -> anyhow::Result<Vec<u8>> {
    let place = |at: usize| {
        let pixel = at % pixels;
        format!("image {}, row {}, column {}", at / pixels, pixel / width, pixel % width)
    };
    let byte = |(at, value): (usize, f64)| -> anyhow::Result<u8> {
        ensure!(value.is_finite(), "{} is not a number ({value})", place(at));
        ensure!(
            (0.0..=1.0).contains(&value),
            "{} is {value}, but pixels given as floats run from 0 to 1",
            place(at)
        );
        #[allow(clippy::cast_sign_loss, reason = "between 0 and 255")]
        Ok((value * 255.0).round() as u8)
    };
    match values {
        Values::U8(bytes) => Ok(bytes),
        Values::F32(values) => values.into_iter().map(f64::from).enumerate().map(byte).collect(),
        Values::F64(values) => values.into_iter().enumerate().map(byte).collect(),
        Values::I64(_) => bail!("its numbers are int64; save images as uint8 or float32"),
    }
}

fn label_bytes(labels: Loaded) -> anyhow::Result<Vec<u8>> {
    match labels.values {
        Values::U8(labels) => Ok(labels),
        Values::I64(labels) => {
            let byte = |label: i64| u8::try_from(label).with_context(|| format!("label {label}"));
            labels.into_iter().map(byte).collect()
        }
        _ => bail!("the array `labels` must hold uint8 or int64"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use crate::npz::{Array, save};

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
        let colour = Array::U8 { shape: vec![1, 2, 2, 3], values: &[0; 12] };
        assert!(error(&[("x", colour)]).contains("not that of grey images"));
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
