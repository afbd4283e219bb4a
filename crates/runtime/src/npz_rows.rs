//! An array in an `.npz` archive that is written in parts, because it need not fit into memory.

use std::mem::ManuallyDrop;
use std::path::Path;

use anyhow::ensure;
use npyz::WriterBuilder;
use npyz::npz::NpzWriter;
use npyz::zip::{CompressionMethod, DateTime, write::FileOptions};

use crate::files;

/// Saves one array of single-precision numbers in the `.npz` file `path`, completely or not at all,
/// as [`npz::save`](crate::npz::save) does. `fill` gives its values, in row-major order, to the
/// function that it is called with.
pub fn save(
    path: &Path,
    name: &str,
    shape: &[usize],
    fill: impl FnOnce(&mut dyn FnMut(&[f32]) -> anyhow::Result<()>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let axes: Vec<u64> = shape.iter().map(|axis| *axis as u64).collect();
    let (room, mut written) = (axes.iter().product::<u64>(), 0);
    // Without a time, so that equal arrays give equal bytes.
    let options = FileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .large_file(4 * room >= 1 << 31);
    files::write_atomically(path, |file| {
        // After an error the archive is not dropped: it would try again, and print that it failed.
        let mut archive = ManuallyDrop::new(NpzWriter::new(file));
        let array = archive.array(name, options)?.default_dtype().shape(&axes);
        let mut array = ManuallyDrop::new(array.begin_nd()?);
        fill(&mut |values| {
            written += values.len() as u64;
            ensure!(written <= room, "the array `{name}` of shape {shape:?} is full");
            Ok(array.extend(values.iter().copied())?)
        })?;
        ensure!(written == room, "the array `{name}` of shape {shape:?} got {written} values");
        ManuallyDrop::into_inner(array).finish()?;
        archive.zip_writer().finish()?;
        drop(ManuallyDrop::into_inner(archive));
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::npz::{self, Array};

    #[test]
    fn parts_give_the_file_of_the_whole_or_none() {
        let root = tempfile::tempdir().unwrap();
        let [whole, parts] = ["whole.npz", "parts.npz"].map(|name| root.path().join(name));
        let values = [1.0_f32, -2.0, 3.5, 0.0, 9.0, 7.0];
        npz::save(&whole, &[("x", Array::F32(vec![3, 2], &values))]).unwrap();
        save(&parts, "x", &[3, 2], |add| values.chunks(4).try_for_each(add)).unwrap();
        assert_eq!(std::fs::read(whole).unwrap(), std::fs::read(&parts).unwrap());
        let before = std::fs::read(&parts).unwrap();
        for (count, reason) in [(5, "got 5 values"), (7, "is full")] {
            let error = save(&parts, "x", &[3, 2], |add| add(&vec![0.0; count])).unwrap_err();
            assert!(format!("{error:#}").contains(reason), "{error:#}");
        }
        assert_eq!(std::fs::read(&parts).unwrap(), before);
    }
}
