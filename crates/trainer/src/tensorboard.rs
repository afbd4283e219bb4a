//! Event files for TensorBoard.
//!
//! A file is a sequence of records (TFRecord): the length of the data as `u64`, its checksum, the
//! data, theirs; all little-endian. A checksum is the CRC-32C, rotated right by 15 bits, plus
//! 0xa282ead8. The data are messages `tensorflow.Event` of Protocol Buffers, of whose fields
//! `wall_time` (1), `step` (2), `file_version` (3) and `summary` (5) are written.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use prost::encoding::{self, WireType};

use crate::metrics::EpochMetrics;
use crate::training::flat;
use crate::training::watch::{Begin, StepReport, Watch};

/// Steps between two points of the curves within an epoch.
const EVERY: usize = 10;

/// Writes scalars: those of steps under `step/`, those of epochs under the names of `metrics.csv`.
#[derive(Debug)]
pub struct TensorBoard {
    folder: PathBuf,
    file: Option<BufWriter<File>>,
}

impl TensorBoard {
    /// Event files in the folder `tensorboard` of `run`. Each process writes one of its own.
    pub fn new(run: &Path) -> Self {
        Self { folder: run.join("tensorboard"), file: None }
    }

    fn write(&mut self, event: &[u8]) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let written = file.write_all(&record(event));
        written.with_context(|| format!("writing events in {}", self.folder.display()))
    }
}

impl Watch for TensorBoard {
    fn begin(&mut self, _begin: &Begin) -> Result<()> {
        let now = now();
        let (seconds, process) = (now.as_secs(), std::process::id());
        let path = self.folder.join(format!("events.out.tfevents.{seconds:010}.{process}.hvae"));
        let create = || {
            std::fs::create_dir_all(&self.folder)?;
            File::create_new(&path)
        };
        let file = create().with_context(|| format!("writing {}", path.display()))?;
        self.file = Some(BufWriter::new(file));
        let mut event = Vec::new();
        encoding::double::encode(1, &now.as_secs_f64(), &mut event);
        encoding::string::encode(3, &"brain.Event:2".to_owned(), &mut event);
        self.write(&event)
    }

    fn step(&mut self, report: &StepReport<'_>) -> Result<()> {
        if !report.step.is_multiple_of(EVERY) {
            return Ok(());
        }
        let losses = report.sums.losses();
        let values = [
            ("step/reconstruction_error", losses.reconstruction_error),
            ("step/kl", losses.divergence),
            ("step/gradient_norm", report.gradient_norm),
            ("step/learning_rate", report.learning_rate),
        ];
        self.write(&scalars(now(), report.step, &values.map(|(tag, x)| (tag.to_owned(), x))))
    }

    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<()> {
        let value = serde_json::to_value(metrics).context("writing metrics")?;
        let values: Vec<_> =
            flat(&value).into_iter().map(|(name, x)| (name.replace('.', "/"), x)).collect();
        self.write(&scalars(now(), metrics.step, &values))?;
        if let Some(file) = &mut self.file {
            file.flush().with_context(|| format!("writing in {}", self.folder.display()))?;
        }
        Ok(())
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// An event with scalars: in `summary` one `value` (1) each, with `tag` (1) and `simple_value` (2).
fn scalars(time: Duration, step: usize, values: &[(String, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in values {
        let mut message = Vec::new();
        encoding::string::encode(1, tag, &mut message);
        encoding::float::encode(2, &(*value as f32), &mut message);
        nested(1, &message, &mut summary);
    }
    let mut event = Vec::new();
    encoding::double::encode(1, &time.as_secs_f64(), &mut event);
    encoding::int64::encode(2, &(step as i64), &mut event);
    nested(5, &summary, &mut event);
    event
}

fn nested(tag: u32, message: &[u8], into: &mut Vec<u8>) {
    encoding::encode_key(tag, WireType::LengthDelimited, into);
    encoding::encode_varint(message.len() as u64, into);
    into.extend_from_slice(message);
}

fn record(data: &[u8]) -> Vec<u8> {
    let checksum = |bytes: &[u8]| {
        crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
    };
    let length = (data.len() as u64).to_le_bytes();
    [&length, checksum(&length).as_slice(), data, &checksum(data)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_as_documented() {
        let record = record(b"abc");
        assert_eq!(record.len(), 8 + 4 + 3 + 4);
        assert_eq!(record[..8], [3, 0, 0, 0, 0, 0, 0, 0]);
        // CRC-32C of "abc" is 0x364b3fb7 (RFC 3720's polynomial).
        let masked = 0x364b_3fb7_u32.rotate_right(15).wrapping_add(0xa282_ead8);
        assert_eq!(record[15..], masked.to_le_bytes());
    }

    #[test]
    fn scalars_are_protocol_buffers() {
        let event = scalars(Duration::from_secs(1), 3, &[("a".to_owned(), 1.0)]);
        let value = [0x0a, 1, b'a', 0x15, 0, 0, 0x80, 0x3f];
        let mut expected = vec![0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x10, 3, 0x2a, 10, 0x0a, 8];
        expected.extend(value);
        assert_eq!(event, expected);
    }
}
