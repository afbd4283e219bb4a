//! Event files of TensorBoard.
//!
//! A record is the length of its data as `u64`, the checksum of that, the data and theirs, all
//! little-endian. The data are messages of Protocol Buffers:
//!
//! ```text
//! Event   { wall_time: 1 double, step: 2 int64, file_version: 3 string, summary: 5 Summary }
//! Summary { value: 1 Value }
//! Value   { tag: 1 string, simple_value: 2 float, image: 4 Image }
//! Image   { height: 1, width: 2, colorspace: 3 int32, encoded_image_string: 4 bytes }
//! ```

use std::io::{self, Write};
use std::time::SystemTime;

/// Number of channels of a grey image.
const GREY: u64 = 1;

/// A file of events.
#[derive(Debug)]
pub(super) struct Events<W>(W);

/// A message that is put together field by field.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl<W: Write> Events<W> {
    /// Begins a file.
    pub(super) fn new(file: W) -> io::Result<Self> {
        let mut events = Self(file);
        events.event(0, |event| event.bytes(3, b"brain.Event:2"))?;
        Ok(events)
    }

    pub(super) fn scalar(&mut self, tag: &str, step: usize, value: f32) -> io::Result<()> {
        let value = Message::default().bytes(1, tag.as_bytes()).fixed(2, 5, &value.to_le_bytes());
        self.value(step, &value)
    }

    /// A grey picture as the bytes of a PNG, `width` by `height` pixels.
    pub(super) fn picture(
        &mut self,
        tag: &str,
        step: usize,
        png: &[u8],
        [width, height]: [u32; 2],
    ) -> io::Result<()> {
        let image = Message::default().number(1, height.into()).number(2, width.into());
        let image = image.number(3, GREY).bytes(4, png);
        self.value(step, &Message::default().bytes(1, tag.as_bytes()).bytes(4, &image.0))
    }

    /// Writes what is buffered.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }

    fn value(&mut self, step: usize, value: &Message) -> io::Result<()> {
        let summary = Message::default().bytes(1, &value.0);
        self.event(step, |event| event.bytes(5, &summary.0))
    }

    fn event(&mut self, step: usize, fill: impl FnOnce(Message) -> Message) -> io::Result<()> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let event = Message::default().fixed(1, 1, &now.as_secs_f64().to_le_bytes());
        let data = fill(event.number(2, step as u64)).0;
        let length = (data.len() as u64).to_le_bytes();
        let parts: [&[u8]; 4] = [&length, &checksum(&length), &data, &checksum(&data)];
        parts.iter().try_for_each(|part| self.0.write_all(part))
    }
}

impl Message {
    fn varint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    fn number(self, field: u64, value: u64) -> Self {
        self.varint(field << 3).varint(value)
    }

    /// A field of fixed length, of the wire type `kind`.
    fn fixed(self, field: u64, kind: u64, bytes: &[u8]) -> Self {
        let mut message = self.varint(field << 3 | kind);
        message.0.extend(bytes);
        message
    }

    fn bytes(self, field: u64, bytes: &[u8]) -> Self {
        let mut message = self.varint(field << 3 | 2).varint(bytes.len() as u64);
        message.0.extend(bytes);
        message
    }
}

/// The CRC-32C of `bytes`, rotated and shifted as in records of TensorFlow.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    /// Castagnoli's polynomial, its bits in reverse.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let next = |rest: u32, &byte: &u8| {
        let shift = |rest: u32, _| (rest >> 1) ^ (POLYNOMIAL * (rest & 1));
        (0..8).fold(rest ^ u32::from(byte), shift)
    };
    let sum = !bytes.iter().fold(u32::MAX, next);
    sum.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}
