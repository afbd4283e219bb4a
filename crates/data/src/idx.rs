//! The IDX format: a magic number, the length of each axis, then one byte per value.

use std::{io::Read, path::Path, path::PathBuf};

use anyhow::{Context, Result, bail, ensure};
use hvae_runtime::memory;

use crate::convert::{Raw, Wanted, gather};
use crate::labels::Labels;
use crate::{ImageSet, ImageShape, folder, packed, report::Report};

const IMAGES_MAGIC: u32 = 0x0000_0803;
const LABELS_MAGIC: u32 = 0x0000_0801;
/// What the files of each part are called, after a prefix such as `emnist-digits-`.
const PARTS: [&[&str]; 3] = [&["train"], &["t10k", "test"], &[]];
/// What the names of images transposed as EMNIST is published begin with.
const TRANSPOSED: &str = "emnist";

/// The files of a part of a set: images and, if there are any, labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    images: PathBuf,
    labels: Option<PathBuf>,
}

/// The files of each part in a folder whose files are named as those of MNIST or EMNIST; `None` if
/// there are none. A set without test images holds one part.
pub(crate) fn parts(folder: &Path) -> Result<Option<[Option<Files>; 3]>> {
    let entries = folder::sorted(folder)?;
    let mut prefixes: Vec<&str> = entries.iter().filter_map(|path| prefix(path)).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    match &prefixes[..] {
        [] => Ok(None),
        [prefix] => {
            let parts =
                PARTS.map(|parts| parts.iter().find_map(|part| find(&entries, prefix, part)));
            Ok(parts[0].is_some().then_some(parts))
        }
        several => {
            let names: Vec<String> =
                several.iter().map(|prefix| format!("{prefix}train-images-idx3-ubyte")).collect();
            bail!(
                "{} holds several sets: name the file of one, {}",
                folder.display(),
                names.join(" or ")
            )
        }
    }
}

/// The file of images `path`, with its labels and the test images beside it, if there are any.
pub(crate) fn parts_of_file(path: &Path) -> Result<[Option<Files>; 3]> {
    let alone = || Ok([Some(Files { images: path.to_owned(), labels: None }), None, None]);
    let Some(prefix) = prefix(path) else { return alone() };
    let beside = folder::sorted(hvae_runtime::files::parent_of(path))?;
    let part = |names: &[&str]| names.iter().find_map(|part| find(&beside, prefix, part));
    let [train, test, valid] = PARTS.map(part);
    match (train, test) {
        (Some(train), test) if train.images.file_name() == path.file_name() => {
            Ok([Some(train), test, valid])
        }
        (_, Some(test)) if test.images.file_name() == path.file_name() => {
            Ok([Some(test), None, None])
        }
        _ => alone(),
    }
}

/// The name of an IDX file without `.gz` and with `-` before `idx`.
fn plain_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    Some(name.strip_suffix(".gz").unwrap_or(name).replace(".idx", "-idx"))
}

/// What comes before `train` or the like in the name of a file of images.
fn prefix(path: &Path) -> Option<&str> {
    let plain = plain_name(path)?;
    let start = plain.strip_suffix("-images-idx3-ubyte")?;
    let part = PARTS.iter().copied().flatten().find(|part| start.ends_with(**part))?;
    path.file_name()?.to_str()?.get(..start.len() - part.len())
}

fn find(entries: &[PathBuf], prefix: &str, part: &str) -> Option<Files> {
    // Files that are not packed come first.
    let named = |what: &str| {
        let wanted = format!("{prefix}{part}-{what}-ubyte");
        let found = entries.iter().filter(|path| plain_name(path).as_deref() == Some(&wanted));
        found.min_by_key(|path| path.extension().is_some_and(|ending| ending == "gz")).cloned()
    };
    Some(Files { images: named("images-idx3")?, labels: named("labels-idx1") })
}

/// Reads those of the images of `files` that are wanted.
pub(crate) fn read(files: &Files, wanted: &Wanted<'_>) -> Result<(ImageSet, Report)> {
    let transposed = files
        .images
        .file_name()
        .is_some_and(|name| name.to_string_lossy().to_lowercase().starts_with(TRANSPOSED));
    let read = || {
        let ([count, mut height, mut width], mut rest) =
            stream(&files.images, IMAGES_MAGIC, "images")?;
        ensure!(count > 0 && height > 0 && width > 0, "it holds no image");
        if transposed {
            (height, width) = (width, height);
        }
        let shape = ImageShape::grey(height, width);
        let mut rows = (0..count).map(|_| -> Result<Raw> {
            let mut bytes = memory::reserve(shape.pixels())?;
            bytes.resize(shape.pixels(), 0);
            rest.read_exact(&mut bytes).context("its data are damaged, or it is truncated")?;
            if transposed {
                bytes =
                    (0..bytes.len()).map(|at| bytes[at % width * height + at / width]).collect();
            }
            Ok(Raw::Pixels { bytes, shape, rounded: false })
        });
        let mut found = gather(wanted, count, &mut rows)?;
        // Also those that are not wanted, as the checksum is at the end.
        rows.try_for_each(|row| row.map(drop))?;
        require_end(&mut rest)?;
        if transposed {
            found.report.note("transposed, as EMNIST is published");
        }
        Ok((count, found))
    };
    let (count, found) =
        read().with_context(|| format!("cannot use {}", files.images.display()))?;
    let labels = match &files.labels {
        None => Labels::default(),
        Some(path) => {
            let labels = read_labels(path, count);
            let labels = labels.with_context(|| format!("cannot use {}", path.display()))?;
            Labels::numbers(wanted.of(labels))
        }
    };
    found.with(labels)
}

fn read_labels(path: &Path, images: usize) -> Result<Vec<u8>> {
    let ([count], mut rest) = stream(path, LABELS_MAGIC, "labels")?;
    ensure!(count == images, "{count} labels for {images} images");
    let mut labels = memory::reserve(count)?;
    labels.resize(count, 0);
    rest.read_exact(&mut labels).context("its data are damaged, or it is truncated")?;
    require_end(&mut rest)?;
    Ok(labels)
}

fn require_end(rest: &mut dyn Read) -> Result<()> {
    let more = rest.read(&mut [0]).context("its data are damaged")?;
    ensure!(more == 0, "too long: more follows than its header says");
    Ok(())
}

/// The length of each axis of the file `path`, and its body.
fn stream<const N: usize>(
    path: &Path,
    magic: u32,
    content: &str,
) -> Result<([usize; N], impl Read)> {
    let (mut reader, possible) = packed::open(path)?;
    let mut head = Vec::new();
    let length = 4 * (N as u64 + 1);
    reader.by_ref().take(length).read_to_end(&mut head).context("its data are damaged")?;
    let (axes, expected) = head_axes(&head, magic, content)?;
    let exact = matches!(reader, packed::Unpacked::Plain(_));
    let possible = usize::try_from(possible)?;
    if exact || expected > possible {
        require_length(&axes, expected, possible)?;
    }
    Ok((axes, reader))
}

/// The pixels and the shape of the images in `bytes`, the content of the IDX file `path`.
pub(crate) fn images(mut bytes: Vec<u8>, path: &Path) -> Result<(Vec<u8>, ImageShape)> {
    let [_count, height, width] = axes(&bytes, IMAGES_MAGIC, "images")
        .with_context(|| format!("cannot use {}", path.display()))?;
    bytes.drain(..16);
    Ok((bytes, ImageShape::grey(height, width)))
}

/// The labels in `bytes`, the content of the IDX file `path`.
pub(crate) fn labels(mut bytes: Vec<u8>, path: &Path) -> Result<Vec<u8>> {
    let [_count] = axes(&bytes, LABELS_MAGIC, "labels")
        .with_context(|| format!("cannot use {}", path.display()))?;
    bytes.drain(..8);
    Ok(bytes)
}

/// The length of each axis; the body must be exactly as long as they say.
fn axes<const N: usize>(bytes: &[u8], magic: u32, content: &str) -> Result<[usize; N]> {
    let (axes, expected) = head_axes(bytes, magic, content)?;
    require_length(&axes, expected, bytes.len())?;
    Ok(axes)
}

/// The length of each axis, and of the whole file, according to its first bytes.
fn head_axes<const N: usize>(
    bytes: &[u8],
    magic: u32,
    content: &str,
) -> Result<([usize; N], usize)> {
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
    Ok((axes, expected))
}

fn require_length(axes: &[usize], expected: usize, found: usize) -> Result<()> {
    ensure!(
        found == expected,
        "{}: its header, with the size {axes:?}, requires {expected} bytes, but it has {found}",
        if found < expected { "truncated" } else { "too long" }
    );
    Ok(())
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
