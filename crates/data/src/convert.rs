//! Conversion of pictures of any size, colour and depth to images of one shape. Nothing else
//! changes a pixel.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use hvae_runtime::{memory, terminal::Progress};
use image::{DynamicImage, GrayImage, RgbImage, RgbaImage, imageops, imageops::FilterType};
use rayon::prelude::*;

use crate::decode::decode;
use crate::labels::Labels;
use crate::report::{Change, Changes, Report};
use crate::{ImageSet, ImageShape, Split};

/// Pictures that are converted at a time.
const CHUNK: usize = 1024;
/// Bytes of their pixels, about, so that they are not all in memory at once.
const CHUNK_BYTES: usize = 64 << 20;
/// Without a split of its own, every tenth image of a set is a test image.
pub(crate) const TEST_EVERY: usize = 10;
/// Bytes that a pixel takes: one in the set, four on the device.
const PIXEL_BYTES: usize = 5;
/// Shades that differ by no more look like one.
const SAME_SHADE: u8 = 2;

/// Which images of a set are wanted, and in which shape.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The set, in messages.
    pub(crate) name: &'a str,
    /// The images of this split, if the set has no parts of its own; otherwise all.
    pub(crate) split: Option<Split>,
    /// By default that of the first image.
    pub(crate) shape: Option<ImageShape>,
}

impl Wanted<'_> {
    pub(crate) fn has(&self, index: usize) -> bool {
        let test = index % TEST_EVERY == TEST_EVERY - 1;
        self.split.is_none_or(|split| test == (split == Split::Test))
    }

    /// Those of `all` that are wanted.
    pub(crate) fn of<T>(&self, all: Vec<T>) -> Vec<T> {
        let indexed = all.into_iter().enumerate().filter(|(index, _)| self.has(*index));
        indexed.map(|(_, item)| item).collect()
    }
}

/// A picture before it is converted.
#[derive(Debug)]
pub(crate) enum Raw {
    /// In a file of its own.
    File(PathBuf),
    /// Pixels in rows, the channels of each together: 1 for grey, 3 for RGB, 4 for RGBA.
    Pixels { bytes: Vec<u8>, shape: ImageShape, rounded: bool },
}

/// Images of one shape.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) images: Vec<u8>,
    pub(crate) shape: ImageShape,
    pub(crate) report: Report,
}

impl Gathered {
    /// The set of these images with these labels, and the report with what was left out.
    pub(crate) fn with(self, labels: Labels) -> Result<(ImageSet, Report)> {
        let Self { images, shape, mut report } = self;
        if let Some(reason) = &labels.reason {
            report.note(format!("labels left out: {reason}"));
        }
        Ok((ImageSet::with(images, labels, shape)?, report))
    }
}

/// Converts those of the `count` pictures `rows` that are wanted, in parallel.
pub(crate) fn gather(
    wanted: &Wanted<'_>,
    count: usize,
    rows: &mut dyn Iterator<Item = Result<Raw>>,
) -> Result<Gathered> {
    let total = (0..count).filter(|index| wanted.has(*index)).count();
    ensure!(
        total > 0,
        "{} images are too few{}",
        count,
        if wanted.split.is_some() {
            ": every tenth is a test image, so at least ten are needed"
        } else {
            ""
        }
    );
    let indexed = rows.enumerate().filter(|(index, row)| row.is_err() || wanted.has(*index));
    let mut rows = indexed.map(|(_, row)| row).peekable();
    let shape = match (wanted.shape, rows.peek()) {
        (Some(shape), _) => shape,
        (None, Some(Ok(first))) => first.shape()?,
        _ => ImageShape::MNIST,
    };
    let needed = total as f64 * shape.pixels() as f64;
    let too_large = || format!("{total} images of {} pixels do not fit", shape.size());
    memory::require(PIXEL_BYTES as f64 * needed).with_context(too_large)?;
    let mut images = memory::reserve(total * shape.pixels()).with_context(too_large)?;
    let mut report = Report::new(shape);
    let (mut progress, mut done) = (Progress::start(wanted.name, total, 0), 0);
    loop {
        let mut bytes = 0;
        let chunk: Vec<Raw> = std::iter::from_fn(|| {
            let row = (bytes < CHUNK_BYTES).then(|| rows.next()).flatten()?;
            bytes += row.as_ref().map_or(0, Raw::len);
            Some(row)
        })
        .take(CHUNK)
        .collect::<Result<_>>()?;
        if chunk.is_empty() {
            break;
        }
        let converted: Vec<_> =
            chunk.into_par_iter().map(|raw| raw.convert(shape)).collect::<Result<_>>()?;
        done += converted.len();
        for (pixels, changes) in converted {
            images.extend_from_slice(&pixels);
            report.add(changes);
        }
        progress.update(done, String::new);
    }
    ensure!(done == total, "{done} of {total} images could be read");
    Ok(Gathered { images, shape, report })
}

/// The same images with the shape `shape`.
pub fn reshape(set: ImageSet, shape: ImageShape) -> Result<(ImageSet, Report)> {
    if set.shape() == shape {
        return Ok((set, Report::default()));
    }
    let from = set.shape();
    let pixels =
        |index| Raw::Pixels { bytes: set.image(index).to_vec(), shape: from, rounded: false };
    let mut rows = (0..set.len()).map(|index| Ok(pixels(index)));
    let wanted = Wanted { name: "converting", split: None, shape: Some(shape) };
    let Gathered { images, report, .. } = gather(&wanted, set.len(), &mut rows)?;
    Ok((set.reshaped(images, shape)?, report))
}

impl Raw {
    /// Bytes in memory.
    fn len(&self) -> usize {
        match self {
            Self::File(_) => 0,
            Self::Pixels { bytes, .. } => bytes.len(),
        }
    }

    /// Its shape in grey.
    fn shape(&self) -> Result<ImageShape> {
        Ok(match self {
            Self::File(path) => {
                let (picture, _) = decode(path)?;
                ImageShape::grey(picture.height() as usize, picture.width() as usize)
            }
            Self::Pixels { shape, .. } => ImageShape::grey(shape.height, shape.width),
        })
    }

    /// As pixels of the shape `shape`, with what was changed.
    fn convert(self, shape: ImageShape) -> Result<(Vec<u8>, Changes)> {
        let mut changes = Changes::default();
        let (picture, turned) = match self {
            Self::File(path) => decode(&path)?,
            Self::Pixels { bytes, shape: from, rounded } => {
                changes.mark(Change::Rounded, rounded);
                (picture(bytes, from)?, false)
            }
        };
        changes.mark(Change::Turned, turned);
        let grey = fit(to_grey(picture, &mut changes), shape, &mut changes);
        let pixels = grey.into_raw();
        let darkest = pixels.iter().min().copied().unwrap_or_default();
        let lightest = pixels.iter().max().copied().unwrap_or_default();
        changes.mark(Change::Constant, lightest - darkest <= SAME_SHADE && pixels.len() > 1);
        Ok((pixels, changes))
    }
}

fn picture(bytes: Vec<u8>, shape: ImageShape) -> Result<DynamicImage> {
    let (width, height) = (u32::try_from(shape.width)?, u32::try_from(shape.height)?);
    let picture = match shape.channels {
        1 => GrayImage::from_raw(width, height, bytes).map(DynamicImage::ImageLuma8),
        3 => RgbImage::from_raw(width, height, bytes).map(DynamicImage::ImageRgb8),
        _ => RgbaImage::from_raw(width, height, bytes).map(DynamicImage::ImageRgba8),
    };
    picture.context("an image of another size than its shape")
}

/// `picture` scaled to fit `shape`, and centred on black.
fn fit(grey: GrayImage, shape: ImageShape, changes: &mut Changes) -> GrayImage {
    let (width, height) = grey.dimensions();
    let (to_width, to_height) = (shape.width as u32, shape.height as u32);
    if (width, height) == (to_width, to_height) {
        return grey;
    }
    // `a * b / c`, rounded, and at least 1.
    let scaled = |a: u32, b: u32, c: u32| {
        let product = u64::from(a) * u64::from(b) + u64::from(c) / 2;
        ((product / u64::from(c)) as u32).max(1)
    };
    let wide = u64::from(width) * u64::from(to_height) >= u64::from(height) * u64::from(to_width);
    let (inner_width, inner_height) = if wide {
        (to_width, scaled(height, to_width, width).min(to_height))
    } else {
        (scaled(width, to_height, height).min(to_width), to_height)
    };
    let inner = imageops::resize(&grey, inner_width, inner_height, FilterType::Triangle);
    let mut framed = GrayImage::new(to_width, to_height);
    let (left, top) = ((to_width - inner_width) / 2, (to_height - inner_height) / 2);
    imageops::replace(&mut framed, &inner, left.into(), top.into());
    changes.mark(Change::Resized, true);
    changes.mark(Change::Framed, (inner_width, inner_height) != (to_width, to_height));
    framed
}

/// `picture` in grey of 8 bits, with the weights of ITU-R 601-2 as Pillow has them.
///
/// A transparent picture is laid on black, or on white if what is visible of it is dark.
fn to_grey(picture: DynamicImage, changes: &mut Changes) -> GrayImage {
    mark_depth(&picture, changes);
    let rgba = match picture {
        DynamicImage::ImageLuma8(grey) => return grey,
        other => other.into_rgba8(),
    };
    let (mut coloured, mut transparent, mut opacity, mut light) = (false, false, 0_u64, 0_u64);
    let luma = |[red, green, blue, _]: [u8; 4]| {
        let [red, green, blue] = [red, green, blue].map(u32::from);
        (19_595 * red + 38_470 * green + 7_471 * blue + 0x8000) >> 16
    };
    for pixel in rgba.pixels() {
        let [red, green, blue, alpha] = pixel.0;
        coloured |= red != green || green != blue;
        transparent |= alpha != u8::MAX;
        opacity += u64::from(alpha);
        light += u64::from(alpha) * u64::from(luma(pixel.0));
    }
    let dark = transparent && light < 128 * opacity;
    changes.mark(Change::Grey, coloured);
    changes.mark(Change::OnBlack, transparent && !dark);
    changes.mark(Change::OnWhite, dark);
    let ground = if dark { 255 } else { 0 };
    GrayImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let pixel = rgba.get_pixel(x, y).0;
        let opaque = u32::from(pixel[3]);
        image::Luma([((luma(pixel) * opaque + ground * (255 - opaque) + 127) / 255) as u8])
    })
}

/// Notes whether 8 bits hold less than `picture` does, and whether 16 bits hold values of 8.
fn mark_depth(picture: &DynamicImage, changes: &mut Changes) {
    let color = picture.color();
    match color.bytes_per_pixel() / color.channel_count() {
        1 => {}
        2 => {
            // A value of 8 bits is repeated in both bytes.
            let (alpha, channels) = (color.has_alpha(), usize::from(color.channel_count()));
            let bytes = picture.as_bytes().as_chunks::<2>().0;
            let words = || bytes.iter().map(|pair| u16::from_ne_bytes(*pair));
            changes.mark(Change::Rounded, words().any(|word| word % 257 != 0));
            let shades = words().enumerate().filter(|(at, _)| !alpha || (at + 1) % channels != 0);
            let lightest = shades.map(|(_, word)| word).max().unwrap_or_default();
            changes.mark(Change::Dark, (1..=255).contains(&lightest));
        }
        _ => changes.mark(Change::Rounded, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `picture` converted to a grey image of `height` x `width`, and the report.
    fn converted(picture: &DynamicImage, height: usize, width: usize) -> (Vec<u8>, String) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.png");
        picture.save(&path).unwrap();
        let shape = ImageShape::grey(height, width);
        let (pixels, changes) = Raw::File(path).convert(shape).unwrap();
        let mut report = Report::new(shape);
        report.add(changes);
        (pixels, report.to_string())
    }

    #[test]
    fn pictures_are_scaled_to_fit_and_centred() {
        for ([height, width], [to_height, to_width], lit_rows, lit_columns) in [
            ([28, 56], [28, 28], 7..21, 0..28),
            ([56, 28], [28, 28], 0..28, 7..21),
            ([10, 10], [20, 30], 0..20, 5..25),
            ([10, 10], [30, 20], 5..25, 0..20),
            ([1, 300], [4, 6], 1..2, 0..6),
        ] {
            let picture = GrayImage::from_pixel(width, height, image::Luma([200]));
            let (pixels, report) = converted(&picture.into(), to_height, to_width);
            assert!(report.contains("1 resized to") && report.contains("black bars"), "{report}");
            for (at, &pixel) in pixels.iter().enumerate() {
                let lit =
                    lit_rows.contains(&(at / to_width)) && lit_columns.contains(&(at % to_width));
                assert_eq!(pixel, if lit { 200 } else { 0 }, "{height}x{width}, pixel {at}");
            }
        }
    }

    /// The values are those of Pillow's `convert("L")`.
    #[test]
    fn colours_become_the_grey_that_pillow_gives() {
        for (rgb, grey) in [
            ([255, 0, 0], 76),
            ([0, 255, 0], 150),
            ([0, 0, 255], 29),
            ([10, 20, 30], 18),
            ([200, 100, 50], 124),
            ([255, 255, 255], 255),
            ([7, 7, 7], 7),
        ] {
            let picture = RgbImage::from_pixel(1, 1, image::Rgb(rgb));
            let (pixels, report) = converted(&picture.into(), 1, 1);
            assert_eq!(pixels, [grey], "{rgb:?}");
            assert_eq!(report.contains("converted to grey"), rgb != [rgb[0]; 3], "{report}");
        }
    }

    #[test]
    fn ink_stays_visible_on_transparent_ground() {
        for (ink, [on_ink, on_ground], part) in [
            ([0, 0, 0, 255], [0, 255], "1 transparent and dark, laid on white"),
            ([255, 255, 255, 255], [255, 0], "1 transparent, laid on black"),
            ([255, 255, 255, 128], [128, 0], "1 transparent, laid on black"),
            ([0, 0, 0, 128], [127, 255], "1 transparent and dark, laid on white"),
        ] {
            let mut picture = RgbaImage::from_pixel(2, 1, image::Rgba([0, 0, 0, 0]));
            picture.put_pixel(0, 0, image::Rgba(ink));
            let (pixels, report) = converted(&picture.into(), 1, 2);
            assert_eq!((pixels, report.as_str()), (vec![on_ink, on_ground], part), "{ink:?}");
        }
    }

    #[test]
    fn sixteen_bits_are_rounded_and_told() {
        for (values, pixels, report) in [
            ([0, 257 * 9, 65535], [0, 9, 255], ""),
            ([0, 257 * 9 + 128, 65535], [0, 9, 255], "1 rounded to 8 bits"),
            ([0, 257 * 9 + 129, 65535], [0, 10, 255], "1 rounded to 8 bits"),
            (
                [0, 100, 255],
                [0, 0, 1],
                "1 rounded to 8 bits, 1 of 16 bits without a value above 255, so nearly black, 1 \
                 of one shade all over",
            ),
        ] {
            let picture = image::ImageBuffer::from_raw(3, 1, values.to_vec()).unwrap();
            let found = converted(&DynamicImage::ImageLuma16(picture), 1, 3);
            assert_eq!(found, (pixels.to_vec(), report.to_owned()));
        }
    }
}
