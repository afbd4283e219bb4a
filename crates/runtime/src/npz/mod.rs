//! Arrays in an `.npz` archive, as `numpy.load` reads and `numpy.savez` writes it.

mod header;
mod read;

use std::{collections::HashSet, io::Seek, io::Write, mem::ManuallyDrop, path::Path};

use anyhow::{Context, ensure};
use npyz::WriterBuilder;
use npyz::npz::NpzWriter;
use npyz::zip::{CompressionMethod, DateTime, write::FileOptions};

use crate::files;

pub use header::{Header, Kind, Unsupported};
pub use read::{Loaded, Rows, Values, load, load_npy, names, numbers, read};

/// Arrays above this size need the large-file form of the archive.
const LARGE_BYTES: usize = 1 << 31;

/// An array to be saved: the length of each axis, and its values in row-major order.
#[derive(Debug, Clone)]
pub enum Array<'a> {
    /// Single-precision numbers, `float32` in Python.
    F32(Vec<usize>, &'a [f32]),
    /// Double-precision numbers, `float64` in Python.
    F64(Vec<usize>, &'a [f64]),
    /// Bytes, `uint8` in Python.
    U8(Vec<usize>, &'a [u8]),
    /// Whole numbers, `int64` in Python.
    I64(Vec<usize>, &'a [i64]),
}

/// Saves named arrays in the `.npz` file `path`, completely or not at all.
///
/// A name is what `numpy.load(path)[name]` takes: letters, digits, `_`, `-` and `.`. Equal arrays
/// give equal files.
pub fn save(path: &Path, arrays: &[(&str, Array<'_>)]) -> anyhow::Result<()> {
    check_names(arrays).with_context(|| format!("cannot write {}", path.display()))?;
    files::write_atomically(path, |file| {
        // After an error the archive is not dropped: it would try again, and print that it failed.
        let mut archive = ManuallyDrop::new(NpzWriter::new(file));
        for (name, array) in arrays {
            let appended = match array {
                Array::F32(shape, values) => append(&mut archive, name, shape, values),
                Array::F64(shape, values) => append(&mut archive, name, shape, values),
                Array::U8(shape, values) => append(&mut archive, name, shape, values),
                Array::I64(shape, values) => append(&mut archive, name, shape, values),
            };
            appended.with_context(|| format!("the array `{name}`"))?;
        }
        archive.zip_writer().finish()?;
        drop(ManuallyDrop::into_inner(archive));
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

/// Uncompressed and without a time, so that equal arrays give equal bytes.
fn entry_options(bytes: usize) -> FileOptions {
    FileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .large_file(bytes >= LARGE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGES: [f32; 6] = [0.0, -1.5, f32::MIN_POSITIVE, 3.25, f32::MAX, 6.0];

    fn example() -> [(&'static str, Array<'static>); 3] {
        [
            ("images", Array::F32(vec![2, 3], &IMAGES)),
            ("labels", Array::U8(vec![4], &[0, 7, 9, 255])),
            ("steps", Array::I64(vec![1, 2], &[i64::MIN, 5])),
        ]
    }

    #[test]
    fn arrays_survive_the_round_trip_and_equal_ones_give_equal_files() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("arrays.npz");
        save(&path, &example()).unwrap();
        assert_eq!(names(&path).unwrap(), ["images", "labels", "steps"]);
        for (name, shape, values) in [
            ("images", vec![2, 3], Values::F32(IMAGES.to_vec())),
            ("labels", vec![4], Values::U8(vec![0, 7, 9, 255])),
            ("steps", vec![1, 2], Values::I64(vec![i64::MIN, 5])),
        ] {
            assert_eq!(load(&path, name).unwrap(), Loaded { shape, values });
        }
        let again = root.path().join("again.npz");
        save(&again, &example()).unwrap();
        assert_eq!(std::fs::read(path).unwrap(), std::fs::read(again).unwrap());
    }

    #[test]
    fn mistakes_are_refused_and_leave_the_old_file() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("arrays.npz");
        save(&path, &example()).unwrap();
        let before = std::fs::read(&path).unwrap();
        let one = |shape: &[usize]| Array::U8(shape.to_vec(), &[1, 2, 3]);
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
