//! Arrays of Python as numbers of the program, and back. Whatever `numpy.asarray` takes is an
//! array; so is what has `__dlpack__`, such as a tensor of PyTorch.

use anyhow::Context;
use hvae_runtime::npz::{Loaded, Values};
use numpy::{Element, PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

/// The numbers of `object` in row-major order, in the type that they have if the program reads it.
pub(crate) fn loaded(what: &str, object: &Bound<'_, PyAny>) -> PyResult<Loaded> {
    let numpy = object.py().import("numpy")?;
    let is_array = object.is_instance(&numpy.getattr("ndarray")?)?;
    let from = if !is_array && object.hasattr("__dlpack__")? { "from_dlpack" } else { "asarray" };
    let array = numpy.call_method1(from, (object,))?;
    let dtype = array.getattr("dtype")?;
    let kind: String = dtype.getattr("kind")?.extract()?;
    let name: String = dtype.getattr("name")?.extract()?;
    let target = match (kind.as_str(), name.as_str()) {
        ("b", _) => "bool",
        (_, "uint8" | "float64") => name.as_str(),
        ("f", _) => "float32",
        ("i" | "u", _) => "int64",
        _ => return Err(PyTypeError::new_err(format!("{what} holds {name}, not numbers"))),
    };
    // Copies only what has another type or order.
    let array = numpy.call_method1("ascontiguousarray", (&array, target))?;
    let shape = array.getattr("shape")?.extract()?;
    let values = match target {
        "bool" => Values::Bool(numbers(&array)?),
        "uint8" => Values::U8(numbers(&array)?),
        "float32" => Values::F32(numbers(&array)?),
        "float64" => Values::F64(numbers(&array)?),
        _ => Values::I64(numbers(&array)?),
    };
    Ok(Loaded { shape, values })
}

fn numbers<T: Element + Copy>(array: &Bound<'_, PyAny>) -> PyResult<Vec<T>> {
    let array: PyReadonlyArrayDyn<'_, T> = array.extract().map_err(PyErr::from)?;
    Ok(array.as_slice().map_err(|error| PyValueError::new_err(error.to_string()))?.to_vec())
}

/// A matrix `[N, columns]` of finite numbers. `columns` of `None` takes any number of them, and any
/// number of further axes.
pub(crate) fn matrix(
    what: &str,
    object: &Bound<'_, PyAny>,
    columns: Option<usize>,
) -> PyResult<(Vec<f32>, Vec<usize>)> {
    let Loaded { shape, values } = loaded(what, object)?;
    let fits = match columns {
        Some(columns) => shape.len() == 2 && shape[1] == columns,
        None => shape.len() >= 2,
    };
    if !fits {
        let needed = columns.map_or("[N, ...]".to_owned(), |columns| format!("[N, {columns}]"));
        let text = format!("{what} has shape {shape:?}, but {needed} is needed");
        return Err(PyValueError::new_err(text));
    }
    let values = singles(values);
    let width = shape[1..].iter().product::<usize>().max(1);
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => {
            let text = format!("{what}: row {} is not a finite number", at / width);
            Err(PyValueError::new_err(text))
        }
        None => Ok((values, shape)),
    }
}

/// Numbers in single precision.
pub(crate) fn singles(values: Values) -> Vec<f32> {
    match values {
        Values::F32(values) => values,
        Values::F64(values) => values.into_iter().map(|value| value as f32).collect(),
        Values::U8(values) => values.into_iter().map(f32::from).collect(),
        Values::I64(values) => values.into_iter().map(|value| value as f32).collect(),
        Values::Bool(values) => values.into_iter().map(u8::from).map(f32::from).collect(),
        Values::Text(_) => Vec::new(),
    }
}

/// Images of `height` by `width` as numbers in `[0, 1]`: `[N, height, width]`, with an axis of one
/// channel, or `[N, pixels]`; `uint8` from 0 to 255, floats from 0 to 1, or `bool`.
pub(crate) fn images(object: &Bound<'_, PyAny>, [height, width]: [usize; 2]) -> PyResult<Vec<f32>> {
    let mut images = loaded("images", object)?;
    if let [count, pixels] = images.shape[..]
        && pixels == height * width
    {
        images.shape = vec![count, height, width];
    }
    let (values, shape) = hvae_data::arrays::grey("images", images).map_err(wrong)?;
    if [shape.height, shape.width] == [height, width] {
        return Ok(values);
    }
    let found = shape.size();
    let text = format!("images of {found}, but the run has images of {height}x{width}");
    Err(PyValueError::new_err(text))
}

/// A `ValueError` with the sentences of `error`.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(crate) fn wrong(error: anyhow::Error) -> PyErr {
    PyValueError::new_err(format!("{error:#}"))
}

/// `values` as an array of this shape, which takes over their memory.
pub(crate) fn array<'py, T: Element>(
    py: Python<'py>,
    values: Vec<T>,
    shape: &[usize],
) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
    PyArray1::from_vec(py, values).reshape(shape.to_vec())
}

/// A value with a JSON form as objects of Python.
pub(crate) fn object<'py>(
    py: Python<'py>,
    value: &impl serde::Serialize,
) -> PyResult<Bound<'py, PyAny>> {
    let text = serde_json::to_string(value).context("writing JSON")?;
    py.import("json")?.call_method1("loads", (text,))
}
