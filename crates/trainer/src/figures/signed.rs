//! Pictures as PNG files that say where they are from.

use std::io::Cursor;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use png::{BitDepth, ColorType, Compression, Decoder, Encoder};

/// The command line of this process.
static COMMAND: OnceLock<String> = OnceLock::new();

/// Facts about a picture by their keywords.
pub(crate) type Facts = Vec<(&'static str, String)>;

/// Names the command line that draws the pictures of this process.
pub(crate) fn sign(arguments: &[std::ffi::OsString]) {
    let quoted = |argument: &std::ffi::OsString| {
        let word = argument.to_string_lossy().into_owned();
        if word.contains(char::is_whitespace) { format!("'{word}'") } else { word }
    };
    COMMAND.get_or_init(|| arguments.iter().map(quoted).collect::<Vec<_>>().join(" "));
}

/// Pixels of one byte or three as a PNG, with `facts`, program and command line as texts.
pub(super) fn encode(
    pixels: &[u8],
    (width, height): (u32, u32),
    colour: ColorType,
    facts: &Facts,
) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width, height);
    encoder.set_color(colour);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Balanced);
    let program = [("Software", format!("hvae {}", crate::VERSION))];
    let command = COMMAND.get().map(|command| ("Command", command.clone()));
    let texts = facts.iter().cloned().chain(program).chain(command);
    for (keyword, text) in texts.filter(|(_, text)| !text.is_empty()) {
        // The older kind of text, which more programs show, holds Latin-1 only.
        let added = if text.chars().all(|c| u32::from(c) < 256) {
            encoder.add_text_chunk(keyword.to_owned(), text)
        } else {
            encoder.add_itxt_chunk(keyword.to_owned(), text)
        };
        added.context("a text of a picture")?;
    }
    let mut writer = encoder.write_header().context("encoding a picture")?;
    writer.write_image_data(pixels).context("encoding a picture")?;
    writer.finish().context("encoding a picture")?;
    Ok(bytes)
}

/// The fact `keyword` of a PNG, if it has it.
pub(super) fn fact(png: &[u8], keyword: &str) -> Option<String> {
    let reader = Decoder::new(Cursor::new(png)).read_info().ok()?;
    let texts = &reader.info().uncompressed_latin1_text;
    texts.iter().find(|text| text.keyword == keyword).map(|text| text.text.clone())
}
