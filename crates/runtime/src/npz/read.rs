//! Reading of arrays row by row, so that memory is taken for what is kept only.

use std::{fs::File, io::BufReader, io::Read, path::Path};

use anyhow::{Context, Result, bail, ensure};
use half::f16;
use npyz::zip::{CompressionMethod, ZipArchive};

use super::header::{Header, Kind};
use crate::{files, memory};

/// Uncompressed bytes for each byte of a file, at the best ratio of its compression.
const BEST_RATIO: u64 = 1100;
/// Bytes that are read at a time.
const BLOCK: usize = 1 << 16;

/// An array read from a file: its values in row-major order and its shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The length of each axis.
    pub shape: Vec<usize>,
    /// As many values as the shape holds.
    pub values: Values,
}

/// The values of an array.
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
    /// Any other integers.
    I64(Vec<i64>),
    /// Text, of Unicode characters or bytes.
    Text(Vec<String>),
}

/// The names of the arrays in the `.npz` file `path`, sorted.
pub fn names(path: &Path) -> Result<Vec<String>> {
    let archive = open(path)?;
    let arrays = archive.file_names().filter_map(|name| name.strip_suffix(".npy"));
    let mut names: Vec<_> = arrays.map(str::to_owned).collect();
    names.sort();
    Ok(names)
}

/// Reads the array `name` of the `.npz` file `path`, compressed or not.
pub fn load(path: &Path, name: &str) -> Result<Loaded> {
    read(path, Some(name), all)
}

/// Reads the `.npy` file `path`.
pub fn load_npy(path: &Path) -> Result<Loaded> {
    read(path, None, all)
}

/// Gives the array `name` of the `.npz` file `path`, or the array of a `.npy`, to `act`, which need
/// not read all of it. The checksum is verified in any case; errors name file and array.
pub fn read<T>(
    path: &Path,
    name: Option<&str>,
    act: impl FnOnce(&mut Rows<'_>) -> Result<T>,
) -> Result<T> {
    let Some(name) = name else {
        let read = || {
            let file = files::open_regular(path)?;
            let length = file.metadata()?.len();
            finish(&mut BufReader::with_capacity(BLOCK, file), length, act)
        };
        return read().with_context(|| format!("cannot read {}", path.display()));
    };
    let read = || {
        let mut archive = open(path)?;
        let entry = format!("{name}.npy");
        ensure!(archive.file_names().any(|found| found == entry), "it does not exist");
        let mut entry = archive.by_name(&entry)?;
        let (size, packed, method) = (entry.size(), entry.compressed_size(), entry.compression());
        let possible = match method {
            CompressionMethod::Stored => packed,
            CompressionMethod::Deflated => packed.saturating_mul(BEST_RATIO),
            _ => bail!("its compression is neither that of numpy.savez nor of savez_compressed"),
        };
        let within = packed <= std::fs::metadata(path)?.len();
        ensure!(size <= possible && within, "it claims {size} bytes, more than the file holds");
        finish(&mut entry, size, act)
    };
    read().with_context(|| format!("the array `{name}` of {}", path.display()))
}

fn open(path: &Path) -> Result<ZipArchive<BufReader<File>>> {
    let open = || -> Result<_> {
        let file = BufReader::with_capacity(BLOCK, files::open_regular(path)?);
        Ok(ZipArchive::new(file)?)
    };
    open().with_context(|| format!("cannot read {} as a .npz", path.display()))
}

/// Lets `act` read from an array of `size` bytes, and then the rest, as checksums are known only at
/// the end.
fn finish<T>(
    reader: &mut dyn Read,
    size: u64,
    act: impl FnOnce(&mut Rows<'_>) -> Result<T>,
) -> Result<T> {
    let header = Header::read(reader)?;
    let (shape, needed) = (&header.shape, header.bytes().saturating_add(header.length));
    ensure!(needed <= size, "its shape {shape:?} requires {needed} bytes, but it holds {size}");
    ensure!(
        needed == size,
        "its shape {shape:?} requires {needed} bytes, but it holds {size}: something else follows"
    );
    let mut rows = Rows { header, left: 0, reader, whole: None };
    // Rows without values have no end that a file could bound.
    let empty = rows.header.count() == 0;
    rows.left = if empty { 0 } else { rows.header.shape.first().copied().unwrap_or(1) };
    let result = act(&mut rows)?;
    let Rows { reader, .. } = rows;
    let mut block = vec![0; BLOCK];
    while reader.read(&mut block).context("its data are damaged")? > 0 {}
    Ok(result)
}

/// The rows of an array that are still to be read.
#[allow(missing_debug_implementations, reason = "a reader has no contents to show")]
pub struct Rows<'a> {
    header: Header,
    left: usize,
    reader: &'a mut dyn Read,
    /// All data of an array in Fortran order, in the order of the file.
    whole: Option<Vec<u8>>,
}

impl Rows<'_> {
    /// Shape and type of the array.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next row: its values in row-major order, lowest byte first; `None` after the last.
    pub fn next_row(&mut self) -> Result<Option<Vec<u8>>> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut row = zeros(self.header.row_bytes())?;
        if self.header.fortran {
            self.gather(&mut row)?;
        } else {
            self.reader.read_exact(&mut row).context("its data are damaged or cut off")?;
        }
        self.left -= 1;
        let word = self.header.kind.word();
        if self.header.big_endian && word > 1 {
            row.chunks_exact_mut(word).for_each(<[u8]>::reverse);
        }
        Ok(Some(row))
    }

    /// The row that is next, from an array in Fortran order.
    fn gather(&mut self, row: &mut [u8]) -> Result<()> {
        let (shape, size) = (&self.header.shape, self.header.kind.size());
        if self.whole.is_none() {
            let mut whole = zeros(usize::try_from(self.header.bytes())?)?;
            self.reader.read_exact(&mut whole).context("its data are damaged or cut off")?;
            self.whole = Some(whole);
        }
        let whole = self.whole.as_deref().unwrap_or_default();
        let mut index = vec![0; shape.len()];
        index[0] = shape[0] - self.left;
        for value in row.chunks_exact_mut(size) {
            let at = index.iter().zip(shape).rev().fold(0, |at, (i, length)| at * length + i);
            value.copy_from_slice(&whole[at * size..][..size]);
            for axis in (1..shape.len()).rev() {
                index[axis] += 1;
                if index[axis] < shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        Ok(())
    }

    fn values<T>(&mut self, count: usize, of: impl Fn(&[u8]) -> T) -> Result<Vec<T>> {
        let mut values = memory::reserve(count)?;
        while let Some(row) = self.next_row()? {
            values.extend(row.chunks_exact(self.header.kind.size()).map(&of));
        }
        Ok(values)
    }
}

/// All that is left of an array.
fn all(rows: &mut Rows<'_>) -> Result<Loaded> {
    let count = rows.header.count();
    let values = match rows.header.kind {
        Kind::Bool => Values::Bool(rows.values(count, |v| v.first() != Some(&0))?),
        Kind::Uint(1) => Values::U8(rows.values(count, |v| v[0])?),
        Kind::Uint(8) => {
            let numbers = rows.values(count, |v| u64::from_le_bytes(word(v)))?;
            let small = numbers.iter().all(|&number| i64::try_from(number).is_ok());
            ensure!(small, "it holds numbers above {}", i64::MAX);
            Values::I64(numbers.into_iter().map(|number| number as i64).collect())
        }
        Kind::Int(_) | Kind::Uint(_) => {
            let kind = rows.header.kind;
            Values::I64(rows.values(count, |v| integer(kind, v))?)
        }
        Kind::Float(2) => {
            Values::F32(rows.values(count, |v| f16::from_le_bytes(word(v)).to_f32())?)
        }
        Kind::Float(4) => Values::F32(rows.values(count, |v| f32::from_le_bytes(word(v)))?),
        Kind::Float(_) => Values::F64(rows.values(count, |v| f64::from_le_bytes(word(v)))?),
        Kind::Bytes(_) => Values::Text(rows.values(count, |v| text(v.iter().copied()))?),
        Kind::Text(_) => Values::Text(rows.values(count, unicode)?),
    };
    Ok(Loaded { shape: rows.header.shape.clone(), values })
}

/// The numbers of a row, whose bytes come lowest first. Text has none.
pub fn numbers(row: &[u8], kind: Kind) -> impl Iterator<Item = f64> + '_ {
    let number = move |bytes: &[u8]| match kind {
        Kind::Float(2) => f16::from_le_bytes(word(bytes)).into(),
        Kind::Float(4) => f32::from_le_bytes(word(bytes)).into(),
        Kind::Float(_) => f64::from_le_bytes(word(bytes)),
        Kind::Uint(8) => u64::from_le_bytes(word(bytes)) as f64,
        _ => integer(kind, bytes) as f64,
    };
    let size =
        if matches!(kind, Kind::Bytes(_) | Kind::Text(_)) { usize::MAX } else { kind.size() };
    row.chunks_exact(size).map(number)
}

/// A whole number of at most eight bytes.
fn integer(kind: Kind, bytes: &[u8]) -> i64 {
    let negative = matches!(kind, Kind::Int(_)) && bytes.last().is_some_and(|high| high & 0x80 > 0);
    let mut word = [if negative { 0xff } else { 0 }; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(word)
}

fn word<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}

/// Text up to the zeros that fill it up.
fn text(bytes: impl Iterator<Item = u8>) -> String {
    let bytes: Vec<u8> = bytes.collect();
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn unicode(bytes: &[u8]) -> String {
    let codes = bytes.as_chunks::<4>().0.iter().map(|code| u32::from_le_bytes(*code));
    let text: String =
        codes.map(|code| char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    text.trim_end_matches('\0').to_owned()
}

/// `length` zeros.
fn zeros(length: usize) -> Result<Vec<u8>> {
    let mut bytes = memory::reserve(length)?;
    bytes.resize(length, 0);
    Ok(bytes)
}
