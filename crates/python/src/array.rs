//! Arrays of Python as numbers of the program, and back. Whatever `numpy.asarray` takes is an
//! array; so is what has `__dlpack__`, such as a tensor of PyTorch.

use anyhow::Context;
use hvae_data::arrays;
use hvae_runtime::npz::{Loaded, Values};
use numpy::{Element, PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

/// An array of the type `T`.
pub(crate) type Array<'py, T> = Bound<'py, PyArrayDyn<T>>;

/// An array of NumPy in row-major order, of a type that the program reads.
struct Source<'py> {
    array: Bound<'py, PyAny>,
    dtype: String,
    shape: Vec<usize>,
}

impl<'py> Source<'py> {
    /// Copies only what has another type, order or alignment.
    fn new(what: &str, object: &Bound<'py, PyAny>) -> PyResult<Self> {
        let numpy = object.py().import("numpy")?;
        let is_array = object.is_instance(&numpy.getattr("ndarray")?)?;
        let has_dlpack = !is_array && object.hasattr("__dlpack__")?;
        let from = if has_dlpack { "from_dlpack" } else { "asarray" };
        let array = numpy.call_method1(from, (object,))?;
        let dtype = array.getattr("dtype")?;
        let kind: String = dtype.getattr("kind")?.extract()?;
        let name: String = dtype.getattr("name")?.extract()?;
        let dtype = match (kind.as_str(), name.as_str()) {
            ("b", _) => "bool",
            (_, "uint8" | "float64") => name.as_str(),
            ("f", _) => "float32",
            ("i" | "u", _) => "int64",
            _ => return Err(PyTypeError::new_err(format!("{what} holds {name}, not numbers"))),
        };
        let array = numpy.call_method1("require", (&array, dtype, "CA"))?;
        let shape = array.getattr("shape")?.extract()?;
        Ok(Self { array, dtype: dtype.to_owned(), shape })
    }

    /// A copy of its numbers.
    fn values(&self) -> PyResult<Values> {
        Ok(match self.dtype.as_str() {
            "bool" => Values::Bool(self.copy()?),
            "uint8" => Values::U8(self.copy()?),
            "float32" => Values::F32(self.copy()?),
            "float64" => Values::F64(self.copy()?),
            _ => Values::I64(self.copy()?),
        })
    }

    fn copy<T: Element + Copy>(&self) -> PyResult<Vec<T>> {
        let array: PyReadonlyArrayDyn<'_, T> = self.array.extract().map_err(PyErr::from)?;
        Ok(array.as_slice().map_err(|error| PyValueError::new_err(error.to_string()))?.to_vec())
    }

    /// Its numbers in single precision, where they are if they have it.
    fn singles(&self) -> PyResult<Singles<'py>> {
        Ok(match self.dtype.as_str() {
            "float32" => Singles::Lent(self.array.extract().map_err(PyErr::from)?),
            _ => Singles::Own(match self.values()? {
                Values::F32(values) => values,
                Values::F64(values) => values.into_iter().map(|value| value as f32).collect(),
                Values::U8(values) => values.into_iter().map(f32::from).collect(),
                Values::I64(values) => values.into_iter().map(|value| value as f32).collect(),
                Values::Bool(values) => values.into_iter().map(u8::from).map(f32::from).collect(),
                Values::Text(_) => unreachable!("`Source` holds numbers"),
            }),
        })
    }
}

/// Numbers in single precision, in the memory of an array of Python where that is possible.
pub(crate) enum Singles<'py> {
    Lent(PyReadonlyArrayDyn<'py, f32>),
    Own(Vec<f32>),
}

impl Singles<'_> {
    /// In row-major order.
    pub(crate) fn as_slice(&self) -> &[f32] {
        match self {
            Self::Lent(array) => array.as_slice().expect("`Source` is contiguous"),
            Self::Own(values) => values,
        }
    }

    /// For a tensor, which owns its memory.
    pub(crate) fn into_vec(self) -> Vec<f32> {
        match self {
            Self::Lent(_) => self.as_slice().to_vec(),
            Self::Own(values) => values,
        }
    }
}

/// A copy of the numbers of `object`, in the type that they have if the program reads it.
pub(crate) fn loaded(what: &str, object: &Bound<'_, PyAny>) -> PyResult<Loaded> {
    let source = Source::new(what, object)?;
    Ok(Loaded { values: source.values()?, shape: source.shape })
}

/// The numbers of `object`, whatever they are, and its shape.
pub(crate) fn singles<'py>(
    what: &str,
    object: &Bound<'py, PyAny>,
) -> PyResult<(Singles<'py>, Vec<usize>)> {
    let source = Source::new(what, object)?;
    Ok((source.singles()?, source.shape))
}

/// A matrix `[N, columns]` of finite numbers. `columns` of `None` takes any number of them, and any
/// number of further axes.
pub(crate) fn matrix<'py>(
    what: &str,
    object: &Bound<'py, PyAny>,
    columns: Option<usize>,
) -> PyResult<(Singles<'py>, Vec<usize>)> {
    let (values, shape) = singles(what, object)?;
    let fits = match columns {
        Some(columns) => shape.len() == 2 && shape[1] == columns,
        None => shape.len() >= 2,
    };
    if !fits {
        let needed = columns.map_or("[N, ...]".to_owned(), |columns| format!("[N, {columns}]"));
        let text = format!("{what} has shape {shape:?}, but {needed} is needed");
        return Err(PyValueError::new_err(text));
    }
    let width = shape[1..].iter().product::<usize>().max(1);
    match values.as_slice().iter().position(|value| !value.is_finite()) {
        Some(at) => {
            let text = format!("{what}: row {} is not a finite number", at / width);
            Err(PyValueError::new_err(text))
        }
        None => Ok((values, shape)),
    }
}

/// Images of `height` by `width` as numbers in `[0, 1]`: `[N, height, width]`, with an axis of one
/// channel, or `[N, pixels]`; `uint8` from 0 to 255, floats from 0 to 1, or `bool`.
pub(crate) fn images<'py>(
    object: &Bound<'py, PyAny>,
    [height, width]: [usize; 2],
) -> PyResult<Singles<'py>> {
    let mut source = Source::new("images", object)?;
    if let [count, pixels] = source.shape[..]
        && pixels == height * width
    {
        source.shape = vec![count, height, width];
    }
    let (values, shape) = if source.dtype == "float32" {
        let values = source.singles()?;
        let shape = arrays::check_grey("images", &source.shape, values.as_slice());
        (values, shape.map_err(wrong)?)
    } else {
        let images = Loaded { values: source.values()?, shape: source.shape };
        let (values, shape) = arrays::grey("images", images).map_err(wrong)?;
        (Singles::Own(values), shape)
    };
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
) -> PyResult<Array<'py, T>> {
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
