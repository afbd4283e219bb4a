//! A reader of TensorBoard's event files, apart from what writes them.
//!
//! A record is the length of its data as `u64`, the checksum of that, the data and theirs, all
//! little-endian; a checksum is the CRC-32C rotated right by 15 bits, plus 0xa282ead8. The data are
//! messages of Protocol Buffers: `Event { wall_time: 1, step: 2, file_version: 3, summary: 5 }` with
//! `Summary { value: 1 { tag: 1, simple_value: 2, image: 4 { height: 1, width: 2, png: 4 } } }`.

use std::path::Path;

/// A scalar in an event file.
#[derive(Debug, PartialEq)]
pub struct Scalar {
    pub time: f64,
    pub step: u64,
    pub tag: String,
    pub value: f32,
}

/// A picture in an event file.
#[derive(Debug, PartialEq)]
pub struct Picture {
    pub step: u64,
    pub tag: String,
    pub extent: (u32, u32),
    pub png: Vec<u8>,
}

/// The scalars of the file.
pub fn scalars(path: &Path) -> Vec<Scalar> {
    let parts = values(path).into_iter().filter_map(|(time, step, value)| {
        let number = value.part(2)?;
        Some(Scalar {
            time,
            step,
            tag: value.tag(),
            value: f32::from_le_bytes(number.try_into().unwrap()),
        })
    });
    parts.collect()
}

/// The pictures of the file.
pub fn pictures(path: &Path) -> Vec<Picture> {
    let parts = values(path).into_iter().filter_map(|(_, step, value)| {
        let image = Value::of(value.part(4)?);
        let side = |number| varint(&mut image.part(number).unwrap()) as u32;
        let (extent, png) = ((side(2), side(1)), image.part(4).unwrap().to_vec());
        Some(Picture { step, tag: value.tag(), extent, png })
    });
    parts.collect()
}

/// The fields of a message, with copies of their bytes.
struct Value(Vec<(u64, Vec<u8>)>);

impl Value {
    fn of(data: &[u8]) -> Self {
        Self(fields(data).into_iter().map(|(number, data)| (number, data.to_vec())).collect())
    }

    fn part(&self, number: u64) -> Option<&[u8]> {
        self.0.iter().find(|(n, _)| *n == number).map(|(_, data)| data.as_slice())
    }

    fn tag(&self) -> String {
        String::from_utf8(self.part(1).unwrap().to_vec()).unwrap()
    }
}

/// The values of the file with their times and steps, after its head.
fn values(path: &Path) -> Vec<(f64, u64, Value)> {
    let bytes = super::read(path);
    let (mut rest, mut events) = (bytes.as_slice(), Vec::new());
    while !rest.is_empty() {
        let (length, after) = rest.split_at(8);
        let count = u64::from_le_bytes(length.try_into().unwrap()) as usize;
        let (sum, after) = after.split_at(4);
        assert_eq!(sum, checksum(length), "of a length");
        let (data, after) = after.split_at(count);
        let (sum, after) = after.split_at(4);
        assert_eq!(sum, checksum(data), "of data");
        events.push(fields(data));
        rest = after;
    }
    let head = events.remove(0);
    assert_eq!(head.iter().find(|(n, _)| *n == 3).unwrap().1, b"brain.Event:2");
    events.iter().flat_map(|event| values_of(event)).collect()
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

fn values_of(event: &[(u64, &[u8])]) -> Vec<(f64, u64, Value)> {
    let field = |number| event.iter().find(|(n, _)| *n == number).map(|(_, data)| *data);
    let time = f64::from_le_bytes(field(1).unwrap().try_into().unwrap());
    let step = field(2).map_or(0, |mut step| varint(&mut step));
    let values = fields(field(5).unwrap()).into_iter().filter(|(number, _)| *number == 1);
    values.map(|(_, data)| (time, step, Value::of(data))).collect()
}

/// The fields of a message: their numbers and their bytes.
fn fields(mut data: &[u8]) -> Vec<(u64, &[u8])> {
    let mut fields = Vec::new();
    while !data.is_empty() {
        let key = varint(&mut data);
        let length = match key & 7 {
            0 => data.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1,
            1 => 8,
            2 => varint(&mut data) as usize,
            5 => 4,
            other => panic!("a field of type {other}"),
        };
        let (field, rest) = data.split_at(length);
        fields.push((key >> 3, field));
        data = rest;
    }
    fields
}

fn varint(data: &mut &[u8]) -> u64 {
    let length = data.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let (bytes, rest) = data.split_at(length);
    *data = rest;
    bytes.iter().rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f))
}
