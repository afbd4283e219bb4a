//! Grey pictures: grids for people to look at, folders of single images for other programs.
//!
//! Images come one after another in one slice, row by row, with 0 for black and 1 for white.

mod canvas;

use std::fs;
use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, DynamicImage, Frame, GrayImage, ImageFormat};

use canvas::{Layout, ensure_fits, paint, split};
use hvae_runtime::files;

/// Size of a pixel in pictures.
pub const SCALE: u32 = 2;

/// Arranges images of `height` by `width` pixels in rows of `columns`, from the top left.
///
/// Values are clipped to 0..1. Every pixel becomes a square of `scale` pixels a side. Unused cells
/// of the last row show the background.
///
/// # Errors
///
/// When there is no image, the slice is no whole number of images, a value is not a number or the
/// picture would be too large.
pub fn grid(
    images: &[f32],
    height: usize,
    width: usize,
    columns: usize,
    scale: u32,
) -> anyhow::Result<GrayImage> {
    let cells: Vec<_> = split(images, height, width)?.into_iter().map(Some).collect();
    paint(&cells, Layout { height, width, columns, scale })
}

/// Arranges rows of inputs, each above the row of its reconstructions.
///
/// # Errors
///
/// As for [`grid`], and when the two slices differ in length.
pub fn pairs(
    inputs: &[f32],
    outputs: &[f32],
    height: usize,
    width: usize,
    columns: usize,
    scale: u32,
) -> anyhow::Result<GrayImage> {
    let count = |images: &[f32], what| split(images, height, width).context(what).map(|i| i.len());
    let (above, below) = (count(inputs, "the inputs")?, count(outputs, "the reconstructions")?);
    ensure!(above == below, "{above} inputs cannot be paired with {below} reconstructions");
    stacked(&[inputs, outputs], height, width, columns, scale)
}

/// Arranges images in rows, one after another: row by row of `columns`, each of the `kinds` in turn, as
/// [`pairs`] does with two.
///
/// # Errors
///
/// As for [`pairs`].
pub fn stacked(
    kinds: &[&[f32]],
    height: usize,
    width: usize,
    columns: usize,
    scale: u32,
) -> anyhow::Result<GrayImage> {
    let kinds: Vec<Vec<&[f32]>> =
        kinds.iter().map(|images| split(images, height, width)).collect::<Result<_, _>>()?;
    let count = kinds.first().map_or(0, Vec::len);
    ensure!(kinds.iter().all(|images| images.len() == count), "rows of unequal length");
    let layout = Layout { height, width, columns, scale };
    ensure_fits(kinds.len() * count, layout)?;
    let mut cells = Vec::new();
    for from in (0..count).step_by(columns) {
        for images in &kinds {
            let row = &images[from..count.min(from + columns)];
            cells.extend(row.iter().copied().map(Some));
            cells.extend(std::iter::repeat_n(None, columns - row.len()));
        }
    }
    paint(&cells, layout)
}

/// Saves a picture as PNG, whole or not at all.
///
/// # Errors
///
/// When the file cannot be written.
pub fn save_png(path: &Path, picture: &GrayImage) -> anyhow::Result<()> {
    files::write_atomically(path, |file| Ok(picture.write_to(file, ImageFormat::Png)?))
}

/// Saves pictures of one size as an animated GIF that repeats for ever, whole or not at all; each is
/// shown for `milliseconds`.
///
/// # Errors
///
/// When there is no picture, or the file cannot be written.
pub fn save_gif(path: &Path, pictures: &[GrayImage], milliseconds: u32) -> anyhow::Result<()> {
    ensure!(!pictures.is_empty(), "there is no picture to animate");
    files::write_atomically(path, |file| {
        let mut encoder = GifEncoder::new(file);
        encoder.set_repeat(Repeat::Infinite)?;
        for picture in pictures {
            let picture = DynamicImage::ImageLuma8(picture.clone()).into_rgba8();
            let delay = Delay::from_numer_denom_ms(milliseconds, 1);
            encoder.encode_frame(Frame::from_parts(picture, 0, 0, delay))?;
        }
        Ok(())
    })
}

/// Saves each image as `00000.png`, `00001.png` and so on in the folder `dir`.
///
/// A missing folder appears with all its images at once. An existing one must be empty.
///
/// # Errors
///
/// When `dir` holds something already, the images are not valid or a file cannot be written.
pub fn save_folder(dir: &Path, images: &[f32], height: usize, width: usize) -> anyhow::Result<()> {
    let layout = Layout { height, width, columns: 1, scale: 1 };
    let cells = split(images, height, width)?;
    let exists = files::is_present(dir)?;
    if exists {
        files::remove_stale_scratch(dir)?;
        ensure_empty(dir)?;
    }
    let scratch = files::scratch_dir_in(if exists { dir } else { files::parent_of(dir) })?;
    let mut names = Vec::with_capacity(cells.len());
    for (index, cell) in cells.into_iter().enumerate() {
        let name = format!("{index:05}.png");
        let path = scratch.path().join(&name);
        let picture = paint(&[Some(cell)], layout)?;
        // In memory first: what a file does not take is told only by a write that is looked at.
        let mut png = Cursor::new(Vec::new());
        picture
            .write_to(&mut png, ImageFormat::Png)
            .map_err(anyhow::Error::from)
            .and_then(|()| Ok(fs::write(&path, png.into_inner())?))
            .with_context(|| format!("cannot write {}", path.display()))?;
        names.push(name);
    }
    if !exists {
        return files::publish_dir(scratch, dir);
    }
    for name in names {
        let path = dir.join(&name);
        fs::rename(scratch.path().join(&name), &path)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Tries whether [`save_folder`] could write into `dir`: better before work than after.
///
/// # Errors
///
/// When it could not; the message names the folder.
pub fn require_folder(dir: &Path) -> anyhow::Result<()> {
    if !files::is_present(dir)? {
        return files::require_writable(dir);
    }
    files::remove_stale_scratch(dir)?;
    ensure_empty(dir)?;
    files::require_writable_folder(dir)
}

fn ensure_empty(dir: &Path) -> anyhow::Result<()> {
    let mut entries =
        fs::read_dir(dir).with_context(|| format!("cannot list the folder {}", dir.display()))?;
    if entries.next().is_some() {
        bail!(
            "the folder {} is not empty: empty it or choose another for the images",
            dir.display()
        );
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;

    fn flat(shade: f32) -> [f32; 6] {
        [shade; 6]
    }

    #[test]
    fn a_grid_has_cells_gaps_and_a_filled_last_row() {
        let mut images = [flat(1.0), flat(0.0), flat(0.5)].concat();
        images[1] = 0.2;
        let picture = grid(&images, 2, 3, 2, 2).unwrap();
        assert_eq!(picture.dimensions(), (2 * 6 + 2, 2 * 4 + 2));
        let at = |x, y| picture.get_pixel(x, y).0[0];
        assert_eq!([at(0, 0), at(1, 1), at(2, 0), at(3, 1), at(4, 0)], [255, 255, 51, 51, 255]);
        assert_eq!([at(5, 3), at(6, 0), at(7, 3), at(8, 0)], [255, 48, 48, 0]);
        assert_eq!([at(0, 3), at(0, 4), at(0, 5), at(0, 6)], [255, 48, 48, 128]);
        assert_eq!([at(5, 9), at(8, 6), at(13, 9)], [128, 48, 48]);
    }

    #[test]
    fn rows_of_the_image_stay_rows() {
        let image = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0];
        let picture = grid(&image, 2, 3, 1, 1).unwrap();
        assert_eq!(picture.into_raw(), [0, 51, 102, 153, 204, 255]);
    }

    #[test]
    fn values_are_clipped() {
        let image = [-3.0, 7.0, f32::INFINITY, f32::NEG_INFINITY, -0.0, 1.0];
        let picture = grid(&image, 2, 3, 1, 1).unwrap();
        assert_eq!(picture.into_raw(), [0, 255, 255, 0, 0, 255]);
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        let mut broken = flat(0.5).to_vec();
        broken[4] = f32::NAN;
        assert!(grid(&broken, 2, 3, 2, 2).unwrap_err().to_string().contains("pixel 4"));
        assert!(grid(&[0.0; 7], 2, 3, 2, 2).unwrap_err().to_string().contains("7 values"));
        assert!(grid(&[], 2, 3, 2, 2).is_err());
        for [height, columns, scale] in
            [[2, 0, 2], [2, 2, 0], [2, 2, u32::MAX], [0, 2, 2], [2, u32::MAX, 2]]
        {
            let (height, columns) = (height as usize, columns as usize);
            let image = flat(0.0);
            assert!(grid(&image, height, 3, columns, scale).is_err());
            assert!(pairs(&image, &image, height, 3, columns, scale).is_err());
        }
    }

    #[test]
    fn pairs_stand_above_each_other() {
        let inputs = [flat(0.0), flat(0.2), flat(0.4)].concat();
        let outputs = [flat(0.6), flat(0.8), flat(1.0)].concat();
        let picture = pairs(&inputs, &outputs, 2, 3, 2, 1).unwrap();
        assert_eq!(picture.dimensions(), (8, 4 * 4 - 2));
        let column = |x| [0, 4, 8, 12].map(|y| picture.get_pixel(x, y).0[0]);
        assert_eq!(column(0), [0, 153, 102, 255]);
        assert_eq!(column(5), [51, 204, 48, 48]);
        assert!(pairs(&inputs, &outputs[..6], 2, 3, 2, 1).is_err());
    }

    #[test]
    fn a_png_is_read_back() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("grid.png");
        let picture = grid(&flat(0.2), 2, 3, 2, 2).unwrap();
        save_png(&path, &picture).unwrap();
        assert_eq!(image::open(&path).unwrap().into_luma8(), picture);
    }

    #[test]
    fn a_gif_has_all_its_frames() {
        use image::AnimationDecoder;
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("film.gif");
        let frames = [0.2, 0.6, 1.0].map(|shade| grid(&flat(shade), 2, 3, 1, 2).unwrap());
        save_gif(&path, &frames, 100).unwrap();
        let file = std::io::BufReader::new(fs::File::open(&path).unwrap());
        let decoder = image::codecs::gif::GifDecoder::new(file).unwrap();
        let found = decoder.into_frames().collect_frames().unwrap();
        let shades: Vec<u8> = found.iter().map(|f| f.buffer().get_pixel(3, 1).0[0]).collect();
        assert_eq!(shades, [51, 153, 255]);
        assert_eq!(found[0].delay().numer_denom_ms(), (100, 1));
        assert!(save_gif(&path, &[], 100).is_err());
    }

    #[test]
    fn a_folder_of_images_appears_whole() {
        let root = tempfile::tempdir().unwrap();
        let images = [flat(0.2), flat(0.4)].concat();
        let empty = root.path().join("empty");
        fs::create_dir(&empty).unwrap();
        for dir in [root.path().join("new/folder"), empty] {
            save_folder(&dir, &images, 2, 3).unwrap();
            assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
            let second = image::open(dir.join("00001.png")).unwrap().into_luma8();
            assert_eq!((second.dimensions(), second.into_raw()), ((3, 2), vec![102; 6]));
            let message = save_folder(&dir, &images, 2, 3).unwrap_err().to_string();
            assert!(message.contains("not empty"), "{message}");
        }
    }

    #[test]
    fn a_bad_image_leaves_no_folder() {
        let root = tempfile::tempdir().unwrap();
        let mut images = [flat(0.2), flat(0.4)].concat();
        images[8] = f32::NAN;
        let message =
            format!("{:#}", save_folder(&root.path().join("x"), &images, 2, 3).unwrap_err());
        assert!(message.contains("image 1") && message.contains("pixel 2"), "{message}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
