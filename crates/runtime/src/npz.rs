//! Arrays in an `.npz` archive, as `numpy.load` reads and `numpy.savez` writes it.

use std::{
    collections::HashSet, fs::File, io::BufReader, io::Read, io::Seek, io::Write,
    mem::ManuallyDrop, path::Path,
};

use anyhow::{Context, bail, ensure};
use half::f16;
use npyz::npz::{NpzArchive, NpzWriter};
use npyz::zip::{CompressionMethod, DateTime, write::FileOptions};
use npyz::{DType, Endianness, NpyFile, Order, TypeChar, WriterBuilder};

use crate::files;

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

/// An array read from a file: its values in row-major order and its shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The length of each axis.
    pub shape: Vec<usize>,
    /// As many values as the shape holds.
    pub values: Values,
}

/// The values of an array, in the type of the file except for `float16`.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// `bool`.
    Bool(Vec<bool>),
    /// `float32`, or `float16`, which it holds exactly.
    F32(Vec<f32>),
    /// `float64`.
    F64(Vec<f64>),
    /// `uint8`.
    U8(Vec<u8>),
    /// `int64`.
    I64(Vec<i64>),
}

/// The names of the arrays in the `.npz` file `path`, sorted.
pub fn names(path: &Path) -> anyhow::Result<Vec<String>> {
    let mut names: Vec<_> = open(path)?.array_names().map(str::to_owned).collect();
    names.sort();
    Ok(names)
}

/// Reads the array `name` of the `.npz` file `path`, compressed or not.
pub fn load(path: &Path, name: &str) -> anyhow::Result<Loaded> {
    let limit = unpacked_limit(path)?;
    let mut archive = open(path)?;
    let mut read = || {
        let array = archive.by_name(name)?.context("it does not exist")?;
        parse(array, limit)
    };
    read().with_context(|| format!("the array `{name}` of {}", path.display()))
}

/// Reads the `.npy` file `path`.
pub fn load_npy(path: &Path) -> anyhow::Result<Loaded> {
    let limit = unpacked_limit(path)?;
    let read = || parse(NpyFile::new(BufReader::new(File::open(path)?))?, limit);
    read().with_context(|| format!("cannot read {}", path.display()))
}

fn open(path: &Path) -> anyhow::Result<NpzArchive<BufReader<File>>> {
    NpzArchive::open(path).with_context(|| format!("cannot read {} as a .npz", path.display()))
}

/// Uncompressed bytes that a file of this length can hold at most, at the best compression ratio.
fn unpacked_limit(path: &Path) -> anyhow::Result<u64> {
    let length = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()));
    Ok(length?.len().saturating_mul(1100))
}

/// `limit` is what the file can hold, so that a wrong header cannot claim all memory.
fn parse<R: Read>(array: NpyFile<R>, limit: u64) -> anyhow::Result<Loaded> {
    let shape: Vec<usize> =
        array.shape().iter().map(|&axis| usize::try_from(axis)).collect::<Result<_, _>>()?;
    let DType::Plain(kind) = array.dtype() else { bail!("it holds records, not numbers") };
    let bytes = shape
        .iter()
        .try_fold(kind.size_field(), |bytes, &axis| bytes.checked_mul(axis as u64))
        .filter(|bytes| *bytes <= limit);
    ensure!(bytes.is_some(), "its shape {shape:?} requires more than the file holds");
    // The order of an axis of length 1 does not matter.
    let ordered = array.order() == Order::C || shape.iter().filter(|axis| **axis > 1).count() < 2;
    ensure!(ordered, "it is in Fortran order; save it with numpy.ascontiguousarray");
    let values = match (kind.type_char(), kind.size_field()) {
        (TypeChar::Bool, _) => Values::Bool(array.into_vec()?),
        (TypeChar::Float, 2) => Values::F32(halves(array, kind.endianness())?),
        (TypeChar::Float, 4) => Values::F32(array.into_vec()?),
        (TypeChar::Float, 8) => Values::F64(array.into_vec()?),
        (TypeChar::Uint, 1) => Values::U8(array.into_vec()?),
        (TypeChar::Int, 8) => Values::I64(array.into_vec()?),
        _ => bail!(
            "its type {kind} is not one of bool, uint8, int64, float16, float32 and float64; \
             convert it with numpy's `astype`"
        ),
    };
    Ok(Loaded { shape, values })
}

/// Half-precision numbers, exactly, in single precision.
fn halves<R: Read>(array: NpyFile<R>, order: Endianness) -> anyhow::Result<Vec<f32>> {
    let mut bytes = vec![0; 2 * usize::try_from(array.len())?];
    array.into_inner().read_exact(&mut bytes)?;
    let big = order == Endianness::Big;
    let number = if big { f16::from_be_bytes } else { f16::from_le_bytes };
    Ok(bytes.as_chunks().0.iter().map(|&pair| number(pair).to_f32()).collect())
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
