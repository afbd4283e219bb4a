//! The header of an array: its type, its order and the length of each axis.

use std::io::Read;

use anyhow::{Context, Result, bail, ensure};

/// Bytes of a header at most, as numpy allows.
const MAX_BYTES: usize = 10_000;
/// Axes at most, as numpy allows.
const MAX_AXES: usize = 64;

/// The type of the values of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `bool`.
    Bool,
    /// `int8` to `int64`, of this many bytes.
    Int(usize),
    /// `uint8` to `uint64`.
    Uint(usize),
    /// `float16` to `float64`.
    Float(usize),
    /// Text of at most this many bytes (`S`).
    Bytes(usize),
    /// Text of at most this many characters of four bytes (`U`).
    Text(usize),
}

impl Kind {
    /// Bytes of a value.
    pub fn size(self) -> usize {
        match self {
            Self::Bool => 1,
            Self::Int(size) | Self::Uint(size) | Self::Float(size) | Self::Bytes(size) => size,
            Self::Text(characters) => 4 * characters,
        }
    }

    /// Bytes whose order the machine that wrote the array chose.
    pub(super) fn word(self) -> usize {
        match self {
            Self::Bytes(_) => 1,
            Self::Text(_) => 4,
            other => other.size(),
        }
    }

    fn parse(descr: &str) -> Result<Self> {
        let name = descr.trim_start_matches(['<', '>', '|', '=']);
        let letter = name.chars().next().unwrap_or_default();
        let size = name.get(1..).and_then(|size| size.parse::<u32>().ok()).unwrap_or(0) as usize;
        Ok(match (letter, size) {
            ('b', 1) => Self::Bool,
            ('i', 1 | 2 | 4 | 8) => Self::Int(size),
            ('u', 1 | 2 | 4 | 8) => Self::Uint(size),
            ('f', 2 | 4 | 8) => Self::Float(size),
            ('S', 1..=4096) => Self::Bytes(size),
            ('U', 1..=4096) => Self::Text(size),
            ('O', _) => bail!(Unsupported(
                "it holds pickled Python objects, which are never loaded: save it as numbers, as \
                 numpy.stack of a list of arrays gives them"
                    .to_owned()
            )),
            _ => bail!(Unsupported(format!(
                "its type `{descr}` is none of bool, integers, float16 to float64 and text; \
                 convert it with numpy's `astype`"
            ))),
        })
    }
}

/// The error for an array whose values are of a type that is not read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(String);

/// What a file says about an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The length of each axis.
    pub shape: Vec<usize>,
    /// The type of its values.
    pub kind: Kind,
    /// Whether the first byte of a value is its highest.
    pub(super) big_endian: bool,
    /// Whether the first axis runs fastest and this matters.
    pub(super) fortran: bool,
    /// Bytes of the header itself.
    pub(super) length: u64,
}

impl Header {
    /// Number of values.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes of a row, that is, of what has one index on the first axis.
    pub fn row_bytes(&self) -> usize {
        self.shape.iter().skip(1).product::<usize>() * self.kind.size()
    }

    /// Bytes of all values.
    pub(super) fn bytes(&self) -> u64 {
        self.count() as u64 * self.kind.size() as u64
    }

    pub(super) fn read(reader: &mut dyn Read) -> Result<Self> {
        let mut start = [0; 8];
        reader.read_exact(&mut start).context("its header is cut off")?;
        ensure!(start.starts_with(b"\x93NUMPY"), "it is not an array as numpy saves it");
        let mut length = [0; 4];
        let prefix = match start[6] {
            1 => 2,
            2 | 3 => 4,
            version => bail!("version {version} of numpy's format is not known"),
        };
        reader.read_exact(&mut length[..prefix]).context("its header is cut off")?;
        let length = u32::from_le_bytes(length) as usize;
        ensure!(length <= MAX_BYTES, "its header of {length} bytes is too long");
        let mut text = vec![0; length];
        reader.read_exact(&mut text).context("its header is cut off")?;
        let text = String::from_utf8(text).context("its header is damaged")?;
        Self::parse(&text, (start.len() + prefix + length) as u64)
    }

    fn parse(text: &str, length: u64) -> Result<Self> {
        let descr = value(text, "descr")?;
        if descr.starts_with('[') {
            bail!(Unsupported("it holds records, not numbers".to_owned()));
        }
        let quote = descr.chars().next().filter(|quote| "'\"".contains(*quote));
        let descr = quote.and_then(|quote| descr[1..].split(quote).next());
        let descr = descr.context("its header is damaged: its type cannot be read")?;
        let order = value(text, "fortran_order")?;
        let fortran = order.starts_with("True");
        ensure!(fortran || order.starts_with("False"), "its header is damaged: no order of axes");
        let axes = value(text, "shape")?.strip_prefix('(').and_then(|axes| axes.split(')').next());
        let axes = axes.context("its header is damaged: its shape cannot be read")?;
        let axes = axes.split(',').map(str::trim).filter(|axis| !axis.is_empty());
        let shape: Vec<usize> = axes
            .map(|axis| axis.trim_end_matches('L').parse())
            .collect::<Result<_, _>>()
            .with_context(|| format!("its header is damaged: `{text}`"))?;
        ensure!(shape.len() <= MAX_AXES, "it has {} axes", shape.len());
        let kind = Kind::parse(descr)?;
        // Also for arrays without values, whose other axes may claim anything.
        let product = |total: usize, axis: usize| total.checked_mul(axis.max(1));
        ensure!(
            shape.iter().copied().try_fold(kind.size(), product).is_some(),
            "its shape {shape:?} is impossible"
        );
        // The order of an axis of length 1 does not matter.
        let fortran = fortran && shape.iter().filter(|axis| **axis > 1).count() > 1;
        Ok(Self { shape, kind, big_endian: descr.starts_with('>'), fortran, length })
    }
}

/// What follows `'key':` in the text of a header.
fn value<'a>(text: &'a str, key: &str) -> Result<&'a str> {
    let found = ['\'', '"'].iter().find_map(|quote| {
        let (_, rest) = text.split_once(&format!("{quote}{key}{quote}"))?;
        rest.trim_start().strip_prefix(':')
    });
    found.map(str::trim_start).with_context(|| format!("its header is damaged: no `{key}`"))
}
