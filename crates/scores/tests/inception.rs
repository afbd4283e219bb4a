//! FID Inception v3 against pytorch-fid 0.3.0, with weights that both compute by one formula from
//! name and index; and the loader on a complete file of them, as PyTorch writes it. The fixtures
//! are made by `scripts/evaluation_fixtures.py`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::float_cmp,
    clippy::print_stdout,
    reason = "a test may stop, compare exactly and show what it measured"
)]

use std::{collections::BTreeMap, io::Write, path::Path};

use burn::store::burn_pack::Tensor as StoredTensor;
use burn::tensor::{Bytes, DType, Device, Tensor, TensorData};
use hvae_data::{ImageShape, KnownFile};
use hvae_runtime::{files, npz, npz::Values};
use hvae_scores::ImageBatch;
use hvae_scores::inception::{Depth, FeatureMap, Inception, SIDE, preprocess, weights};
use npyz::zip::{CompressionMethod, ZipWriter, write::FileOptions};

/// FNV-1a of the name, plus the index, through splitmix64; the top 24 bits, in `[0, 1)`.
fn uniform(name: &str, count: usize) -> impl Iterator<Item = f64> {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    (0..count as u64).map(move |index| {
        let mut z = seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 24)
    })
}

fn values(name: &str, shape: &[usize]) -> Vec<f32> {
    let fan_in: usize = shape[1..].iter().product();
    let value = |u: f64| match name {
        _ if name.ends_with("conv.weight") => (2.0 * u - 1.0) * (6.0 / fan_in as f64).sqrt(),
        _ if name.ends_with("bn.weight") => 0.75 + 0.5 * u,
        _ if name.ends_with("running_var") => 0.5 + u,
        _ => 0.2 * (2.0 * u - 1.0),
    };
    uniform(name, shape.iter().product()).map(|u| value(u) as f32).collect()
}

/// All tensors of the file with the values of the formula.
fn tensors() -> BTreeMap<String, Vec<f32>> {
    let shapes = weights::expected_tensors().unwrap();
    shapes.iter().map(|(name, shape)| (name.clone(), values(name, shape))).collect()
}

fn stored(name: &str, shape: &[usize], values: &[f32]) -> StoredTensor {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    StoredTensor::new(
        name.to_owned(),
        DType::F32,
        shape.to_vec(),
        None,
        Bytes::from_bytes_vec(bytes),
    )
}

fn stored_tensors() -> BTreeMap<String, StoredTensor> {
    let shapes = weights::expected_tensors().unwrap();
    let store = |(name, values): (String, Vec<f32>)| {
        let tensor = stored(&name, &shapes[&name], &values);
        (name, tensor)
    };
    tensors().into_iter().map(store).collect()
}

fn network() -> Inception {
    weights::build(stored_tensors(), &Device::flex()).unwrap()
}

struct Fixture;

impl Fixture {
    fn floats(name: &str) -> Vec<f32> {
        match Self::load(name).values {
            Values::F32(values) => values,
            other => panic!("{name}: {other:?}"),
        }
    }

    fn load(name: &str) -> npz::Loaded {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/inception.npz");
        npz::load(&path, name).unwrap()
    }

    /// Bytes of some images, and their shape.
    fn images(set: &str) -> (Vec<u8>, ImageShape) {
        let array = Self::load(&format!("{set}_images"));
        let Values::U8(bytes) = array.values else { panic!("{set}") };
        (bytes, ImageShape::grey(array.shape[1], array.shape[2]))
    }
}

/// Euclidean norm of the error, relative to that of `expected`.
fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let pairs = found.iter().zip(expected);
    let difference = norm(&mut pairs.map(|(a, b)| f64::from(*a) - f64::from(*b)));
    difference / norm(&mut expected.iter().map(|v| f64::from(*v)))
}

const SETS: [&str; 3] = ["digits", "wide", "large"];

#[test]
fn preprocessing_is_that_of_pytorch_fid() {
    for set in SETS {
        let (bytes, shape) = Fixture::images(set);
        let found = preprocess(ImageBatch { bytes: &bytes, shape });
        // The fixture holds every seventh row and column.
        let kept: Vec<f32> = found
            .iter()
            .enumerate()
            .filter(|(at, _)| (at / SIDE % SIDE).is_multiple_of(7) && (at % SIDE).is_multiple_of(7))
            .map(|(_, value)| *value)
            .collect();
        let expected = Fixture::floats(&format!("{set}_seen"));
        assert_eq!(kept.len(), expected.len());
        for (found, expected) in kept.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-5, "{set}: {found} for {expected}");
        }
    }
}

#[test]
fn features_of_all_depths_are_those_of_pytorch_fid() {
    let (network, device) = (network(), Device::flex());
    for set in SETS {
        let (bytes, shape) = Fixture::images(set);
        for depth in Depth::ALL {
            let images = ImageBatch { bytes: &bytes, shape };
            let found = network.features(images, depth, &device).unwrap();
            let expected = Fixture::floats(&format!("{set}_{}", depth.dims()));
            let error = relative_error(&found, &expected);
            println!("{set} {}: {error:.1e}", depth.dims());
            assert!(error < 1e-4, "{set} at {}: {error:.1e}", depth.dims());
        }
    }
}

#[test]
fn burns_tensors_give_the_same_features_as_the_host() {
    // The implementation for other devices, here on the CPU.
    let (network, device) = (network(), Device::flex());
    let (bytes, shape) = Fixture::images("digits");
    let (count, grey) = (2, preprocess(ImageBatch { bytes: &bytes, shape }));
    let grey = Tensor::<4>::from_data(TensorData::new(grey, [count, 1, SIDE, SIDE]), &device);
    let images = grey.expand([count, 3, SIDE, SIDE]);
    for depth in [Depth::D192, Depth::D2048] {
        let found = network.forward(&images, depth).global_avg_pool().unwrap();
        let error = relative_error(&found, &Fixture::floats(&format!("digits_{}", depth.dims())));
        assert!(error < 1e-4, "{}: {error:.1e}", depth.dims());
    }
}

/// The two forms in which `torch.save` has written state dicts.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// Since PyTorch 1.6: a zip with a pickle of names and shapes, and a file of values per tensor.
    Zip,
    /// Before, as in the published file: pickles one after another, then all values.
    Stream,
}

fn text(pickle: &mut Vec<u8>, text: &str) {
    pickle.push(b'X');
    pickle.extend((text.len() as u32).to_le_bytes());
    pickle.extend(text.as_bytes());
}

fn integer(pickle: &mut Vec<u8>, value: usize) {
    pickle.push(b'J');
    pickle.extend((value as i32).to_le_bytes());
}

/// The pickle of an ordered dictionary of tensors whose values are stored under the keys 0, 1, ...
fn pickled(tensors: &BTreeMap<String, Vec<f32>>, form: Form) -> Vec<u8> {
    let shapes = weights::expected_tensors().unwrap();
    let mut pickle = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
    for (key, (name, values)) in tensors.iter().enumerate() {
        text(&mut pickle, name);
        pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut pickle, "storage");
        pickle.extend(b"ctorch\nFloatStorage\n");
        text(&mut pickle, &key.to_string());
        text(&mut pickle, "cpu");
        integer(&mut pickle, values.len());
        // The old form has one more entry, for views of another storage: `None`.
        pickle.extend(if matches!(form, Form::Stream) { &b"NtQK\x00("[..] } else { b"tQK\x00(" });
        let shape = &shapes[name];
        for axis in shape {
            integer(&mut pickle, *axis);
        }
        pickle.extend(b"t(");
        for axis in 0..shape.len() {
            integer(&mut pickle, shape[axis + 1..].iter().product());
        }
        pickle.extend(b"t\x89ccollections\nOrderedDict\n)RtR");
    }
    pickle.extend(b"u.");
    pickle
}

/// A state dict as `torch.save` writes it.
fn torch_file(path: &Path, tensors: &BTreeMap<String, Vec<f32>>, form: Form) {
    let mut file = std::fs::File::create(path).unwrap();
    let pickle = pickled(tensors, form);
    let bytes = |values: &Vec<f32>| -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    };
    match form {
        Form::Zip => {
            let mut zip = ZipWriter::new(file);
            let stored = FileOptions::default().compression_method(CompressionMethod::Stored);
            zip.start_file("archive/data.pkl", stored).unwrap();
            zip.write_all(&pickle).unwrap();
            for (key, values) in tensors.values().enumerate() {
                zip.start_file(format!("archive/data/{key}"), stored).unwrap();
                zip.write_all(&bytes(values)).unwrap();
            }
            zip.start_file("archive/version", stored).unwrap();
            zip.write_all(b"3\n").unwrap();
            zip.finish().unwrap();
        }
        Form::Stream => {
            let mut head = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
            head.extend(b"\x80\x02M\xe9\x03.");
            head.extend(b"\x80\x02}(");
            text(&mut head, "protocol_version");
            integer(&mut head, 1001);
            text(&mut head, "little_endian");
            head.extend(b"\x88");
            text(&mut head, "type_sizes");
            head.extend(b"}(");
            for (name, size) in [("short", 2), ("int", 4), ("long", 4)] {
                text(&mut head, name);
                integer(&mut head, size);
            }
            head.extend(b"uu.");
            head.extend(pickle);
            head.extend(b"\x80\x02](");
            for key in 0..tensors.len() {
                text(&mut head, &key.to_string());
            }
            head.extend(b"e.");
            file.write_all(&head).unwrap();
            for values in tensors.values() {
                file.write_all(&(values.len() as u64).to_le_bytes()).unwrap();
                file.write_all(&bytes(values)).unwrap();
            }
        }
    }
}

#[test]
fn only_the_complete_pytorch_file_loads() {
    only_the_complete_file_loads(Form::Zip);
}

#[test]
fn only_the_complete_legacy_pytorch_file_loads() {
    only_the_complete_file_loads(Form::Stream);
}

fn only_the_complete_file_loads(form: Form) {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("weights.pth");
    torch_file(&path, &tensors(), form);
    let expected = KnownFile {
        bytes: std::fs::metadata(&path).unwrap().len() as usize,
        sha256: files::hex_sha256(&std::fs::read(&path).unwrap()).leak(),
        ..weights::FILE
    };
    let device = Device::flex();
    let (network, hash) = weights::load_checked(&path, &expected, &device).unwrap();
    assert_eq!(hash, expected.sha256);
    let (bytes, shape) = Fixture::images("wide");
    let images = ImageBatch { bytes: &bytes, shape };
    let found = network.features(images, Depth::D768, &device).unwrap();
    assert!(relative_error(&found, &Fixture::floats("wide_768")) < 1e-4);

    // It is not the published file, so the public loader refuses it by name.
    let error = |message: anyhow::Result<(Inception, String)>| {
        let message = format!("{:#}", message.unwrap_err());
        for part in ["weights.pth", "hvae weights fetch", "--inception-weights"] {
            assert!(message.contains(part), "{part} is not in {message}");
        }
        message
    };
    assert!(error(weights::load(Some(&path), &device)).contains("has 95628359"));
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 1000]).unwrap();
    assert!(error(weights::load_checked(&path, &expected, &device)).contains("truncated"));
    let mut altered = whole;
    altered[50_000_000] ^= 1;
    std::fs::write(&path, altered).unwrap();
    assert!(error(weights::load_checked(&path, &expected, &device)).contains("altered"));
}

#[test]
fn wrong_tensors_are_named() {
    let shapes = weights::expected_tensors().unwrap();
    assert_eq!(shapes.len(), 94 * 5 + 2);
    // Names and shapes are checked before any value is read, so empty tensors will do.
    let placeholders = || -> BTreeMap<String, StoredTensor> {
        let empty = |(name, shape): (&String, &Vec<usize>)| {
            let tensor = StoredTensor::new(
                name.clone(),
                DType::F32,
                shape.clone(),
                None,
                Bytes::from_bytes_vec(Vec::new()),
            );
            (name.clone(), tensor)
        };
        shapes.iter().map(empty).collect()
    };
    let error = |change: &dyn Fn(&mut BTreeMap<String, StoredTensor>)| {
        let mut tensors = placeholders();
        change(&mut tensors);
        weights::build(tensors, &Device::flex()).unwrap_err().to_string()
    };
    let layer = "Mixed_6e.branch7x7dbl_4.bn.running_mean";
    let lacking = error(&|tensors| {
        tensors.remove(layer);
    });
    assert!(lacking.contains("missing") && lacking.contains(layer), "{lacking}");
    let foreign = error(&|tensors| {
        let tensor = stored("AuxLogits.fc.bias", &[1], &[0.0]);
        tensors.insert(tensor.name.clone(), tensor);
    });
    assert!(foreign.contains("AuxLogits.fc.bias"), "{foreign}");
    let reshaped = error(&|tensors| {
        tensors.insert(layer.to_owned(), stored(layer, &[7], &[0.0; 7]));
    });
    assert!(reshaped.contains(layer) && reshaped.contains("[7]; expected [192]"), "{reshaped}");
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    let name = "Conv2d_1a_3x3.bn.bias";
    for wrong in [f32::NAN, f32::INFINITY] {
        let mut tensors = stored_tensors();
        tensors.insert(name.to_owned(), stored(name, &[32], &[wrong; 32]));
        let message = format!("{:#}", weights::build(tensors, &Device::flex()).unwrap_err());
        assert!(message.contains(name) && message.contains("not finite"), "{message}");
    }
}
