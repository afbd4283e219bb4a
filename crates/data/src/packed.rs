//! Files that may be gzip, read with a limit on their uncompressed size.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Error, ErrorKind, Read};
use std::path::Path;

use anyhow::{Context, anyhow, ensure};
use flate2::bufread::GzDecoder;
use hvae_runtime::files;

/// Uncompressed bytes for each byte of gzip data, at its best ratio.
const BEST_RATIO: u64 = 1100;

/// Reads a file, plain or gzip, of at most `limit` uncompressed bytes.
pub(crate) fn read_file(path: &Path, limit: usize) -> anyhow::Result<Vec<u8>> {
    let read = || {
        // Gzip never makes a file much longer, so the limit holds for the compressed form, too.
        let bytes = read_at_most(files::open_regular(path)?, packed_limit(limit))?;
        unpack(bytes, limit)
    };
    read().with_context(|| format!("cannot read {}", path.display()))
}

/// Opens a file, plain or gzip. The number is that of its uncompressed bytes at most.
pub(crate) fn open(path: &Path) -> anyhow::Result<(Unpacked<BufReader<File>>, u64)> {
    let open = || {
        let file = files::open_regular(path)?;
        let length = file.metadata()?.len();
        let unpacked = Unpacked::new(BufReader::new(file))?;
        let packed = matches!(unpacked, Unpacked::Gzip(_));
        Ok::<_, Error>((unpacked, if packed { length.saturating_mul(BEST_RATIO) } else { length }))
    };
    open().with_context(|| format!("cannot read {}", path.display()))
}

/// The uncompressed bytes of plain or gzip data. Zeros may follow the end of the latter, but nothing
/// else.
#[derive(Debug)]
pub(crate) enum Unpacked<R> {
    Plain(R),
    Gzip(Box<GzDecoder<R>>),
    End,
}

impl<R: BufRead> Unpacked<R> {
    fn new(mut reader: R) -> io::Result<Self> {
        let packed = is_gzip(reader.fill_buf()?);
        Ok(if packed { Self::Gzip(Box::new(GzDecoder::new(reader))) } else { Self::Plain(reader) })
    }
}

impl<R: BufRead> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let decoder = match self {
            Self::End => return Ok(0),
            Self::Plain(reader) => return reader.read(buffer),
            Self::Gzip(decoder) => decoder,
        };
        let count = decoder.read(buffer)?;
        if count > 0 || buffer.is_empty() {
            return Ok(count);
        }
        let Self::Gzip(decoder) = std::mem::replace(self, Self::End) else { return Ok(0) };
        let mut rest = decoder.into_inner();
        if rest.fill_buf()?.first() == Some(&0x1f) {
            *self = Self::Gzip(Box::new(GzDecoder::new(rest)));
            return self.read(buffer);
        }
        loop {
            let block = rest.fill_buf()?;
            if block.iter().any(|byte| *byte != 0) {
                let message = "something else follows the end of its gzip data";
                return Err(Error::new(ErrorKind::InvalidData, message));
            }
            match block.len() {
                0 => return Ok(0),
                length => rest.consume(length),
            }
        }
    }
}

/// The length of a file of `limit` bytes as gzip, at most.
pub(crate) fn packed_limit(limit: usize) -> usize {
    limit.saturating_add(limit / 1000).saturating_add(1024)
}

/// Whether the bytes are gzip data.
pub(crate) fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// Decompresses gzip data; other bytes are returned unchanged.
pub(crate) fn unpack(bytes: Vec<u8>, limit: usize) -> anyhow::Result<Vec<u8>> {
    if is_gzip(&bytes) {
        return read_at_most(Unpacked::new(bytes.as_slice())?, limit).context("damaged gzip data");
    }
    ensure!(bytes.len() <= limit, "it has more than the {limit} bytes expected");
    Ok(bytes)
}

/// Reads to the end, but refuses more than `limit` bytes.
pub(crate) fn read_at_most(reader: impl Read, limit: usize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let room = u64::try_from(limit)?.saturating_add(1);
    let read = reader.take(room).read_to_end(&mut bytes);
    read.map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => anyhow!(error).context("the data are truncated"),
        _ => error.into(),
    })?;
    ensure!(bytes.len() <= limit, "it has more than the {limit} bytes expected");
    Ok(bytes)
}

/// What the bytes look like, for error messages.
pub(crate) fn describe(bytes: &[u8]) -> String {
    let text = bytes.trim_ascii_start();
    let known = match bytes {
        [] => "an empty file",
        _ if text.starts_with(b"<") => "a web page",
        [0x89, b'P', b'N', b'G', ..] => "a PNG picture",
        [b'P', b'K', 3, 4, ..] => "a zip archive",
        [0x1f, 0x8b, ..] => "gzip data",
        [0, 0, 8, 1, ..] => "an IDX file of labels",
        [0, 0, 8, 3, ..] => "an IDX file of images",
        _ => {
            let start = &bytes[..bytes.len().min(4)];
            return format!("a file of another kind that begins with {start:02x?}");
        }
    };
    known.to_owned()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    const BYTES: &[u8] = b"some bytes, some bytes and some more";

    pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn plain_and_packed_files_read_the_same() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        for bytes in [BYTES.to_vec(), gzip(BYTES)] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(read_file(&path, BYTES.len()).unwrap(), BYTES);
            let message = format!("{:#}", read_file(&path, BYTES.len() - 1).unwrap_err());
            assert!(message.contains("more than") && message.contains("file"), "{message}");
        }
    }

    #[test]
    fn damaged_gzip_is_an_error() {
        let whole = gzip(BYTES);
        for end in 2..whole.len() {
            assert!(unpack(whole[..end].to_vec(), 1000).is_err(), "{end}");
        }
        let mut altered = whole.clone();
        *altered.last_mut().unwrap() ^= 1;
        assert!(unpack(altered, 1000).is_err());
        let followed = |by: &[u8]| unpack([&whole, by].concat(), 1000);
        let message = format!("{:#}", followed(b"more").unwrap_err());
        assert!(message.contains("something else follows the end"), "{message}");
        assert!(followed(&[&[0; 99][..], b"x"].concat()).is_err());
        // As tapes and some servers leave them.
        assert_eq!(followed(&[0; 99]).unwrap(), BYTES);
        assert_eq!(followed(&whole).unwrap(), [BYTES, BYTES].concat());
    }

    #[test]
    fn a_gzip_bomb_stops_at_the_limit() {
        let message = format!("{:#}", unpack(gzip(&vec![0; 1 << 20]), 1000).unwrap_err());
        assert!(message.contains("more than the 1000 bytes"), "{message}");
    }
}
