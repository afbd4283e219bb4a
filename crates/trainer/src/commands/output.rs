//! Where a command that draws writes its images: a picture, an animation, arrays or a folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser};
use hvae_data::ImageSize;
use hvae_runtime::npz::{self, Array};
use hvae_runtime::npz_rows;
use hvae_runtime::{files, terminal};
use image::GrayImage;
use serde::Serialize;

use crate::cli::values::{count, expected};
use crate::figures::caption::{self, Caption, Drawn, Png};
use crate::figures::picture::{self, FRAME_ROOM, Folder, Layout, ROOM};
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
            Format::Png => files::write(&self.path, &sheet.png()?.bytes)?,
            Format::Npz => npz::save(&self.path, &[sheet.arrays(), arrays].concat())?,
            Format::Gif | Format::Folder => {
                bail!("{}: a single picture is no animation, and no folder", self.path.display())
            }
        }
        self.done();
        Ok(())
    }

    /// Writes `count` images as they come, to a `.npz` or a folder, and prints the path. `fill`
    /// gives them to the function that it is called with.
    pub(super) fn stream(
        &self,
        size: ImageSize,
        count: usize,
        fill: impl FnOnce(&mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()>,
    ) -> Result<()> {
        if self.format == Format::Npz {
            npz_rows::save(&self.path, "images", &[count, size.height, size.width], fill)?;
        } else {
            let mut folder = Folder::open(&self.path, size)?;
            fill(&mut |images| folder.add(images))?;
            folder.publish()?;
        }
        self.done();
        Ok(())
    }

    /// Writes an animation that shows each frame for `milliseconds`, and prints the path. `draw`
    /// gives frames to the function that it is called with.
    pub(super) fn animate(
        &self,
        milliseconds: u32,
        draw: impl FnOnce(&mut dyn FnMut(GrayImage) -> Result<()>) -> Result<()>,
    ) -> Result<()> {
        picture::save_gif(&self.path, milliseconds, draw)?;
        self.done();
        Ok(())
    }

    fn done(&self) {
        terminal::result(&self.path.display().to_string());
    }
}

/// How a picture is drawn.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(super) struct Look {
    /// Width and height of an image's pixel in a picture [default: as large as fits a screen]
    #[arg(long, value_name = "N", value_parser = count(1..=64))]
    scale: Option<usize>,
    /// Draw images alone, without title and labels
    #[arg(long)]
    plain: bool,
}

impl Look {
    /// The layout of `count` images in a picture, for `room` by default.
    fn layout(
        self,
        size: ImageSize,
        columns: usize,
        count: usize,
        room: (u32, u32),
    ) -> Result<Layout> {
        let mut layout = Layout::fitting(size, columns, count, room);
        if let Some(scale) = self.scale {
            layout.scale = u32::try_from(scale)?;
        }
        Ok(layout)
    }

    /// Refuses, before a computation, `count` images that do not fit into a picture.
    pub(super) fn require(self, size: ImageSize, columns: usize, count: usize) -> Result<()> {
        picture::require_extent(count, 1, self.layout(size, columns, count, ROOM)?).map(|_| ())
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
    pub(super) caption: Caption,
    pub(super) look: Look,
}

impl<'a> Sheet<'a> {
    pub(super) fn new(size: ImageSize, columns: usize, images: &'a [f32]) -> Self {
        let (caption, look) = (Caption::default(), Look::default());
        Self { size, columns, layers: vec![("images", images)], caption, look }
    }

    /// With a caption, drawn as `look` says.
    pub(super) fn with(self, caption: Caption, look: Look) -> Self {
        Self { caption, look, ..self }
    }

    /// As a PNG.
    pub(super) fn png(&self) -> Result<Png> {
        caption::png(&self.draw(ROOM)?, &self.caption)
    }

    /// As a frame of an animation.
    pub(super) fn frame(&self) -> Result<GrayImage> {
        Ok(self.draw(FRAME_ROOM)?.picture)
    }

    fn draw(&self, room: (u32, u32)) -> Result<Drawn> {
        let layers: Vec<&[f32]> = self.layers.iter().map(|(_, images)| *images).collect();
        let pixels = self.size.height * self.size.width;
        let count = layers.iter().map(|images| images.len() / pixels.max(1)).sum();
        let layout = self.look.layout(self.size, self.columns, count, room)?;
        let picture = picture::grid(&layers, layout)?;
        if self.look.plain {
            return Ok(picture.into());
        }
        self.caption.around(picture, u32::try_from(self.size.height)? * layout.scale)
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
