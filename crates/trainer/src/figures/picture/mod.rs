//! Greyscale images as PNG grids, GIF animations and folders of single PNGs.
//!
//! Images are concatenated in one slice, each row by row, with 0 for black and 1 for white.

mod canvas;

use std::fs;
use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, DynamicImage, Frame, GrayImage, ImageFormat};

use canvas::{ensure_fits, paint, split};
use hvae_data::ImageSize;
use hvae_runtime::files;

pub(crate) use canvas::Layout;

/// Default side of an image's pixel, in pixels of the picture.
pub(crate) const SCALE: u32 = 2;

/// Arranges images in rows from the top left: a row of each of the `layers`, then the next row of
/// each.
///
/// Values are clipped to `[0, 1]`. Unused cells of the last rows show the background.
///
/// # Errors
///
/// If there is no image, the layers differ in length, a length is not a multiple of the image size,
/// a value is NaN or the picture would be too large.
pub(crate) fn grid(layers: &[&[f32]], layout: Layout) -> anyhow::Result<GrayImage> {
    let layers: Vec<Vec<&[f32]>> =
        layers.iter().map(|images| split(images, layout.size)).collect::<Result<_, _>>()?;
    let count = layers.first().map_or(0, Vec::len);
    ensure!(layers.iter().all(|images| images.len() == count), "layers of unequal length");
    ensure_fits(layers.len() * count, layout)?;
    let columns = layout.columns;
    let mut cells = Vec::new();
    for from in (0..count).step_by(columns) {
        for images in &layers {
            let row = &images[from..count.min(from + columns)];
            cells.extend(row.iter().copied().map(Some));
            cells.extend(std::iter::repeat_n(None, columns - row.len()));
        }
    }
    paint(&cells, layout)
}

/// Saves a picture as PNG, atomically.
///
/// # Errors
///
/// If the file cannot be written.
pub(crate) fn save_png(path: &Path, picture: &GrayImage) -> anyhow::Result<()> {
    files::write_atomically(path, |file| Ok(picture.write_to(file, ImageFormat::Png)?))
}

/// Saves pictures of equal size as a looping GIF with `milliseconds` per frame, atomically.
///
/// # Errors
///
/// If there is no picture, or the file cannot be written.
pub(crate) fn save_gif(
    path: &Path,
    pictures: &[GrayImage],
    milliseconds: u32,
) -> anyhow::Result<()> {
    ensure!(!pictures.is_empty(), "no frames to animate");
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

/// Saves the images as `00000.png`, `00001.png` and so on in the folder `dir`.
///
/// A new folder is published atomically with all images. An existing one must be empty.
///
/// # Errors
///
/// If `dir` is not empty, the images are not valid or a file cannot be written.
pub fn save_folder(dir: &Path, images: &[f32], size: ImageSize) -> anyhow::Result<()> {
    let layout = Layout { size, columns: 1, scale: 1 };
    let cells = split(images, size)?;
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
        // Encoded in memory: the encoder ignores errors of its final write.
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

/// Checks before a computation that [`save_folder`] can write into `dir`.
///
/// # Errors
///
/// If it cannot; the message names the folder.
pub(crate) fn require_folder(dir: &Path) -> anyhow::Result<()> {
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
        bail!("the folder {} is not empty: empty it or choose another", dir.display());
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;

    const SIZE: ImageSize = ImageSize { height: 2, width: 3 };

    fn one(images: &[f32], columns: usize, scale: u32) -> anyhow::Result<GrayImage> {
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
    fn rows_of_the_image_stay_rows() {
        let image = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0];
        let picture = one(&image, 1, 1).unwrap();
        assert_eq!(picture.into_raw(), [0, 51, 102, 153, 204, 255]);
    }

    #[test]
    fn values_are_clipped() {
        let image = [-3.0, 7.0, f32::INFINITY, f32::NEG_INFINITY, -0.0, 1.0];
        let picture = one(&image, 1, 1).unwrap();
        assert_eq!(picture.into_raw(), [0, 255, 255, 0, 0, 255]);
    }

    #[test]
    fn invalid_images_are_rejected() {
        let mut broken = flat(0.5).to_vec();
        broken[4] = f32::NAN;
        assert!(one(&broken, 2, 2).unwrap_err().to_string().contains("pixel 4"));
        assert!(one(&[0.0; 7], 2, 2).unwrap_err().to_string().contains("7 values"));
        assert!(one(&[], 2, 2).is_err());
        for [height, columns, scale] in
            [[2, 0, 2], [2, 2, 0], [2, 2, u32::MAX], [0, 2, 2], [2, u32::MAX, 2]]
        {
            let (height, columns) = (height as usize, columns as usize);
            let size = ImageSize { height, width: 3 };
            let image = flat(0.0);
            assert!(grid(&[&image, &image], Layout { size, columns, scale }).is_err());
        }
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
    fn a_png_round_trips() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("grid.png");
        let picture = one(&flat(0.2), 2, 2).unwrap();
        save_png(&path, &picture).unwrap();
        assert_eq!(image::open(&path).unwrap().into_luma8(), picture);
    }

    #[test]
    fn a_gif_has_all_its_frames() {
        use image::AnimationDecoder;
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("frames.gif");
        let frames = [0.2, 0.6, 1.0].map(|shade| one(&flat(shade), 1, 2).unwrap());
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
    fn a_folder_of_images_is_published_at_once() {
        let root = tempfile::tempdir().unwrap();
        let images = [flat(0.2), flat(0.4)].concat();
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
    }

    #[test]
    fn a_bad_image_leaves_no_folder() {
        let root = tempfile::tempdir().unwrap();
        let mut images = [flat(0.2), flat(0.4)].concat();
        images[8] = f32::NAN;
        let message =
            format!("{:#}", save_folder(&root.path().join("x"), &images, SIZE).unwrap_err());
        assert!(message.contains("image 1") && message.contains("pixel 2"), "{message}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
