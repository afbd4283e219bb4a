//! Files that may be gzip, read with a limit on their uncompressed size.

use std::{fs::File, io::ErrorKind, io::Read, path::Path};

use anyhow::{Context, anyhow, ensure};
use flate2::read::MultiGzDecoder;

/// Reads a file, plain or gzip, of at most `limit` uncompressed bytes.
pub(crate) fn read_file(path: &Path, limit: usize) -> anyhow::Result<Vec<u8>> {
    let read = || {
        // Gzip never makes a file much longer, so the limit holds for the compressed form, too.
        let bytes = read_at_most(File::open(path)?, packed_limit(limit))?;
        unpack(bytes, limit)
    };
    read().with_context(|| format!("cannot read {}", path.display()))
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
        return read_at_most(MultiGzDecoder::new(bytes.as_slice()), limit)
            .context("damaged gzip data");
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
        assert!(unpack([whole, b"more".to_vec()].concat(), 1000).is_err());
    }

    #[test]
    fn a_gzip_bomb_stops_at_the_limit() {
        let message = format!("{:#}", unpack(gzip(&vec![0; 1 << 20]), 1000).unwrap_err());
        assert!(message.contains("more than the 1000 bytes"), "{message}");
    }
}
