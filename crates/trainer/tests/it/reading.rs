//! Own images in every form that the reader takes, and what it says about each.

use std::{fs, path::Path};

use hvae_data::own::{OwnImages, Part};
use hvae_data::{ImageSet, ImageShape, Split, arrays};
use hvae_runtime::npz::{Array, Loaded, Values, save};
use image::{GrayImage, Luma, Rgb, RgbImage};

use crate::damaged::gzipped;

const TRAIN: Part = Part::Split(Split::Train);
const TEST: Part = Part::Split(Split::Test);

fn square(side: usize) -> ImageShape {
    ImageShape::grey(side, side)
}

/// A part of `path` as squares of `side` pixels, and the report.
fn read(path: &Path, part: Part, side: usize) -> (ImageSet, String) {
    let (set, report) = OwnImages::find(path).unwrap().read(part, Some(square(side))).unwrap();
    (set, report.to_string())
}

fn error(path: &Path, part: Part) -> String {
    let read = || OwnImages::find(path)?.read(part, Some(square(2)));
    format!("{:#}", read().unwrap_err())
}

/// A picture of two shades, the lighter `shade`.
fn picture(path: &Path, width: u32, height: u32, shade: u8) {
    let mut picture = GrayImage::from_pixel(width, height, Luma([shade]));
    picture.put_pixel(0, 0, Luma([shade / 2]));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    picture.save(path).unwrap();
}

#[test]
fn a_folder_is_split_and_all_changes_are_told() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    for index in 0..19 {
        picture(&path(&format!("{index:02}.png")), 28, 28, 10 * index);
    }
    RgbImage::from_pixel(56, 28, Rgb([255, 0, 0])).save(path("99.bmp")).unwrap();
    fs::create_dir(path("__MACOSX")).unwrap();
    for (name, content) in [("notes.txt", "x"), (".hidden", "x"), ("Thumbs.db", "x")] {
        fs::write(path(name), content).unwrap();
    }
    let (train, of_train) = read(root.path(), TRAIN, 28);
    let (test, of_test) = read(root.path(), TEST, 28);
    assert_eq!((train.len(), test.len(), train.is_labelled()), (18, 2, false));
    assert_eq!(
        of_train,
        "1 of one shade all over, 1 left out, not PNG, JPEG, GIF, WebP or BMP (notes.txt)"
    );
    let changes = "1 resized to 28x28, 1 with black bars to keep their proportions, 1 converted to \
                   grey, 1 left out, not PNG, JPEG, GIF, WebP or BMP (notes.txt)";
    assert_eq!(of_test, changes);
    assert_eq!((train.image(9)[1], test.image(0)[1]), (100, 90));
    // Twice as wide as high: scaled by a half, with seven black rows above and below.
    let column: Vec<bool> = (0..28).map(|row| test.image(1)[row * 28 + 14] > 0).collect();
    assert_eq!(column.iter().position(|&lit| lit), Some(7));
    assert_eq!(column.iter().filter(|&&lit| lit).count(), 14);
    // Without a shape they have that of the first.
    let (all, _) = OwnImages::find(root.path()).unwrap().read(Part::Whole, None).unwrap();
    assert_eq!((all.len(), all.shape()), (20, square(28)));
}

#[test]
fn parts_and_classes_of_a_folder_are_found() {
    let root = tempfile::tempdir().unwrap();
    // Each part lacks a class of the others, so that numbers of its own would be others.
    for (name, shade) in
        [("Train/cat", 11), ("Train/dog", 22), ("test/ape", 44), ("test/dog", 33), ("val/bee", 55)]
    {
        picture(&root.path().join(name).join("a.png"), 28, 28, shade);
    }
    let (train, report) = read(root.path(), TRAIN, 28);
    assert_eq!((train.labels(), train.image(1)[1]), ([2, 3].as_slice(), 22));
    assert_eq!(train.class_names(), ["ape", "bee", "cat", "dog"]);
    assert_eq!(report, "without those for validation");
    let (test, _) = read(root.path(), TEST, 28);
    assert_eq!((test.labels(), test.image(1)[1]), ([0, 3].as_slice(), 33));
    let (valid, _) = read(root.path(), Part::Validation, 28);
    assert_eq!((valid.labels(), valid.image(0)[1]), ([1].as_slice(), 55));
    // A folder without pictures is not a class; labels hold at most 256 classes.
    let folders = (0..253).map(|class| root.path().join(format!("test/x{class}")));
    folders.clone().for_each(|folder| fs::create_dir(folder).unwrap());
    assert_eq!(read(root.path(), TRAIN, 28).0.labels(), [2, 3]);
    folders.for_each(|folder| picture(&folder.join("a.png"), 28, 28, 5));
    let (train, report) = read(root.path(), TRAIN, 28);
    assert!(!train.is_labelled() && report.contains("257 classes"), "{report}");
}

#[test]
fn folders_named_by_numbers_give_these_labels() {
    let root = tempfile::tempdir().unwrap();
    for class in ["7", "10", "2"] {
        picture(&root.path().join(class).join("a.png"), 2, 2, class.parse().unwrap());
    }
    let (set, _) = read(root.path(), Part::Whole, 2);
    assert_eq!((set.labels(), set.image(0)[1]), ([10, 2, 7].as_slice(), 10));
    assert!(set.class_names().is_empty());
    picture(&root.path().join("loose.png"), 2, 2, 9);
    let (set, report) = read(root.path(), Part::Whole, 2);
    assert!(!set.is_labelled() && report.contains("not in a class folder"), "{report}");
    fs::create_dir_all(root.path().join("7/deeper")).unwrap();
    assert!(error(root.path(), TRAIN).contains("too deep"));
}

#[cfg(unix)]
#[test]
fn only_regular_files_are_opened() {
    let root = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("mkfifo").arg(root.path().join("a.png")).status();
    assert!(made.unwrap().success());
    std::os::unix::fs::symlink("/dev/zero", root.path().join("b.png")).unwrap();
    std::os::unix::fs::symlink("nowhere", root.path().join("c.png")).unwrap();
    assert!(error(root.path(), Part::Whole).contains("holds no pictures"));
    picture(&root.path().join("d.png"), 2, 2, 200);
    let (set, report) = read(root.path(), Part::Whole, 2);
    assert_eq!(set.len(), 1);
    assert_eq!(report, "3 left out, not regular files (a.png, ...)");
    for name in ["train-images-idx3-ubyte", "x.npz", "x.npy", "data_batch_1.bin"] {
        let place = root.path().join("dev");
        fs::create_dir_all(&place).unwrap();
        std::os::unix::fs::symlink("/dev/zero", place.join(name)).unwrap();
        let message = error(&place.join(name), TRAIN);
        assert!(message.contains("regular file"), "{name}: {message}");
        fs::remove_file(place.join(name)).unwrap();
    }
}

/// The picture is wider than high; held on its side it is stored so that it must be turned.
#[test]
fn pictures_are_turned_upright() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a.jpg");
    let mut stored = GrayImage::from_pixel(16, 8, Luma([10]));
    (0..8).for_each(|y| (0..8).for_each(|x| stored.put_pixel(x, y, Luma([240]))));
    stored.save(&path).unwrap();
    let plain = fs::read(&path).unwrap();
    // Orientation 6: the right way up after a quarter turn to the right.
    let tiff = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let length = u16::try_from(tiff.len() + 2).unwrap().to_be_bytes();
    fs::write(&path, [&plain[..2], &[0xff, 0xe1], &length, tiff, &plain[2..]].concat()).unwrap();
    let (set, report) = OwnImages::find(root.path()).unwrap().read(Part::Whole, None).unwrap();
    assert_eq!(set.shape(), ImageShape::grey(16, 8));
    assert_eq!(report.to_string(), "1 turned upright by their EXIF data");
    assert!(set.image(0)[0] > 200 && set.image(0)[15 * 8] < 50, "light above dark");
}

#[test]
fn arrays_with_and_without_parts_are_read() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("set.npz");
    let bytes: Vec<u8> = (0..40).map(|at| 6 * at).collect();
    let array = |shape: &[usize]| Array::U8(shape.to_vec(), &bytes[..shape.iter().product()]);
    for (arrays, train, test) in [
        (vec![("images", array(&[10, 2, 2]))], 9, 1),
        (vec![("arr_0", array(&[10, 2, 2])), ("arr_1", array(&[10]))], 9, 1),
        (vec![("x_train", array(&[10, 4]))], 9, 1),
        (vec![("x_train", array(&[2, 4])), ("x_test", array(&[1, 4]))], 2, 1),
        (vec![("train_images", array(&[2, 4])), ("test_images", array(&[1, 4]))], 2, 1),
        (vec![("X_train", array(&[2, 4])), ("X_test", array(&[1, 4]))], 2, 1),
    ] {
        save(&path, &arrays).unwrap();
        assert_eq!((read(&path, TRAIN, 2).0.len(), read(&path, TEST, 2).0.len()), (train, test));
    }
    save(&path, &[("images", array(&[10, 2, 2]))]).unwrap();
    assert_eq!(read(&path, TEST, 2).0.bytes(), &bytes[36..]);
    assert_eq!(read(&path, TRAIN, 4).1, "9 resized to 4x4");
    let valid = ("val_images", array(&[3, 4]));
    save(&path, &[("train_images", array(&[10, 4])), valid]).unwrap();
    let (train, report) = read(&path, TRAIN, 2);
    assert_eq!((train.len(), report.as_str()), (9, "without those for validation"));
    assert_eq!(read(&path, Part::Validation, 2).0.len(), 3);
    save(&path, &[("a", array(&[1, 4])), ("b", array(&[1, 4]))]).unwrap();
    assert!(error(&path, TRAIN).contains("none named `images`"));
    save(&path, &[("images", array(&[9, 2, 2]))]).unwrap();
    assert!(error(&path, TEST).contains("at least ten are needed"));
}

/// A `.npy` file: its header, then `data`.
fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let head = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
    let length = u16::try_from(head.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\x00", length.as_slice(), head.as_bytes(), data].concat()
}

#[test]
fn every_type_and_order_of_array_gives_the_same_images() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("set.npy");
    let values = [0_u8, 255, 51, 102, 153, 204];
    let as_bytes = |of: fn(u8) -> Vec<u8>| values.iter().flat_map(|v| of(*v)).collect::<Vec<u8>>();
    // Image, row and column from the last to the first.
    let fortran: Vec<u8> = [0, 2, 4, 1, 3, 5].map(|at| values[at]).to_vec();
    for (descr, is_fortran, data) in [
        ("|u1", false, values.to_vec()),
        ("|u1", true, fortran),
        ("<i2", false, as_bytes(|v| i16::from(v).to_le_bytes().to_vec())),
        (">i2", false, as_bytes(|v| i16::from(v).to_be_bytes().to_vec())),
        ("<u4", false, as_bytes(|v| u32::from(v).to_le_bytes().to_vec())),
        (">i8", false, as_bytes(|v| i64::from(v).to_be_bytes().to_vec())),
        ("<f4", false, as_bytes(|v| (f32::from(v) / 255.0).to_le_bytes().to_vec())),
        (">f8", false, as_bytes(|v| (f64::from(v) / 255.0).to_be_bytes().to_vec())),
    ] {
        fs::write(&path, npy(descr, is_fortran, "(1, 3, 2)", &data)).unwrap();
        let (set, report) = OwnImages::find(&path).unwrap().read(Part::Whole, None).unwrap();
        assert_eq!((set.bytes(), set.shape()), (&values[..], ImageShape::grey(3, 2)), "{descr}");
        assert!(report.is_empty(), "{descr}: {report}");
    }
    // 0, 1, 1/2 and 1/5 as IEEE 754 binary16.
    let halves = [0x0000_u16, 0x3c00, 0x3800, 0x3266];
    for (descr, data) in [
        ("<f2", halves.map(u16::to_le_bytes).concat()),
        (">f2", halves.map(u16::to_be_bytes).concat()),
    ] {
        fs::write(&path, npy(descr, false, "(1, 2, 2)", &data)).unwrap();
        let (set, report) = read(&path, Part::Whole, 2);
        assert_eq!((set.bytes(), report.as_str()), (&[0, 255, 128, 51][..], "1 rounded to 8 bits"));
    }
    fs::write(&path, npy("|b1", false, "(1, 2, 2)", &[0, 1, 1, 0])).unwrap();
    assert_eq!(read(&path, Part::Whole, 2).0.bytes(), [0, 255, 255, 0]);
}

#[test]
fn arrays_that_are_no_images_are_refused_with_a_remedy() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("set.npy");
    let floats = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    for (descr, shape, data, parts) in [
        ("<f4", "(1, 1, 2)", floats(&[0.5, 37.0]), ["row 0, column 1 is 37", "divide by 255"]),
        ("<f4", "(1, 2, 1)", floats(&[0.5, -0.5]), ["row 1, column 0 is -0.5", "+ 1) / 2"]),
        ("<f4", "(1, 1, 2)", floats(&[0.5, f32::NAN]), ["column 1 is not a number", "NaN"]),
        ("<i2", "(1, 1, 1)", vec![0, 1], ["is 256", "from 0 to 255"]),
        ("|O", "(1, 1, 1)", vec![0x80, 4], ["pickled Python objects", "numpy.stack"]),
        ("<c8", "(1, 1, 1)", vec![0; 8], ["type `<c8`", "astype"]),
        ("|u1", "(3,)", vec![0; 3], ["shape [3]", "not that of images"]),
        ("|u1", "(1, 2, 2, 2)", vec![0; 8], ["shape [1, 2, 2, 2]", "not that of images"]),
        ("|u1", "(0, 2, 2)", vec![], ["holds no image", "set.npy"]),
        ("|u1", "(1, 2, 2)", vec![0; 3], ["requires", "set.npy"]),
        ("|u1", "(1, 2, 2)", vec![0; 5], ["something else follows", "set.npy"]),
        ("|u1", "(99999999999, 99999999999, 9)", vec![0; 9], ["impossible", "set.npy"]),
        ("|u1", "(99999999, 999, 999)", vec![0; 9], ["requires", "set.npy"]),
    ] {
        fs::write(&path, npy(descr, false, shape, &data)).unwrap();
        let message = error(&path, Part::Whole);
        for part in parts {
            assert!(message.contains(part), "{descr} {shape}: {part} is not in {message}");
        }
    }
}

/// As the Python module gives them.
#[test]
fn arrays_in_memory_follow_the_same_rules() {
    let array = |shape: &[usize], values| Loaded { shape: shape.to_vec(), values };
    for (values, numbers, bytes) in [
        (Values::F32(vec![0.25, 1.0]), [0.25, 1.0], [64, 255]),
        (Values::I64(vec![51, 0]), [0.2, 0.0], [51, 0]),
        (Values::Bool(vec![true, false]), [1.0, 0.0], [255, 0]),
    ] {
        let images = array(&[1, 1, 2], values);
        let found = arrays::grey("x", images.clone()).unwrap();
        assert_eq!(found, (numbers.to_vec(), ImageShape::grey(1, 2)));
        assert_eq!(arrays::set("x", images, None).unwrap().bytes(), bytes);
    }
    // Two pixels, red and blue: all of a channel come together.
    let colour = array(&[1, 3, 1, 2], Values::U8(vec![255, 0, 0, 0, 0, 255]));
    assert_eq!(arrays::set("x", colour.clone(), None).unwrap().bytes(), [76, 29]);
    let message = |images| format!("{:#}", arrays::grey("x", images).unwrap_err());
    assert!(message(colour).contains("`x`: it is in colour"));
    let large = array(&[1, 1, 2], Values::I64(vec![0, 256]));
    assert!(message(large).contains("image 0, row 0, column 1 is 256"));
}

/// A flipped bit shows only in the checksum.
#[test]
fn damaged_archives_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("set.npz");
    save(&path, &[("x", Array::U8(vec![20, 9, 9], &[3; 1620]))]).unwrap();
    let whole = fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for bytes in [&b"<html>"[..], &whole[..whole.len() / 2], &flipped] {
        fs::write(&path, bytes).unwrap();
        for part in [TRAIN, TEST, Part::Whole] {
            assert!(error(&path, part).contains("set.npz"));
        }
    }
    assert!(error(&path, TEST).contains("Invalid checksum"), "{}", error(&path, TEST));
}

#[test]
fn labels_of_every_kind_are_read_or_left_out() {
    let root = tempfile::tempdir().unwrap();
    let (path, images) = (root.path().join("set.npz"), vec![9; 3 * 4]);
    let read_with = |labels: Array<'_>| {
        save(&path, &[("images", Array::U8(vec![3, 2, 2], &images)), ("labels", labels)]).unwrap();
        read(&path, Part::Whole, 2)
    };
    let numbers = [7, 0, 255];
    for labels in [
        Array::I64(vec![3], &numbers),
        Array::I64(vec![3, 1], &numbers),
        Array::F32(vec![3], &[7.0, 0.0, 255.0]),
        Array::F64(vec![3], &[7.0, 0.0, 255.0]),
    ] {
        assert_eq!(read_with(labels).0.labels(), [7, 0, 255]);
    }
    let one_hot = read_with(Array::F32(vec![3, 3], &[0., 0., 1., 1., 0., 0., 0., 1., 0.]));
    assert_eq!(one_hot.0.labels(), [2, 0, 1]);
    for (labels, reason) in [
        (Array::I64(vec![3], &[1, 300, 2]), "label 1 of `labels` is 300"),
        (Array::F32(vec![3], &[1.0, 0.5, 2.0]), "label 1 of `labels` is 0.5"),
        (Array::F32(vec![3, 2], &[0.0; 6]), "not all one-hot"),
        (Array::U8(vec![3, 1, 2], &[0; 6]), "shape [3, 1, 2]"),
    ] {
        let (set, report) = read_with(labels);
        assert!(!set.is_labelled() && report.contains(reason), "{reason}: {report}");
        let message = set.require_classes(10, "x").unwrap_err().to_string();
        assert!(message.contains(reason), "{message}");
    }
    save(&path, &[("x", Array::U8(vec![3, 4], &images)), ("y", Array::U8(vec![2], &[1, 2]))])
        .unwrap();
    assert!(error(&path, Part::Whole).contains("2 labels in `y` for 3 images"));
}

/// The files of a set in the IDX format: `count` images of 1x2 pixels from `first` on, and labels.
fn idx(folder: &Path, prefix: &str, part: &str, count: u8, first: u8) {
    let name = |what: &str| folder.join(format!("{prefix}{part}-{what}-ubyte"));
    let head = [0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 1, 0, 0, 0, 2];
    let pixels: Vec<u8> = (0..2 * count).map(|at| first + 10 * at).collect();
    fs::write(name("images-idx3"), [&head[..], &pixels].concat()).unwrap();
    let labels: Vec<u8> = (0..count).map(|at| at + 1).collect();
    fs::write(name("labels-idx1"), [&[0, 0, 8, 1, 0, 0, 0, count], &labels[..]].concat()).unwrap();
}

#[test]
fn files_in_the_idx_format_are_read_under_all_their_names() {
    let root = tempfile::tempdir().unwrap();
    let shape = Some(ImageShape::grey(1, 2));
    let part = |path: &Path, part| OwnImages::find(path).unwrap().read(part, shape).unwrap();
    idx(root.path(), "", "train", 10, 5);
    // Without test files every tenth image is one.
    assert_eq!(part(root.path(), TEST).0.labels(), [10]);
    assert_eq!(part(root.path(), TRAIN).0.len(), 9);
    idx(root.path(), "", "t10k", 2, 7);
    let (test, _) = part(root.path(), TEST);
    assert_eq!((test.labels(), test.bytes()), ([1, 2].as_slice(), [7, 17, 27, 37].as_slice()));
    assert_eq!(part(root.path(), TRAIN).0.len(), 10);
    let file = root.path().join("t10k-images-idx3-ubyte");
    assert_eq!(part(&file, Part::Whole).0, test);
    let (framed, report) = read(root.path(), TEST, 2);
    assert_eq!(framed.image(0), [7, 17, 0, 0]);
    assert!(report.contains("2 resized to 2x2, 2 with black bars"), "{report}");

    // EMNIST has a prefix, is packed, and lies transposed.
    idx(root.path(), "emnist-digits-", "train", 10, 5);
    idx(root.path(), "emnist-digits-", "test", 1, 7);
    assert!(error(root.path(), TRAIN).contains("several sets"));
    for name in ["emnist-digits-test-images-idx3-ubyte", "emnist-digits-test-labels-idx1-ubyte"] {
        let plain = root.path().join(name);
        let packed = gzipped(&fs::read(&plain).unwrap());
        fs::write(root.path().join(format!("{name}.gz")), packed).unwrap();
        fs::remove_file(plain).unwrap();
    }
    let emnist = root.path().join("emnist-digits-train-images-idx3-ubyte");
    let (set, report) = OwnImages::find(&emnist).unwrap().read(TEST, None).unwrap();
    assert_eq!((set.bytes(), set.shape()), ([7, 17].as_slice(), ImageShape::grey(2, 1)));
    assert_eq!(
        (set.labels(), report.to_string()),
        (&[1][..], "transposed, as EMNIST is published".to_owned())
    );
    fs::write(root.path().join("t10k-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 1, 7]).unwrap();
    assert!(error(&file, TRAIN).contains("1 labels for 2 images"));
}

#[test]
fn emnist_is_turned() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let all =
        |name| OwnImages::find(&corpus.join(name)).unwrap().read(Part::Whole, None).unwrap().0;
    // The same bytes under two names.
    let plain = all("train-images-idx3-ubyte");
    let turned = all("emnist-x-train-images-idx3-ubyte.gz");
    assert_eq!((plain.shape(), turned.shape()), (ImageShape::grey(5, 4), ImageShape::grey(4, 5)));
    let columns: Vec<u8> = (0..20).map(|at| plain.image(7)[at % 5 * 4 + at / 5]).collect();
    assert_eq!(turned.image(7), columns);
}

#[test]
fn cifar_is_read_and_its_pickles_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let record = |labels: &[u8], [red, green, blue]: [u8; 3]| {
        [labels, &[red; 1024], &[green; 1024], &[blue; 1024]].concat()
    };
    let file = |folder: &str, name: &str, content: &[u8]| {
        fs::create_dir_all(root.path().join(folder)).unwrap();
        fs::write(root.path().join(folder).join(name), content).unwrap();
    };
    file("ten", "data_batch_1.bin", &record(&[1], [255, 0, 0]));
    file("ten", "data_batch_2.bin", &[record(&[0], [0, 255, 0]), record(&[2], [9; 3])].concat());
    file("ten", "test_batch.bin", &record(&[1], [0, 0, 255]));
    file("ten", "batches.meta.txt", b"airplane\nautomobile\nbird\n\n");
    let (train, report) = read(&root.path().join("ten"), TRAIN, 32);
    assert_eq!((train.labels(), train.class_names()[1].as_str()), (&[1, 0, 2][..], "automobile"));
    assert_eq!([0, 1, 2].map(|at| train.image(at)[100]), [76, 150, 9]);
    assert_eq!(report, "2 converted to grey, 3 of one shade all over");
    assert_eq!(read(&root.path().join("ten"), TEST, 32).0.image(0)[0], 29);
    file("hundred", "train.bin", &record(&[4, 72], [1, 2, 3]));
    assert_eq!(read(&root.path().join("hundred"), Part::Whole, 32).0.labels(), [72]);
    file("ten", "test_batch.bin", &[0; 3000]);
    assert!(error(&root.path().join("ten"), TEST).contains("test_batch.bin has 3000 bytes"));
    file("pickled", "train", b"");
    file("pickled", "meta", b"");
    assert!(error(&root.path().join("pickled"), TRAIN).contains("binary version"));
}

#[test]
fn errors_name_the_path() {
    let root = tempfile::tempdir().unwrap();
    assert!(error(&root.path().join("none"), TRAIN).contains("no such folder"));
    assert!(error(root.path(), TRAIN).contains("holds no pictures"));
    let broken = root.path().join("a.png");
    picture(&broken, 2, 2, 9);
    let message = error(root.path(), TEST);
    assert!(message.contains("at least ten"), "{message}");
    for content in [&b"<html>"[..], &fs::read(&broken).unwrap()[..40]] {
        fs::write(&broken, content).unwrap();
        assert!(error(root.path(), Part::Whole).contains("a.png"));
    }
    assert!(error(&broken, TRAIN).contains("single picture"));
}
