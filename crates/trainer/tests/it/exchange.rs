//! Models of every kind are rebuilt from the exported file, by plain loops here and by the PyTorch
//! script, and agree with the program.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use crate::common::{Folder, read, skipped, stderr, train};
use hvae_runtime::npz::{self, Array, Values};
use ndarray::{Array1, Array2};
use safetensors::SafeTensors;
use serde_json::Value;

/// Largest relative difference from the program.
const AGREEMENT: f64 = 1e-5;

/// A model of each kind, and settings that change the networks.
const MODELS: [(&str, &[&str]); 8] = [
    ("f-vae", &[]),
    ("h-vae", &[]),
    ("th-vae", &[]),
    ("dh-vae", &[]),
    ("tdh-vae", &[]),
    ("f-vae", &["model.hidden=[24,12]", "model.sigma=0.3"]),
    ("th-vae", &["model.likelihood=bernoulli", "data.binarise=true", "model.hidden=[24,12]"]),
    ("tdh-vae", &["model.sigma=0.3", "model.hidden_activation=tanh"]),
];

/// Trains the model, exports it to `<name>.safetensors`, reconstructs test images to `<name>.npz`.
fn exported(folder: &Folder, name: &str, kind: &str, settings: &[&str]) {
    let mut arguments = train(name, "320", "1");
    arguments.extend(["--model", kind]);
    for setting in settings {
        arguments.extend(["--set", setting]);
    }
    folder.ok(&arguments);
    let run = format!("checkpoints/{name}");
    folder.ok(&["export", &run, "--out", &format!("{name}.safetensors")]);
    reconstructed(folder, &run, &format!("{name}.npz"));
}

fn reconstructed(folder: &Folder, run: &str, out: &str) {
    let how = ["--count", "8", "--tolerance", "1e-7", "--threads", "1"];
    folder.ok(&[["reconstruct", run, "--out", out].as_slice(), &how].concat());
}

/// An exported file.
struct File {
    description: Value,
    tensors: HashMap<String, Array2<f64>>,
}

impl File {
    fn open(path: &Path) -> Self {
        let bytes = read(path);
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let text = &header.metadata().as_ref().unwrap()["hvae"];
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = file.iter().map(|(name, tensor)| {
            let numbers = tensor.data().chunks_exact(4);
            let numbers = numbers.map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())));
            let shape = match *tensor.shape() {
                [n] => (1, n),
                [rows, columns] => (rows, columns),
                _ => panic!("{name} has the shape {:?}", tensor.shape()),
            };
            (name.to_owned(), Array2::from_shape_vec(shape, numbers.collect()).unwrap())
        });
        Self { description: serde_json::from_str(text).unwrap(), tensors: tensors.collect() }
    }

    /// `c_k (b_k + sum_l W_kl s_l + R_k s_k)` over the layers that have a state.
    fn input(&self, network: &str, k: usize, states: &[Option<Array1<f64>>]) -> Array1<f64> {
        let layout = &self.description["networks"][network];
        let layer = &layout["layers"][k];
        let bias = self.tensors.get(&format!("{network}.layers.{k}.bias"));
        let mut sum =
            bias.map_or_else(|| Array1::zeros(units(layer)), |bias| bias.row(0).to_owned());
        for (i, pair) in layout["couplings"].as_array().unwrap().iter().enumerate() {
            let (lower, upper) = (index(&pair[0]), index(&pair[1]));
            let weight = &self.tensors[&format!("{network}.couplings.{i}.interaction.weight")];
            if upper == k
                && let Some(state) = &states[lower]
            {
                sum += &state.dot(weight);
            } else if lower == k
                && let Some(state) = &states[upper]
            {
                sum += &weight.dot(state);
            }
        }
        sum * layer["gain"].as_f64().unwrap()
    }

    fn update(&self, network: &str, k: usize, states: &[Option<Array1<f64>>]) -> Array1<f64> {
        let layer = &self.description["networks"][network]["layers"][k];
        let g: fn(f64) -> f64 = match layer["activation"].as_str().unwrap() {
            "identity" => |a| a,
            "relu" => |a| a.max(0.0),
            "sigmoid" => |a| 1.0 / (1.0 + (-a).exp()),
            "tanh" => f64::tanh,
            other => panic!("{other}"),
        };
        self.input(network, k, states).mapv(g)
    }

    /// The states of all layers in the direction `of` with `value` at its input.
    fn states(&self, of: &str, value: Array1<f64>) -> Vec<Option<Array1<f64>>> {
        let passage = &self.description[of];
        let (network, input) = (passage["network"].as_str().unwrap(), index(&passage["input"]));
        let layers = self.description["networks"][network]["layers"].as_array().unwrap().len();
        let mut states = vec![None; layers];
        let value = match passage["scale"].as_str() {
            Some(name) => value * self.tensors[name].clone().into_flat(),
            None => value,
        };
        states[input] = Some(value * passage["amplitude"].as_f64().unwrap());
        let absent = passage["absent"].as_array().unwrap();
        let takes_part = |k: &usize| *k != input && !absent.iter().any(|a| index(a) == *k);
        let free: Vec<usize> = (0..layers).filter(takes_part).collect();
        if self.description["feed_forward"] == true {
            for &k in &free {
                states[k] = Some(self.update(network, k, &states));
            }
            return states;
        }
        for _ in 0..2000 {
            let mut change = 0.0_f64;
            for &k in &free {
                let mut new = self.update(network, k, &states);
                if let Some(old) = &states[k] {
                    // Damped, for couplings within a layer.
                    new = 0.5 * (new + old);
                    change = change.max(largest(&(&new - old)) / largest(&new).max(1e-30));
                } else {
                    change = 1.0;
                }
                states[k] = Some(new);
            }
            if change < 1e-12 {
                return states;
            }
        }
        panic!("no equilibrium");
    }
}

/// Units of a layer.
fn units(layer: &Value) -> usize {
    ["channels", "height", "width"].map(|side| index(&layer["shape"][side])).iter().product()
}

fn index(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

fn largest(values: &Array1<f64>) -> f64 {
    values.iter().fold(0.0, |most, value| most.max(value.abs()))
}

/// The rows of an array that `hvae reconstruct` wrote.
fn rows(path: &Path, name: &str) -> Vec<Array1<f64>> {
    let mut archive = npyz::npz::NpzArchive::open(path).unwrap();
    let array = archive.by_name(name).unwrap().unwrap();
    let count = usize::try_from(array.shape()[0]).unwrap();
    let values: Vec<f32> = array.into_vec().unwrap();
    let width = values.len() / count;
    values.chunks(width).map(|row| row.iter().copied().map(f64::from).collect()).collect()
}

fn assert_close(what: &str, found: &Array1<f64>, expected: &Array1<f64>) {
    for (found, expected) in found.iter().zip(expected) {
        let difference = (found - expected).abs() / expected.abs().max(1.0);
        assert!(difference <= AGREEMENT, "{what}: {found}, not {expected}");
    }
}

#[test]
fn models_of_every_kind_can_be_rebuilt_from_the_file() {
    let folder = Folder::new();
    let python = python();
    for (number, (kind, settings)) in MODELS.into_iter().enumerate() {
        let name = format!("model-{number}");
        exported(&folder, &name, kind, settings);
        let (weights, same) = (format!("{name}.safetensors"), format!("{name}.npz"));
        let file = File::open(&folder.path(&weights));
        let arrays = ["inputs", "means", "log_variances", "images"];
        let [inputs, means, log_variances, images] =
            arrays.map(|array| rows(&folder.path(&same), array));
        let read = |states: &[Option<Array1<f64>>], layer: &Value| states[index(layer)].clone();
        for row in 0..inputs.len() {
            let encode = &file.description["encode"];
            let states = file.states("encode", inputs[row].clone());
            let what = format!("{kind} {settings:?} image {row}");
            assert_close(&what, &read(&states, &encode["output"]).unwrap(), &means[row]);
            let spread = if encode["log_variance"].is_null() {
                let sigma = file.description["sigma"].as_f64().unwrap();
                Array1::from_elem(means[row].len(), 2.0 * sigma.ln())
            } else {
                read(&states, &encode["log_variance"]).unwrap()
            };
            assert_close(&what, &spread, &log_variances[row]);
            let states = file.states("decode", means[row].clone());
            let image = read(&states, &file.description["decode"]["output"]).unwrap();
            assert_close(&what, &image, &images[row]);
        }
        // Two images differ by far more than the tolerance.
        assert!(largest(&(&means[0] - &means[1])) > 100.0 * AGREEMENT, "{kind} {settings:?}");

        folder.ok(&["import", &weights, "--name", &format!("copy-{number}")]);
        reconstructed(&folder, &format!("checkpoints/copy-{number}"), "copy.npz");
        assert!(read_back(&folder, "copy.npz") == read_back(&folder, &same), "{kind} {settings:?}");

        if kind.starts_with('d') || kind.starts_with("td") {
            let near = ["import", &weights, "--name", "near", "--set", "model.visible_reach=1"];
            let text = folder.fails(1, &near);
            assert!(text.contains(&weights) && text.contains("within layer image"), "{text}");
            assert!(!folder.path("checkpoints/near").exists());
        }
        if let Some(python) = &python {
            in_python(python, &folder, &weights, &same);
        }
    }
    if python.is_none() {
        skipped("numpy", "no python3 with numpy to run scripts/load_in_pytorch.py");
    }
}

fn read_back(folder: &Folder, name: &str) -> Vec<Array1<f64>> {
    ["means", "images"].iter().flat_map(|array| rows(&folder.path(name), array)).collect()
}

/// A Python that has numpy: `HVAE_PYTHON`, else `python3`.
fn python() -> Option<String> {
    let python = std::env::var("HVAE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let output = Command::new(&python).args(["-c", "import numpy"]).output().ok()?;
    output.status.success().then_some(python)
}

/// The script agrees, and fails for the images of another model.
fn in_python(python: &str, folder: &Folder, weights: &str, same: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/load_in_pytorch.py");
    let run = |against: &str| {
        let mut command = Command::new(python);
        command.current_dir(folder.path(".")).arg(&script);
        command.args([weights, "--compare", against]).output().unwrap()
    };
    let output = run(same);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", stderr(&output));
    assert!(text.contains("images: largest difference"), "{text}");
    if weights == "model-1.safetensors" {
        let output = run("model-0.npz");
        assert!(!output.status.success() && stderr(&output).contains("do not agree"), "{output:?}");
    }
}

/// `encode` and `decode` give what `reconstruct` gives, through files of one's own.
#[test]
fn own_images_and_latents_pass_through_files() {
    let folder = Folder::new();
    folder.ok(&train("a", "320", "1"));
    let run = "checkpoints/a";
    folder.ok(&["reconstruct", run, "--count", "8", "--out", "pairs.npz"]);
    let array = |file: &str, name: &str| npz::load(&folder.path(file), name).unwrap();
    let Values::F32(inputs) = array("pairs.npz", "inputs").values else { panic!("float32") };
    let save = |file: &str, name: &str, shape: &[usize], values: &[f32]| {
        npz::save(&folder.path(file), &[(name, Array::F32(shape.to_vec(), values))]).unwrap();
    };
    save("x.npz", "images", &[8, 28, 28], &inputs);
    folder.ok(&["encode", run, "x.npz", "--out", "z.npz"]);
    for name in ["means", "log_variances"] {
        assert_eq!(array("z.npz", name), array("pairs.npz", name));
    }
    folder.ok(&["decode", run, "z.npz", "--out", "y.npz"]);
    assert_eq!(array("y.npz", "images"), array("pairs.npz", "images"));
    folder.ok(&["encode", run, "x.npz", "--count", "3", "--out", "few.npz"]);
    assert_eq!(array("few.npz", "means").shape[0], 3);
    // Images of another size are converted, as for training.
    save("small.npz", "images", &[8, 28, 14], &inputs[..8 * 28 * 14]);
    folder.ok(&["encode", run, "small.npz", "--out", "few.npz"]);
    assert_eq!(array("few.npz", "means").shape, [8, 4]);
    save("short.npz", "latents", &[8, 2], &[0.0; 16]);
    save("wrong.npz", "latents", &[8, 4], &[f32::NAN; 32]);
    for (arguments, part) in [
        (["decode", run, "short.npz", "--out", "y.npz"], "shape [8, 2]"),
        (["decode", run, "wrong.npz", "--out", "y.npz"], "row 0 is not finite"),
        (["decode", run, "pairs.npz", "--out", "y.gif"], ".npz"),
    ] {
        let code = if arguments[4].ends_with("gif") { 2 } else { 1 };
        let message = folder.fails(code, &arguments);
        assert!(message.contains(part), "{part}: {message}");
    }
}
