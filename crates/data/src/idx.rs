//! The IDX format: a magic number, the length of each axis, then one byte per value.

use std::path::Path;

use anyhow::{Context, ensure};

use crate::{ImageSet, ImageShape, packed};

const IMAGES_MAGIC: u32 = 0x0000_0803;
const LABELS_MAGIC: u32 = 0x0000_0801;
/// Uncompressed bytes of a file at most.
const MAX_BYTES: usize = 4 << 30;

/// Reads a file of images, plain or gzip, without labels.
pub fn read(path: &Path) -> anyhow::Result<ImageSet> {
    read_labelled(path, None)
}

/// As [`read`], with labels from the file `labels_path`, if there is one.
pub(crate) fn read_labelled(path: &Path, labels_path: Option<&Path>) -> anyhow::Result<ImageSet> {
    let (pixels, shape) = images(packed::read_file(path, MAX_BYTES)?, path)?;
    let read = |path| labels(packed::read_file(path, MAX_BYTES)?, path);
    ImageSet::with(pixels, labels_path.map(read).transpose()?, shape)
        .with_context(|| format!("cannot use {}", path.display()))
}

/// The pixels and the shape of the images in `bytes`, the content of the IDX file `path`.
pub(crate) fn images(mut bytes: Vec<u8>, path: &Path) -> anyhow::Result<(Vec<u8>, ImageShape)> {
    let [_count, height, width] = axes(&bytes, IMAGES_MAGIC, "images")
        .with_context(|| format!("cannot use {}", path.display()))?;
    bytes.drain(..16);
    Ok((bytes, ImageShape::grey(height, width)))
}

/// The labels in `bytes`, the content of the IDX file `path`.
pub(crate) fn labels(mut bytes: Vec<u8>, path: &Path) -> anyhow::Result<Vec<u8>> {
    let [_count] = axes(&bytes, LABELS_MAGIC, "labels")
        .with_context(|| format!("cannot use {}", path.display()))?;
    bytes.drain(..8);
    Ok(bytes)
}

/// The length of each axis; the body must be exactly as long as they say.
fn axes<const N: usize>(bytes: &[u8], magic: u32, content: &str) -> anyhow::Result<[usize; N]> {
    let found = word(bytes, 0);
    ensure!(
        found == Some(magic),
        "expected an IDX file of {content} (magic number 0x{magic:08x}), found {}",
        packed::describe(bytes)
    );
    let mut axes = [0; N];
    for (index, axis) in axes.iter_mut().enumerate() {
        let length = word(bytes, 4 * (index + 1))
            .with_context(|| format!("truncated: its header ends after {} bytes", bytes.len()))?;
        *axis = usize::try_from(length)?;
    }
    let expected = axes
        .iter()
        .try_fold(1_usize, |product, axis| product.checked_mul(*axis))
        .and_then(|body| body.checked_add(4 * (N + 1)))
        .with_context(|| format!("its header claims an impossible size of {axes:?}"))?;
    let found = bytes.len();
    ensure!(
        found == expected,
        "{}: its header, with the size {axes:?}, requires {expected} bytes, but it has {found}",
        if found < expected { "truncated" } else { "too long" }
    );
    Ok(axes)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGES: &[u8] = &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6];
    const LABELS: &[u8] = &[0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9];

    fn images_error(bytes: &[u8]) -> String {
        format!("{:#}", images(bytes.to_vec(), Path::new("some-file")).unwrap_err())
    }

    fn labels_error(bytes: &[u8]) -> String {
        format!("{:#}", labels(bytes.to_vec(), Path::new("some-file")).unwrap_err())
    }

    #[test]
    fn complete_files_are_read() {
        let parsed = images(IMAGES.to_vec(), Path::new("x")).unwrap();
        let pixels = vec![1, 2, 3, 4, 5, 6];
        assert_eq!(parsed, (pixels, ImageShape::grey(1, 3)));
        assert_eq!(labels(LABELS.to_vec(), Path::new("x")).unwrap(), [7, 8, 9]);
    }

    #[test]
    fn every_truncation_is_detected() {
        for end in 0..IMAGES.len() {
            let message = images_error(&IMAGES[..end]);
            let reason = if end < 4 { "found" } else { "truncated" };
            assert!(message.contains(reason) && message.contains("some-file"), "{message}");
        }
        for end in 0..LABELS.len() {
            labels_error(&LABELS[..end]);
        }
        assert!(images_error(&[IMAGES, &[0]].concat()).contains("too long"));
        assert!(labels_error(&[LABELS, &[0]].concat()).contains("too long"));
    }

    #[test]
    fn a_header_that_claims_too_much_is_an_error() {
        let mut hostile = IMAGES.to_vec();
        hostile[4..16].fill(0xff);
        assert!(images_error(&hostile).contains("impossible size"));
        // Fits in a machine word, but not in the file.
        hostile[4..16].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 28, 0, 0, 0, 28]);
        assert!(images_error(&hostile).contains("truncated"));
    }

    #[test]
    fn files_of_another_kind_are_named() {
        assert!(images_error(LABELS).contains("an IDX file of labels"));
        assert!(labels_error(IMAGES).contains("an IDX file of images"));
        assert!(images_error(b"\n<!DOCTYPE html>").contains("a web page"));
        assert!(images_error(b"\x89PNG\r\n\x1a\n").contains("a PNG picture"));
        assert!(images_error(&[0, 0, 13, 3, 1]).contains("[00, 00, 0d, 03]"));
        assert!(images_error(b"").contains("an empty file"));
    }
}
