//! Greyscale images as PNG grids with their titles, GIF animations and folders of single PNGs.
//!
//! Images are concatenated in one slice, each row by row, with 0 for black and 1 for white.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail, ensure};
use hvae_data::ImageSize;
use hvae_runtime::files;
use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, DynamicImage, Frame, GrayImage, Luma};

use crate::figures::caption::{BACKGROUND, Caption, GAP, png};

/// Width and height that a grid should fit into, in pixels.
pub(crate) const ROOM: (u32, u32) = (1300, 900);
/// The same of a frame of an animation.
pub(crate) const FRAME_ROOM: (u32, u32) = (640, 450);
/// Largest default side of an image's pixel, in pixels of the picture.
const MAX_SCALE: u32 = 8;
/// Images up to this side are drawn twice as large even where a picture then exceeds its room.
const SMALL: usize = 40;
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) size: ImageSize,
    /// Images per row.
    pub(crate) columns: usize,
    /// Side of an image's pixel, in pixels of the picture.
    pub(crate) scale: u32,
}

impl Layout {
    /// Of `count` images, drawn as large as fits into `room`.
    pub(crate) fn fitting(size: ImageSize, columns: usize, count: usize, room: (u32, u32)) -> Self {
        let fit = |room: u32, cells: usize, pixels: usize| {
            room / u32::try_from(cells.saturating_mul(pixels)).unwrap_or(u32::MAX).max(1)
        };
        let rows = count.div_ceil(columns.max(1));
        let scale = fit(room.0, columns, size.width).min(fit(room.1, rows, size.height));
        let least = if size.width.max(size.height) <= SMALL { 2 } else { 1 };
        Self { size, columns, scale: scale.clamp(least, MAX_SCALE) }
    }
}

/// Arranges images in rows from the top left: a row of each of the `layers`, then the next row of
/// each.
///
/// Values are clipped to `[0, 1]`. Unused cells of the last rows show the background.
pub(crate) fn grid(layers: &[&[f32]], layout: Layout) -> Result<GrayImage> {
    let layers: Vec<Vec<&[f32]>> =
        layers.iter().map(|images| split(images, layout.size)).collect::<Result<_>>()?;
    let count = layers.first().map_or(0, Vec::len);
    ensure!(layers.iter().all(|images| images.len() == count), "layers of unequal length");
    let (across, down) = require_extent(count, layers.len(), layout)?;
    let mut picture = GrayImage::from_pixel(across, down, BACKGROUND);
    for (layer, images) in layers.iter().enumerate() {
        for (index, image) in images.iter().enumerate() {
            let row = index / layout.columns * layers.len() + layer;
            paint(&mut picture, image, [row, index % layout.columns], layout);
        }
    }
    Ok(picture)
}

/// Refuses, before a computation, a grid of `count` images that cannot be drawn.
pub(crate) fn require_extent(count: usize, layers: usize, layout: Layout) -> Result<(u32, u32)> {
    let Layout { size: ImageSize { height, width }, columns, scale } = layout;
    extent(count, layers, layout).with_context(|| {
        format!(
            "{} images of {height} by {width} pixels in {columns} columns at scale {scale} give \
             no valid picture: change the number of images, the columns or the scale",
            layers * count
        )
    })
}

/// Splits the slice into images and validates their values.
fn split(images: &[f32], size: ImageSize) -> Result<Vec<&[f32]>> {
    let ImageSize { height, width } = size;
    let pixels = height.checked_mul(width).filter(|pixels| *pixels > 0);
    let Some(pixels) = pixels else {
        bail!("images of {height} by {width} pixels cannot be drawn");
    };
    ensure!(!images.is_empty(), "there is no image to draw");
    ensure!(
        images.len().is_multiple_of(pixels),
        "{} values are not a whole number of images of {height} by {width} pixels",
        images.len()
    );
    if let Some(at) = images.iter().position(|value| value.is_nan()) {
        bail!("image {} is NaN at pixel {}", at / pixels, at % pixels);
    }
    Ok(images.chunks_exact(pixels).collect())
}

/// Width and height of a grid of `count` images per layer; `None` when it is empty or too large.
fn extent(count: usize, layers: usize, layout: Layout) -> Option<(u32, u32)> {
    let Layout { size: ImageSize { height, width }, columns, scale } = layout;
    if columns == 0 || scale == 0 {
        return None;
    }
    let side = |cells: usize, pixels: usize| {
        let cells = u32::try_from(cells).ok()?;
        let cell = u32::try_from(pixels).ok()?.checked_mul(scale)?;
        cells.checked_mul(cell.checked_add(GAP)?)?.checked_sub(GAP)
    };
    let rows = count.div_ceil(columns).checked_mul(layers)?;
    let (across, down) = (side(columns, width)?, side(rows, height)?);
    // Far above any useful picture; keeps a typo from exhausting the memory.
    (u64::from(across) * u64::from(down) <= 1 << 30).then_some((across, down))
}

fn paint(picture: &mut GrayImage, image: &[f32], [row, column]: [usize; 2], layout: Layout) {
    let Layout { size: ImageSize { height, width }, scale, .. } = layout;
    let (height, width) = (height as u32 * scale, width as u32 * scale);
    let (top, left) = (row as u32 * (height + GAP), column as u32 * (width + GAP));
    for y in 0..height {
        for x in 0..width {
            let value = image[(y / scale * (width / scale) + x / scale) as usize];
            picture.put_pixel(left + x, top + y, Luma([shade(value)]));
        }
    }
}

#[allow(clippy::cast_sign_loss, reason = "the value is clipped to the range of a byte")]
fn shade(value: f32) -> u8 {
    (value.clamp(0.0, 1.0) * 255.0).round() as u8
}

/// Saves pictures of equal size as a looping GIF with `milliseconds` per frame, atomically. `draw`
/// gives them to the function that it is called with.
pub(crate) fn save_gif(
    path: &Path,
    milliseconds: u32,
    draw: impl FnOnce(&mut dyn FnMut(GrayImage) -> Result<()>) -> Result<()>,
) -> Result<()> {
    files::write_atomically(path, |file| {
        let mut encoder = GifEncoder::new(file);
        encoder.set_repeat(Repeat::Infinite)?;
        let mut frames = 0_usize;
        draw(&mut |picture| {
            frames += 1;
            let picture = DynamicImage::ImageLuma8(picture).into_rgba8();
            let delay = Delay::from_numer_denom_ms(milliseconds, 1);
            Ok(encoder.encode_frame(Frame::from_parts(picture, 0, 0, delay))?)
        })?;
        ensure!(frames > 0, "no frames to animate");
        Ok(())
    })
}

/// Saves the images as `00000.png`, `00001.png` and so on in the folder `dir`.
///
/// A new folder is published atomically with all images. An existing one must be empty.
///
/// # Errors
///
/// If `dir` is not empty, the images are not valid or a file cannot be written.
pub fn save_folder(dir: &Path, images: &[f32], size: ImageSize) -> Result<()> {
    // Nothing is created where an image is wrong.
    split(images, size)?;
    let mut folder = Folder::open(dir, size)?;
    folder.add(images)?;
    folder.publish()
}

/// A folder of images that is written in parts.
pub(crate) struct Folder<'a> {
    dir: &'a Path,
    size: ImageSize,
    exists: bool,
    scratch: files::ScratchDir,
    images: usize,
}

impl<'a> Folder<'a> {
    /// The folder `dir`, which must be empty or not exist.
    pub(crate) fn open(dir: &'a Path, size: ImageSize) -> Result<Self> {
        let exists = files::is_present(dir)?;
        if exists {
            files::remove_stale_scratch(dir)?;
            ensure_empty(dir)?;
        }
        let scratch = files::scratch_dir_in(if exists { dir } else { files::parent_of(dir) })?;
        Ok(Self { dir, size, exists, scratch, images: 0 })
    }

    /// Adds images, one after another.
    pub(crate) fn add(&mut self, images: &[f32]) -> Result<()> {
        for image in split(images, self.size)? {
            let path = self.scratch.path().join(Self::name(self.images));
            let picture = grid(&[image], Layout { size: self.size, columns: 1, scale: 1 })?;
            fs::write(&path, png(&picture.into(), &Caption::default())?.bytes)
                .with_context(|| format!("cannot write {}", path.display()))?;
            self.images += 1;
        }
        Ok(())
    }

    fn name(index: usize) -> String {
        format!("{index:05}.png")
    }

    /// Makes all images appear.
    pub(crate) fn publish(self) -> Result<()> {
        if !self.exists {
            return files::publish_dir(self.scratch, self.dir);
        }
        for name in (0..self.images).map(Self::name) {
            let path = self.dir.join(&name);
            fs::rename(self.scratch.path().join(&name), &path)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

/// Refuses, before a computation, a folder that [`save_folder`] cannot write into.
pub(crate) fn require_folder(dir: &Path) -> Result<()> {
    if !files::is_present(dir)? {
        return files::require_writable(dir);
    }
    files::remove_stale_scratch(dir)?;
    ensure_empty(dir)?;
    files::require_writable_folder(dir)
}

fn ensure_empty(dir: &Path) -> Result<()> {
    let mut entries =
        fs::read_dir(dir).with_context(|| format!("cannot list the folder {}", dir.display()))?;
    let empty = entries.next().is_none();
    ensure!(empty, "the folder {} is not empty: empty it or choose another", dir.display());
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use std::io::Cursor;

    use image::AnimationDecoder;
    use image::codecs::gif::GifDecoder;

    use super::*;

    const SIZE: ImageSize = ImageSize { height: 2, width: 3 };

    fn one(images: &[f32], columns: usize, scale: u32) -> Result<GrayImage> {
        grid(&[images], Layout { size: SIZE, columns, scale })
    }

    fn flat(shade: f32) -> [f32; 6] {
        [shade; 6]
    }

    #[test]
    fn a_grid_has_cells_gaps_and_a_filled_last_row() {
        let mut images = [flat(1.0), flat(0.0), flat(0.5)].concat();
        images[1] = 0.2;
        let picture = one(&images, 2, 2).unwrap();
        assert_eq!(picture.dimensions(), (2 * 6 + 2, 2 * 4 + 2));
        let at = |x, y| picture.get_pixel(x, y).0[0];
        assert_eq!([at(0, 0), at(1, 1), at(2, 0), at(3, 1), at(4, 0)], [255, 255, 51, 51, 255]);
        assert_eq!([at(5, 3), at(6, 0), at(7, 3), at(8, 0)], [255, 48, 48, 0]);
        assert_eq!([at(0, 3), at(0, 4), at(0, 5), at(0, 6)], [255, 48, 48, 128]);
        assert_eq!([at(5, 9), at(8, 6), at(13, 9)], [128, 48, 48]);
    }

    #[test]
    fn rows_stay_rows_and_values_are_clipped_and_rounded() {
        for (image, shades) in [
            ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0, 51, 102, 153, 204, 255]),
            ([-3.0, 7.0, f32::INFINITY, f32::NEG_INFINITY, -0.0, 1.0], [0, 255, 255, 0, 0, 255]),
            ([0.0, 0.1, 0.5, 0.998, 1.0, 0.002], [0, 26, 128, 254, 255, 1]),
        ] {
            assert_eq!(one(&image, 1, 1).unwrap().into_raw(), shades);
        }
    }

    #[test]
    fn invalid_images_are_rejected() {
        let mut broken = flat(0.5).to_vec();
        broken[4] = f32::NAN;
        assert!(one(&broken, 2, 2).unwrap_err().to_string().contains("pixel 4"));
        assert!(one(&[0.0; 7], 2, 2).unwrap_err().to_string().contains("7 values"));
        assert!(one(&[], 2, 2).is_err());
        let (valid, wide) = (Layout { size: SIZE, columns: 2, scale: 2 }, u32::MAX as usize);
        assert_eq!(extent(57, 1, Layout { columns: 10, ..valid }), Some((78, 34)));
        for layout in [
            Layout { columns: 0, ..valid },
            Layout { columns: usize::MAX, ..valid },
            Layout { scale: 0, ..valid },
            Layout { scale: u32::MAX, ..valid },
            Layout { size: ImageSize { height: 0, width: 3 }, ..valid },
            Layout { size: ImageSize { height: usize::MAX, width: 1 }, ..valid },
            Layout { size: ImageSize { height: 1, width: wide }, ..valid },
        ] {
            assert!(grid(&[&flat(0.0), &flat(0.0)], layout).is_err(), "{layout:?}");
            assert_eq!(extent(100, 1, layout).filter(|_| layout.size.height > 0), None);
        }
        assert_eq!(extent(1 << 31, 1, valid), None);
    }

    #[test]
    fn inputs_are_above_their_reconstructions() {
        let inputs = [flat(0.0), flat(0.2), flat(0.4)].concat();
        let outputs = [flat(0.6), flat(0.8), flat(1.0)].concat();
        let layout = Layout { size: SIZE, columns: 2, scale: 1 };
        let picture = grid(&[&inputs, &outputs], layout).unwrap();
        assert_eq!(picture.dimensions(), (8, 4 * 4 - 2));
        let column = |x| [0, 4, 8, 12].map(|y| picture.get_pixel(x, y).0[0]);
        assert_eq!(column(0), [0, 153, 102, 255]);
        assert_eq!(column(5), [51, 204, 48, 48]);
        assert!(grid(&[&inputs, &outputs[..6]], layout).is_err());
    }

    #[test]
    fn files_hold_what_was_drawn() {
        let root = tempfile::tempdir().unwrap();
        let (png, gif) = (root.path().join("grid.png"), root.path().join("frames.gif"));
        let frames = [0.2, 0.6, 1.0].map(|shade| one(&flat(shade), 1, 2).unwrap());
        let caption = Caption { title: "Grey, 20 %".to_owned(), ..Caption::default() };
        fs::write(
            &png,
            crate::figures::caption::png(&frames[0].clone().into(), &caption).unwrap().bytes,
        )
        .unwrap();
        let texts = fs::read(&png).unwrap();
        let texts = String::from_utf8_lossy(&texts);
        assert!(texts.contains("tEXtTitle\0Grey, 20 %") && texts.contains("Software\0hvae "));
        assert_eq!(image::open(&png).unwrap().into_luma8(), frames[0]);
        save_gif(&gif, 100, |add| frames.into_iter().try_for_each(add)).unwrap();
        let decoder = GifDecoder::new(Cursor::new(fs::read(&gif).unwrap())).unwrap();
        let found = decoder.into_frames().collect_frames().unwrap();
        let shades: Vec<u8> = found.iter().map(|f| f.buffer().get_pixel(3, 1).0[0]).collect();
        assert_eq!(shades, [51, 153, 255]);
        assert_eq!(found[0].delay().numer_denom_ms(), (100, 1));
        assert!(save_gif(&gif, 100, |_| Ok(())).is_err());
    }

    #[test]
    fn small_grids_are_enlarged_and_large_ones_are_not_tiny() {
        let scale = |side, columns, count| {
            let size = ImageSize { height: side, width: side };
            Layout::fitting(size, columns, count, ROOM).scale
        };
        let scales = [scale(28, 11, 11), scale(28, 10, 100), scale(28, 1, 1), scale(28, 41, 1312)];
        assert_eq!(scales, [4, 3, 8, 2]);
        assert_eq!([scale(128, 10, 100), scale(128, 2, 2)], [1, 5]);
    }

    #[test]
    fn a_folder_of_images_is_published_at_once() {
        let root = tempfile::tempdir().unwrap();
        let mut images = [flat(0.2), flat(0.4)].concat();
        let empty = root.path().join("empty");
        fs::create_dir(&empty).unwrap();
        for dir in [root.path().join("new/folder"), empty] {
            save_folder(&dir, &images, SIZE).unwrap();
            assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
            let second = image::open(dir.join("00001.png")).unwrap().into_luma8();
            assert_eq!((second.dimensions(), second.into_raw()), ((3, 2), vec![102; 6]));
            let message = save_folder(&dir, &images, SIZE).unwrap_err().to_string();
            assert!(message.contains("not empty"), "{message}");
        }
        images[8] = f32::NAN;
        let bad = root.path().join("bad");
        let message = format!("{:#}", save_folder(&bad, &images, SIZE).unwrap_err());
        assert!(message.contains("image 1") && message.contains("pixel 2"), "{message}");
        assert!(!bad.exists() && fs::read_dir(root.path()).unwrap().count() == 2);
    }
}
