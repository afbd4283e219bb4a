//! Where a command that draws writes its images: a picture, an animation, arrays or a folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser};
use hvae_data::ImageSize;
use hvae_runtime::npz::{self, Array};
use hvae_runtime::{files, terminal};
use image::GrayImage;
use serde::Serialize;

use crate::cli::values::expected;
use crate::figures::picture::{self, Layout, SCALE};
use crate::run::place;

/// What a command can write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Png,
    Gif,
    Npz,
    /// One PNG per image.
    Folder,
}

impl Format {
    /// The format that the name of `path` asks for, if it asks for one.
    fn of(path: &Path) -> Option<Self> {
        if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Some(Self::Folder);
        }
        let Some(extension) = path.extension() else { return Some(Self::Folder) };
        let extension = extension.to_string_lossy().to_lowercase();
        [Self::Png, Self::Gif, Self::Npz].into_iter().find(|format| format.extension() == extension)
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Gif => "gif",
            Self::Npz => "npz",
            Self::Folder => "",
        }
    }
}

/// A path to write to, and the format that its name asks for.
#[derive(Debug, Clone)]
pub(super) struct Output {
    pub(super) path: PathBuf,
    pub(super) format: Format,
}

impl Output {
    /// Parses `--out` of a command that can write `formats`.
    pub(super) fn parser(formats: &'static [Format]) -> impl TypedValueParser<Value = Self> {
        PathBufValueParser::new().try_map(move |path| {
            if let Some(format) = Format::of(&path).filter(|format| formats.contains(format)) {
                return Ok(Self { path, format });
            }
            let files = formats.iter().filter(|format| **format != Format::Folder);
            let mut rule = expected(&files.map(|format| format.extension()).collect::<Vec<_>>());
            if formats.contains(&Format::Folder) {
                rule += ", or name a folder";
            }
            if path.is_dir() {
                rule += "; this is a folder";
            }
            Err(rule)
        })
    }

    /// Refuses a path that cannot be written, before any work.
    pub(super) fn require(&self) -> Result<()> {
        match self.format {
            Format::Folder => picture::require_folder(&self.path),
            _ => require(&self.path),
        }
    }

    /// Writes `sheet` in a format other than GIF and prints the path. A `.npz` gets `arrays`, too.
    pub(super) fn write(&self, sheet: &Sheet<'_>, arrays: Vec<(&str, Array<'_>)>) -> Result<()> {
        match self.format {
            Format::Png => picture::save_png(&self.path, &sheet.draw()?)?,
            Format::Npz => npz::save(&self.path, &[sheet.arrays(), arrays].concat())?,
            Format::Folder => {
                let images = sheet.layers.last().map_or(&[][..], |(_, images)| images);
                picture::save_folder(&self.path, images, sheet.size)?;
            }
            Format::Gif => bail!("{}: a single picture is no animation", self.path.display()),
        }
        self.done();
        Ok(())
    }

    /// Writes an animation that shows each of `frames` for `milliseconds`, and prints the path.
    pub(super) fn animate(&self, frames: &[GrayImage], milliseconds: u32) -> Result<()> {
        picture::save_gif(&self.path, frames, milliseconds)?;
        self.done();
        Ok(())
    }

    fn done(&self) {
        terminal::result(&self.path.display().to_string());
    }
}

/// Images of one size, arranged in rows.
pub(super) struct Sheet<'a> {
    pub(super) size: ImageSize,
    /// Images side by side.
    pub(super) columns: usize,
    /// Name in a `.npz`, and images, one after another. In a picture a row of the first layer is
    /// followed by the same row of the next; a folder gets the last layer.
    pub(super) layers: Vec<(&'static str, &'a [f32])>,
}

impl<'a> Sheet<'a> {
    pub(super) fn new(size: ImageSize, columns: usize, images: &'a [f32]) -> Self {
        Self { size, columns, layers: vec![("images", images)] }
    }

    pub(super) fn draw(&self) -> Result<GrayImage> {
        self.draw_at(SCALE)
    }

    /// As a picture with `scale` by `scale` screen pixels per pixel.
    pub(super) fn draw_at(&self, scale: u32) -> Result<GrayImage> {
        let layers: Vec<&[f32]> = self.layers.iter().map(|(_, images)| *images).collect();
        picture::grid(&layers, Layout { size: self.size, columns: self.columns, scale })
    }

    fn arrays(&self) -> Vec<(&'static str, Array<'a>)> {
        let ImageSize { height, width } = self.size;
        let array = |&(name, values): &(&'static str, &'a [f32])| {
            let shape = vec![values.len() / (height * width), height, width];
            (name, Array::F32(shape, values))
        };
        self.layers.iter().map(array).collect()
    }
}

/// Refuses, before any work, to write a file that cannot be written or that belongs to a run; says
/// so if a file will be replaced.
pub(super) fn require(path: &Path) -> Result<()> {
    let shown = path.display();
    let is_ours = !place::belongs_to_a_run(path);
    ensure!(is_ours, "{shown} is a file of a run, which only training may write: choose another");
    files::require_writable(path)?;
    if path.is_file() {
        terminal::line(&format!("{shown} exists already and will be replaced"));
    }
    Ok(())
}

/// Where a command's results go as JSON.
#[derive(Debug, Default, Args)]
pub(super) struct JsonArgs {
    /// Write the results as JSON, too; to standard output, instead of text, with `-` or without a
    /// name
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-", value_parser = json_file())]
    json: Option<PathBuf>,
}

impl JsonArgs {
    /// Refuses, before any work, what cannot be written.
    pub(super) fn require(&self) -> Result<()> {
        match &self.json {
            _ if self.is_stdout() => terminal::only_json(),
            Some(path) => require(path)?,
            None => {}
        }
        Ok(())
    }

    pub(super) fn is_given(&self) -> bool {
        self.json.is_some()
    }

    fn is_stdout(&self) -> bool {
        self.json.as_deref() == Some(Path::new("-"))
    }

    /// Writes `value` with sorted keys, if it was asked for.
    pub(super) fn write(&self, value: &impl Serialize) -> Result<()> {
        self.json.as_ref().map_or(Ok(()), |_| self.write_text(&json(value)?))
    }

    /// Writes the text, if JSON was asked for.
    pub(super) fn write_text(&self, text: &str) -> Result<()> {
        match &self.json {
            _ if self.is_stdout() => terminal::json(text.trim_end()),
            Some(path) => {
                files::write(path, text)?;
                terminal::line(&format!("written to {}", path.display()));
            }
            None => {}
        }
        Ok(())
    }
}

/// A file for JSON, or standard output.
fn json_file() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path: PathBuf| {
        let is_json = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
        // Such as /dev/stdout.
        let is_stream = path.exists() && !path.is_file() && !path.is_dir();
        let fits = is_json || is_stream || path == Path::new("-");
        if fits { Ok(path) } else { Err("must end in .json, or be - for standard output") }
    })
}

/// `value` as JSON with sorted keys.
pub(super) fn json(value: &impl Serialize) -> Result<String> {
    let value = serde_json::to_value(value).context("writing JSON")?;
    Ok(serde_json::to_string_pretty(&value).context("writing JSON")? + "\n")
}

/// Writes `value` as a JSON file.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    files::write(path, &json(value)?)
}
