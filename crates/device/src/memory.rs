//! Tensors in the host's own memory, read and written in place.

use std::ops::{Deref, DerefMut};

use burn::backend::{Flex, flex::FlexTensor};
use burn::tensor::Tensor;

/// The values of an f32 tensor in host memory, in row-major order, to read and write in place.
///
/// Neither making one nor turning it back into a tensor copies values that lie contiguously. Writing
/// copies those that another tensor shares.
#[derive(Debug, Clone)]
pub struct HostValues<const D: usize>(FlexTensor);

impl<const D: usize> HostValues<D> {
    /// The values of `tensor`; `None` on another device and under automatic differentiation.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use hvae_device::{HostValues, read};
    ///
    /// let x = Tensor::<1>::from_floats([1.0, 2.0], &Device::flex());
    /// let mut values = HostValues::of(&x).unwrap();
    /// values[0] = 5.0;
    /// assert_eq!(read(values.into_tensor()), [5.0, 2.0]);
    /// assert_eq!(read(x.clone()), [1.0, 2.0]);
    /// assert!(HostValues::of(&x.autodiff()).is_none());
    /// ```
    pub fn of(tensor: &Tensor<D>) -> Option<Self> {
        Self::take(tensor.clone())
    }

    /// The same, which leaves the values to one owner if `tensor` was the only one.
    pub fn take(tensor: Tensor<D>) -> Option<Self> {
        let tensor = tensor.try_into_primitive::<Flex>().ok()?;
        // A view of a part counts as contiguous for reading.
        let tensor =
            if tensor.as_slice::<f32>().is_some() { tensor } else { tensor.to_contiguous() };
        tensor.as_slice::<f32>().is_some().then_some(Self(tensor))
    }

    /// The tensor of these values.
    pub fn into_tensor(self) -> Tensor<D> {
        Tensor::from_primitive::<Flex>(self.0)
    }
}

impl<const D: usize> Deref for HostValues<D> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.0.as_slice().expect("contiguous f32, as `take` has checked")
    }
}

impl<const D: usize> DerefMut for HostValues<D> {
    fn deref_mut(&mut self) -> &mut [f32] {
        let start = self.0.layout().start_offset();
        let count = self.0.layout().num_elements();
        &mut self.0.storage_mut()[start..start + count]
    }
}
