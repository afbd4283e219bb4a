//! Picard iteration and its damped form.

use burn::tensor::{Int, Tensor};

use crate::error::{SolverError, in_range};
use crate::method::{Memory, Method};
use crate::state::State;

/// Picard iteration: `s <- f(s)`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Picard;

impl Method for Picard {
    type Memory = ();

    fn start(&self, _measured: &[usize]) {}

    fn advance(&self, _state: State, image: State, (): &mut ()) -> State {
        image
    }

    fn reads_state(&self) -> bool {
        false
    }
}

/// Damped Picard iteration: `s <- damping s + (1 - damping) f(s)`.
///
/// This is forward Euler on `ds/dt = f(s) - s` with time step `dt = 1 - damping`. Components that
/// are not [measured](crate::FixedPointMap::measured) take their image: the map never reads their
/// old value.
#[derive(Debug, Clone, Copy)]
pub struct Damped {
    damping: f64,
}

impl Damped {
    /// Damping in `[0, 1)`; 0 is [`Picard`].
    pub fn new(damping: f64) -> Result<Self, SolverError> {
        let damping = in_range("damping", damping, "in [0, 1)", (0.0..1.0).contains(&damping))?;
        Ok(Self { damping })
    }

    /// Forward Euler with time step `dt` in `(0, 1]`.
    pub fn forward_euler(dt: f64) -> Result<Self, SolverError> {
        in_range("dt", dt, "in (0, 1]", dt > 0.0 && dt <= 1.0)?;
        Self::new(1.0 - dt)
    }
}

/// Memory of [`Damped`]: the components to damp.
#[derive(Debug)]
pub struct DampedMemory {
    measured: Vec<usize>,
}

impl Memory for DampedMemory {
    fn select(self, _rows: &Tensor<1, Int>) -> Self {
        self
    }
}

impl Method for Damped {
    type Memory = DampedMemory;

    fn start(&self, measured: &[usize]) -> DampedMemory {
        DampedMemory { measured: measured.to_vec() }
    }

    fn advance(&self, state: State, image: State, memory: &mut DampedMemory) -> State {
        let damping = self.damping;
        if damping == 0.0 {
            return image;
        }
        let mut component = 0..;
        image.zip(state, |f, s| match component.next() {
            Some(k) if memory.measured.contains(&k) => {
                f.mul_scalar(1.0 - damping) + s.mul_scalar(damping)
            }
            _ => f,
        })
    }

    fn reads_state(&self) -> bool {
        self.damping > 0.0
    }
}
