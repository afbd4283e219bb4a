//! CIFAR-10 and CIFAR-100 in their binary version: labels of one byte each, then 32x32 pixels of
//! three channels, one after another.

use std::{fs, io::BufReader, io::Read, path::Path, path::PathBuf};

use anyhow::{Context, Result, bail, ensure};
use hvae_runtime::files;

use crate::convert::{Raw, Wanted, gather};
use crate::labels::Labels;
use crate::{ImageSet, ImageShape, report::Report};

/// Height and width of an image.
const SIDE: usize = 32;
const CHANNELS: usize = 3;
const PIXELS: usize = SIDE * SIDE;
/// Names of classes in a file at most, in bytes.
const MAX_NAMES: u64 = 1 << 16;

/// The files of a part, and how many labels stand before each image; the last of them counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batches {
    files: Vec<PathBuf>,
    labels: usize,
    /// The names of the classes, one in a line.
    names: PathBuf,
}

/// The batches of each part in `folder`; `None` if it holds no CIFAR.
pub(crate) fn parts(folder: &Path) -> Result<Option<[Option<Batches>; 3]>> {
    let has = |name: &str| folder.join(name).is_file();
    if (has("data_batch_1") && has("batches.meta")) || (has("train") && has("meta")) {
        bail!(
            "{} holds CIFAR as pickled for Python, which is never loaded: download its binary \
             version, cifar-10-binary.tar.gz or cifar-100-binary.tar.gz",
            folder.display()
        );
    }
    let part = |names: Vec<String>, labels, classes: &str| {
        let files: Vec<_> = names.into_iter().filter(|name| has(name)).collect();
        let files: Vec<_> = files.into_iter().map(|name| folder.join(name)).collect();
        let batches = Batches { files, labels, names: folder.join(classes) };
        (!batches.files.is_empty()).then_some(batches)
    };
    let ten = |names| part(names, 1, "batches.meta.txt");
    let hundred = |name: &str| part(vec![name.to_owned()], 2, "fine_label_names.txt");
    let train = ten((1..=5).map(|batch| format!("data_batch_{batch}.bin")).collect());
    let of_ten = [train, ten(vec!["test_batch.bin".to_owned()]), None];
    let of_hundred = [hundred("train.bin"), hundred("test.bin"), None];
    Ok([of_ten, of_hundred].into_iter().find(|parts| parts[0].is_some()))
}

/// Reads those of the images of `batches` that are wanted.
pub(crate) fn read(batches: &Batches, wanted: &Wanted<'_>) -> Result<(ImageSet, Report)> {
    let record = batches.labels + CHANNELS * PIXELS;
    let mut count = 0;
    for file in &batches.files {
        let length = usize::try_from(fs::metadata(file)?.len())?;
        ensure!(
            length.is_multiple_of(record) && length > 0,
            "{} has {length} bytes, which is no multiple of the {record} of an image of CIFAR",
            file.display()
        );
        count += length / record;
    }
    let mut labels = Vec::new();
    let mut rows = batches.files.iter().flat_map(|file| records(file, record)).map(|record| {
        let record = record?;
        let (of_image, pixels) = record.split_at(batches.labels);
        labels.extend(of_image.last());
        let bytes =
            (0..pixels.len()).map(|at| pixels[at % CHANNELS * PIXELS + at / CHANNELS]).collect();
        let shape = ImageShape { channels: CHANNELS, height: SIDE, width: SIDE };
        Ok(Raw::Pixels { bytes, shape, rounded: false })
    });
    let found = gather(wanted, count, &mut rows)?;
    rows.for_each(drop);
    let names = names(&batches.names)?;
    let known = labels.iter().all(|label| names.is_empty() || usize::from(*label) < names.len());
    ensure!(known, "{} holds labels without a name", batches.files[0].display());
    found.with(Labels { values: Some(wanted.of(labels)), names, reason: None })
}

fn records(path: &Path, length: usize) -> impl Iterator<Item = Result<Vec<u8>>> {
    let mut file = files::open_regular(path).map(BufReader::new);
    let path = path.to_owned();
    std::iter::from_fn(move || {
        let mut next = || -> Result<Option<Vec<u8>>> {
            let reader = match &mut file {
                Ok(reader) => reader,
                Err(error) => bail!("{error}"),
            };
            let mut record = Vec::with_capacity(length);
            reader.take(length as u64).read_to_end(&mut record)?;
            ensure!(record.is_empty() || record.len() == length, "it was cut off");
            Ok((!record.is_empty()).then_some(record))
        };
        next().with_context(|| format!("cannot read {}", path.display())).transpose()
    })
}

/// The names of the classes, if the file is there.
fn names(path: &Path) -> Result<Vec<String>> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let mut text = String::new();
    let read = files::open_regular(path)?.take(MAX_NAMES).read_to_string(&mut text);
    read.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}
