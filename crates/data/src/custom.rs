//! Own images as a data set: a folder of pictures, IDX files, or arrays in a `.npz` or `.npy`
//! file, converted to grey images of one shape.

use std::{collections::BTreeSet, ffi::OsString, path::Path, path::PathBuf};

use anyhow::{Result, bail, ensure};
use hvae_runtime::{npz, terminal};

use crate::convert::{Changes, convert, gather, resize};
use crate::folder::{ENDINGS, Listing, decode, list};
use crate::{ImageSet, ImageShape, MNIST, Split, arrays, idx};

/// Without a split of its own, every tenth image of a set is a test image.
pub(crate) const TEST_EVERY: usize = 10;

/// Names of the arrays of images and labels of each [`Split`].
pub(crate) const SPLIT_ARRAYS: [[[&str; 2]; 2]; 2] = [
    [["x_train", "y_train"], ["x_test", "y_test"]],
    [["train_images", "train_labels"], ["test_images", "test_labels"]],
];

/// Loads one part of the images at `path`, converted to `shape`.
///
/// - A folder holds pictures, or a subfolder for each class; classes are numbered in the order of
///   their names. Two subfolders `train` and `test`, each such a folder, are the two parts; a
///   class has one number in both.
/// - A folder with files named as those of MNIST, `train-images-idx3-ubyte`,
///   `t10k-images-idx3-ubyte` and labels, plain or gzip, is read as IDX.
/// - A `.npz` file holds arrays `x_train` and `x_test` (with `y_train`, `y_test`), or
///   `train_images` and `test_images` (with `train_labels`, `test_labels`), or `images` (with
///   `labels`), or one array.
///
/// Without parts, every tenth image is a test image. Colours become grey, transparent parts black;
/// images of another size are scaled to fit, with black borders. Labels from 0 to 255 are kept.
/// Errors name the file.
pub fn load(path: &Path, split: Split, shape: ImageShape) -> Result<ImageSet> {
    let (set, changes) = if let Some(set) = from_idx(path, split, shape)? {
        set
    } else if path.is_dir() {
        from_folder(path, split, shape)?
    } else if path.is_file() {
        from_arrays(path, split, shape)?
    } else {
        bail!(
            "data.dataset = {}: there is no such folder or file; give a folder of pictures, a .npz \
             or .npy file, or one of mnist, fashion-mnist, synthetic",
            path.display()
        );
    };
    let part = ["training", "test"][split as usize];
    let changes = changes.describe(shape);
    terminal::line(&format!("{}: {} {part} images{changes}", path.display(), set.len()));
    Ok(set)
}

/// The images of a folder with files named as those of MNIST; `None` if it lacks them.
fn from_idx(path: &Path, split: Split, shape: ImageShape) -> Result<Option<(ImageSet, Changes)>> {
    if !path.is_dir() {
        return Ok(None);
    }
    let [train, _, test, _] = &MNIST.files;
    let (Some(train), Some(test)) = (train.locate(path)?, test.locate(path)?) else {
        return Ok(None);
    };
    let images = if split == Split::Train { train } else { test };
    let labels = MNIST.part(split)[1].locate(path)?;
    let set = idx::read_labelled(&images, labels.as_deref())?;
    ensure!(!set.is_empty(), "{} holds no image", images.display());
    resize(set, shape).map(Some)
}

fn from_folder(path: &Path, split: Split, shape: ImageShape) -> Result<(ImageSet, Changes)> {
    let parts = ["train", "test"].map(|part| path.join(part));
    let has_parts = parts.iter().all(|part| part.is_dir());
    let mut listings = if has_parts {
        parts.iter().map(|part| list(part)).collect::<Result<Vec<_>>>()?
    } else {
        vec![list(path)?]
    };
    // Over both parts, so that a class has one number in both, even if one lacks it.
    let names: BTreeSet<OsString> = listings.iter().flat_map(names_of_classes).collect();
    let listing = listings.swap_remove(if has_parts { split as usize } else { 0 });
    let in_class = listing.pictures.iter().filter(|(_, class)| class.is_some()).count();
    let unlabelled = if names.len() > 1 + usize::from(u8::MAX) {
        Some("labels dropped, there are more than 256 classes")
    } else if in_class > 0 && in_class < listing.pictures.len() {
        Some("labels dropped, some pictures are not in a class folder")
    } else {
        None
    };
    let label = |class: &PathBuf| {
        let label = names.iter().position(|name| Some(name.as_os_str()) == class.file_name());
        label.and_then(|label| u8::try_from(label).ok()).filter(|_| unlabelled.is_none())
    };
    let labels: Vec<Option<u8>> = listing.classes.iter().map(label).collect();
    let pictures: Vec<_> = if has_parts {
        listing.pictures
    } else {
        held_out(listing.pictures.len(), split).map(|i| listing.pictures[i].clone()).collect()
    };
    ensure!(
        !pictures.is_empty(),
        "{} holds too few pictures ({}){}",
        path.display(),
        ENDINGS.join(", "),
        ["", "; every tenth picture is a test image, so at least ten are needed"][split as usize]
    );
    let (images, changes) = gather(pictures.len(), shape, |index| {
        decode(&pictures[index].0, |picture| Ok(convert(picture, shape)))
    })?;
    let labels = pictures.iter().map(|(_, class)| labels[(*class)?]).collect();
    let changes = Changes { unlabelled, skipped: listing.others.len(), ..changes };
    Ok((ImageSet::with(images, labels, shape)?, changes))
}

/// The names of the subfolders that hold pictures.
fn names_of_classes(listing: &Listing) -> impl Iterator<Item = OsString> {
    let classes = listing.pictures.iter().filter_map(|(_, class)| *class);
    classes.filter_map(|class| listing.classes[class].file_name().map(ToOwned::to_owned))
}

/// The indices of the images in `split`, out of `count`.
fn held_out(count: usize, split: Split) -> impl Iterator<Item = usize> {
    let test = move |index: &usize| index % TEST_EVERY == TEST_EVERY - 1;
    (0..count).filter(move |index| test(index) == (split == Split::Test))
}

fn from_arrays(path: &Path, split: Split, shape: ImageShape) -> Result<(ImageSet, Changes)> {
    let is_archive = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npz"));
    let names = if is_archive { npz::names(path)? } else { Vec::new() };
    let has = |name: &str| names.iter().any(|n| n == name);
    let parts = SPLIT_ARRAYS.iter().find(|parts| parts.iter().all(|[images, _]| has(images)));
    let of_part = parts.map(|parts| parts[split as usize]);
    let images = arrays::load(path, of_part)?;
    let rows: Vec<usize> = match of_part {
        Some(_) => (0..images.count).collect(),
        None => held_out(images.count, split).collect(),
    };
    ensure!(!rows.is_empty(), "{} holds too few images: at least ten are needed", path.display());
    let (pixels, mut changes) =
        gather(rows.len(), shape, |at| Ok(convert(images.picture(rows[at])?, shape)))?;
    let classes = images.labels.as_deref().map(arrays::classes);
    if matches!(classes, Some(Err(_))) {
        changes.unlabelled = Some("labels dropped, they are not all from 0 to 255");
    }
    let labels = classes.and_then(Result::ok);
    let labels = labels.map(|labels| rows.iter().map(|&row| labels[row]).collect());
    Ok((ImageSet::with(pixels, labels, shape)?, changes))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use hvae_runtime::npz::{Array, save};
    use image::{GrayImage, Luma, Rgb, RgbImage};

    use super::*;

    fn square(side: usize) -> ImageShape {
        ImageShape::grey(side, side)
    }

    fn grey(path: &Path, width: u32, height: u32, shade: u8) {
        GrayImage::from_pixel(width, height, Luma([shade])).save(path).unwrap();
    }

    #[test]
    fn a_folder_is_split_resized_and_made_grey() {
        let root = tempfile::tempdir().unwrap();
        for index in 0..19 {
            grey(&root.path().join(format!("{index:02}.png")), 28, 28, index);
        }
        RgbImage::from_pixel(56, 28, Rgb([255, 0, 0])).save(root.path().join("99.png")).unwrap();
        fs::write(root.path().join("notes.txt"), "not a picture").unwrap();
        let (train, of_train) = from_folder(root.path(), Split::Train, square(28)).unwrap();
        let (test, of_test) = from_folder(root.path(), Split::Test, square(28)).unwrap();
        assert_eq!((train.len(), test.len()), (18, 2));
        assert!(!train.is_labelled());
        assert_eq!(of_train, Changes { skipped: 1, ..Changes::default() });
        assert_eq!(of_test, Changes { resized: 1, coloured: 1, skipped: 1, unlabelled: None });
        assert_eq!((train.image(9)[0], test.image(0)[0]), (10, 9));
        // Twice as wide as high: scaled by a half, with seven black rows above and below.
        let framed = test.image(1);
        let column: Vec<bool> = (0..28).map(|row| framed[row * 28 + 14] > 0).collect();
        assert_eq!(column.iter().position(|&lit| lit), Some(7));
        assert_eq!(column.iter().filter(|&&lit| lit).count(), 14);
    }

    #[test]
    fn parts_and_classes_of_a_folder_are_found() {
        let root = tempfile::tempdir().unwrap();
        // Each part lacks a class of the other, so that numbers of its own would be others.
        for (place, shade) in [("train/cat", 1), ("train/dog", 2), ("test/ape", 4), ("test/dog", 3)]
        {
            fs::create_dir_all(root.path().join(place)).unwrap();
            grey(&root.path().join(place).join("a.png"), 28, 28, shade);
        }
        let (train, _) = from_folder(root.path(), Split::Train, square(28)).unwrap();
        assert_eq!((train.labels(), train.image(1)[0]), ([1, 2].as_slice(), 2));
        assert!(train.is_labelled());
        let (test, _) = from_folder(root.path(), Split::Test, square(28)).unwrap();
        assert_eq!((test.labels(), test.image(1)[0]), ([0, 2].as_slice(), 3));
        // A folder without pictures is not a class; labels hold at most 256 classes.
        let folders = (0..254).map(|class| root.path().join(format!("test/{class}")));
        folders.clone().for_each(|folder| fs::create_dir(folder).unwrap());
        let (train, _) = from_folder(root.path(), Split::Train, square(28)).unwrap();
        assert_eq!(train.labels(), [1, 2]);
        folders.for_each(|folder| grey(&folder.join("a.png"), 28, 28, 5));
        let (train, changes) = from_folder(root.path(), Split::Train, square(28)).unwrap();
        assert!(!train.is_labelled() && changes.unlabelled.is_some(), "{changes:?}");
    }

    #[test]
    fn arrays_with_and_without_parts_are_read() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("set.npz");
        let bytes: Vec<u8> = (0..40).collect();
        let array = |shape: &[usize]| Array::U8(shape.to_vec(), &bytes[..shape.iter().product()]);
        save(&path, &[("images", array(&[10, 2, 2]))]).unwrap();
        let (test, changes) = from_arrays(&path, Split::Test, square(2)).unwrap();
        assert_eq!((test.len(), test.bytes()), (1, &bytes[36..]));
        assert_eq!(changes, Changes::default());
        let (train, changes) = from_arrays(&path, Split::Train, square(4)).unwrap();
        assert_eq!((train.len(), train.pixels(), changes.resized), (9, 16, 9));
        let labels = Array::I64(vec![1], &[6]);
        save(&path, &[("x_train", array(&[2, 4])), ("x_test", array(&[1, 4])), ("y_test", labels)])
            .unwrap();
        let (train, changes) = from_arrays(&path, Split::Train, square(2)).unwrap();
        assert!(!train.is_labelled() && changes == Changes::default());
        let (test, _) = from_arrays(&path, Split::Test, square(2)).unwrap();
        assert!(test.is_labelled() && test.labels() == [6]);
        // Labels out of range are dropped.
        for labels in [[1, 2, 3, 4, 5, 6, 7, 8, 9, 300], [1, 2, 3, 4, -5, 6, 7, 8, 9, 10]] {
            let labels = Array::I64(vec![10], &labels);
            save(&path, &[("images", array(&[10, 2, 2])), ("labels", labels)]).unwrap();
            let (train, changes) = from_arrays(&path, Split::Train, square(2)).unwrap();
            assert!(!train.is_labelled() && changes.unlabelled.is_some(), "{changes:?}");
        }
    }

    #[test]
    fn colour_arrays_become_grey_in_either_layout() {
        let root = tempfile::tempdir().unwrap();
        // Ten images of 2 by 2 pixels: the first pixel red, the others white.
        let last: Vec<u8> = [255, 0, 0].into_iter().chain([255; 9]).cycle().take(120).collect();
        let planes = [[255; 4], [0, 255, 255, 255], [0, 255, 255, 255]].concat();
        let first: Vec<u8> = planes.into_iter().cycle().take(120).collect();
        let mut found = Vec::new();
        for (shape, values) in [(vec![10, 2, 2, 3], &last), (vec![10, 3, 2, 2], &first)] {
            let path = root.path().join("set.npz");
            save(&path, &[("images", Array::U8(shape, values))]).unwrap();
            let (set, changes) = from_arrays(&path, Split::Test, square(2)).unwrap();
            assert_eq!(changes, Changes { coloured: 1, ..Changes::default() });
            found.push(set);
        }
        assert_eq!(found[0], found[1]);
        let image = found[0].image(0);
        assert!((40..120).contains(&image[0]) && image[1..] == [255; 3], "{image:?}");
    }

    #[test]
    fn folders_of_idx_files_are_read() {
        let root = tempfile::tempdir().unwrap();
        let images = |count: u8| {
            let head = [0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 2, 0, 0, 0, 4];
            [&head[..], &vec![9; 8 * usize::from(count)]].concat()
        };
        let write = |name: &str, bytes: &[u8]| fs::write(root.path().join(name), bytes).unwrap();
        write("train-images-idx3-ubyte", &images(3));
        write("t10k-images.idx3-ubyte", &images(2));
        write("t10k-labels-idx1-ubyte", &[0, 0, 8, 1, 0, 0, 0, 2, 7, 8]);
        let (train, changes) = from_idx(root.path(), Split::Train, square(4)).unwrap().unwrap();
        assert_eq!((train.len(), train.is_labelled(), changes.resized), (3, false, 3));
        // Two of the four rows of the square are the picture.
        assert_eq!(train.image(0), [[0; 4], [9; 4], [9; 4], [0; 4]].concat());
        let (test, _) = from_idx(root.path(), Split::Test, square(4)).unwrap().unwrap();
        assert_eq!(test.labels(), [7, 8]);
        write("t10k-labels-idx1-ubyte", &[0, 0, 8, 1, 0, 0, 0, 1, 7]);
        let error = from_idx(root.path(), Split::Test, square(4)).unwrap_err();
        assert!(format!("{error:#}").contains("1 labels for 2 images"), "{error:#}");
    }

    #[test]
    fn errors_name_the_path() {
        let root = tempfile::tempdir().unwrap();
        let error =
            |path: &Path, split| format!("{:#}", load(path, split, square(28)).unwrap_err());
        assert!(error(&root.path().join("none"), Split::Train).contains("no such folder"));
        assert!(error(root.path(), Split::Train).contains("too few pictures"));
        let broken = root.path().join("a.png");
        fs::write(&broken, "<html>").unwrap();
        assert!(error(root.path(), Split::Train).contains("a.png"));
    }
}
