//! Arrays in an `.npz` archive, as `numpy.load` reads them.

use std::collections::HashSet;
use std::io::{Seek, Write};
use std::path::Path;

use anyhow::{Context, ensure};
use npyz::WriterBuilder;
use npyz::npz::NpzWriter;
use npyz::zip::{CompressionMethod, DateTime, write::FileOptions};

use crate::files;

/// Arrays above this size need the large-file form of the archive.
const LARGE_BYTES: usize = 1 << 31;

/// An array to be saved: its values in row-major order and its shape.
#[derive(Debug, Clone)]
pub enum Array<'a> {
    /// Single-precision numbers, `float32` in Python.
    F32 {
        /// The length of each axis.
        shape: Vec<usize>,
        /// As many values as the shape holds.
        values: &'a [f32],
    },
    /// Bytes, `uint8` in Python.
    U8 {
        /// The length of each axis.
        shape: Vec<usize>,
        /// As many values as the shape holds.
        values: &'a [u8],
    },
    /// Whole numbers, `int64` in Python.
    I64 {
        /// The length of each axis.
        shape: Vec<usize>,
        /// As many values as the shape holds.
        values: &'a [i64],
    },
}

/// Saves named arrays in the `.npz` file `path`, whole or not at all.
///
/// A name is what `numpy.load(path)[name]` takes. Equal arrays give equal files.
///
/// # Errors
///
/// When a name is empty, repeated or holds anything but letters, digits, `_`, `-` and `.`, when a
/// shape does not match its values, or when the file cannot be written.
pub fn save(path: &Path, arrays: &[(&str, Array<'_>)]) -> anyhow::Result<()> {
    check_names(arrays).with_context(|| format!("cannot write {}", path.display()))?;
    files::write_atomically(path, |file| {
        let mut archive = NpzWriter::new(file);
        for (name, array) in arrays {
            array.append(&mut archive, name).with_context(|| format!("the array `{name}`"))?;
        }
        archive.zip_writer().finish()?;
        Ok(())
    })
}

fn check_names(arrays: &[(&str, Array<'_>)]) -> anyhow::Result<()> {
    let mut seen = HashSet::new();
    for (name, _) in arrays {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        ensure!(
            !name.is_empty() && name.chars().all(plain),
            "the array name `{name}` may hold letters, digits, `_`, `-` and `.` only"
        );
        ensure!(seen.insert(name), "two arrays are named `{name}`");
    }
    Ok(())
}

impl Array<'_> {
    fn append<W: Write + Seek>(
        &self,
        archive: &mut NpzWriter<W>,
        name: &str,
    ) -> anyhow::Result<()> {
        match self {
            Self::F32 { shape, values } => append(archive, name, shape, values),
            Self::U8 { shape, values } => append(archive, name, shape, values),
            Self::I64 { shape, values } => append(archive, name, shape, values),
        }
    }
}

fn append<W: Write + Seek, T: npyz::AutoSerialize + Copy>(
    archive: &mut NpzWriter<W>,
    name: &str,
    shape: &[usize],
    values: &[T],
) -> anyhow::Result<()> {
    let room = shape.iter().try_fold(1_usize, |room, axis| room.checked_mul(*axis));
    ensure!(
        room == Some(values.len()),
        "its shape {shape:?} does not hold its {} values",
        values.len()
    );
    let axes: Vec<u64> = shape.iter().map(|axis| *axis as u64).collect();
    let mut writer = archive
        .array(name, entry_options(size_of_val(values)))?
        .default_dtype()
        .shape(&axes)
        .begin_nd()?;
    writer.extend(values.iter().copied())?;
    writer.finish()?;
    Ok(())
}

/// Uncompressed and without the time of day, so that the same arrays give the same bytes.
fn entry_options(bytes: usize) -> FileOptions {
    FileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .large_file(bytes >= LARGE_BYTES)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use npyz::npz::NpzArchive;

    use super::*;

    fn example() -> [(&'static str, Array<'static>); 3] {
        const IMAGES: &[f32] = &[0.0, -1.5, f32::MIN_POSITIVE, 3.25, f32::MAX, 6.0];
        [
            ("images", Array::F32 { shape: vec![2, 3], values: IMAGES }),
            ("labels", Array::U8 { shape: vec![4], values: &[0, 7, 9, 255] }),
            ("steps", Array::I64 { shape: vec![1, 2], values: &[i64::MIN, 5] }),
        ]
    }

    #[test]
    fn arrays_survive_the_round_trip() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("arrays.npz");
        save(&path, &example()).unwrap();
        let mut archive = NpzArchive::open(&path).unwrap();
        let mut names: Vec<_> = archive.array_names().map(String::from).collect();
        names.sort();
        assert_eq!(names, ["images", "labels", "steps"]);

        let images = archive.by_name("images").unwrap().unwrap();
        assert_eq!(images.shape(), [2, 3]);
        let bits: Vec<u32> =
            images.into_vec::<f32>().unwrap().iter().map(|value| value.to_bits()).collect();
        let expected = [0.0, -1.5, f32::MIN_POSITIVE, 3.25, f32::MAX, 6.0].map(f32::to_bits);
        assert_eq!(bits, expected);
        let labels = archive.by_name("labels").unwrap().unwrap();
        assert_eq!(labels.into_vec::<u8>().unwrap(), [0, 7, 9, 255]);
        let steps = archive.by_name("steps").unwrap().unwrap();
        assert_eq!(steps.shape(), [1, 2]);
        assert_eq!(steps.into_vec::<i64>().unwrap(), [i64::MIN, 5]);
    }

    #[test]
    fn equal_arrays_give_equal_files() {
        let root = tempfile::tempdir().unwrap();
        let (first, second) = (root.path().join("a.npz"), root.path().join("b.npz"));
        save(&first, &example()).unwrap();
        save(&second, &example()).unwrap();
        assert_eq!(std::fs::read(first).unwrap(), std::fs::read(second).unwrap());
    }

    #[test]
    fn mistakes_are_refused_and_leave_the_old_file() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("arrays.npz");
        save(&path, &example()).unwrap();
        let before = std::fs::read(&path).unwrap();
        let one = |shape: &[usize]| Array::U8 { shape: shape.to_vec(), values: &[1, 2, 3] };
        for (arrays, reason) in [
            (vec![("x", one(&[3])), ("x", one(&[3]))], "two arrays"),
            (vec![("", one(&[3]))], "letters"),
            (vec![("../x", one(&[3]))], "letters"),
            (vec![("x", one(&[2]))], "shape [2]"),
            (vec![("x", one(&[usize::MAX, 2]))], "does not hold"),
        ] {
            let message = format!("{:#}", save(&path, &arrays).unwrap_err());
            assert!(message.contains(reason) && message.contains("arrays.npz"), "{message}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}
