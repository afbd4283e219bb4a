//! Work of the program on behalf of Python: without the GIL, stopped by Ctrl-C, with panics and
//! errors as exceptions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use burn::tensor::Device;
use hvae::api::Usage;
use hvae_device::fault;
use hvae_model::ModelError;
use hvae_runtime::interrupt::{self, Stopped};
use hvae_solver::SolverError;
use pyo3::exceptions::{PyKeyboardInterrupt, PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

/// How often Python's signals are looked at.
const LOOK: Duration = Duration::from_millis(50);
/// That of a main thread.
const STACK: usize = 8 << 20;

/// Runs `work` without the GIL. Ctrl-C ends it.
pub(crate) fn compute<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T> + Send,
) -> PyResult<T> {
    match interruptible(py, work) {
        (_, Some(signal)) => Err(signal),
        (found, None) => found.map_err(exception),
    }
}

/// The device `name`.
pub(crate) fn device(py: Python<'_>, name: &str) -> PyResult<Device> {
    compute(py, || Ok(hvae_device::open(name, false).map_err(Usage)?))
}

/// Runs `work` on a thread of its own while this one waits for it without the GIL. Ctrl-C asks it to
/// stop; also returns the exception of the signal.
pub(crate) fn interruptible<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T> + Send,
) -> (Result<T>, Option<PyErr>) {
    let (stop, done) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
    let (caller, mut signal) = (thread::current(), None);
    let found = thread::scope(|scope| {
        let working = || {
            let found = interrupt::with_stop(&stop, || fault::guard(work));
            done.store(true, Ordering::SeqCst);
            caller.unpark();
            found
        };
        let worker = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, working)?;
        while !done.load(Ordering::SeqCst) {
            py.detach(|| thread::park_timeout(LOOK));
            if let Err(error) = py.check_signals() {
                stop.store(true, Ordering::SeqCst);
                signal.get_or_insert(error);
            }
        }
        worker.join().unwrap_or_else(|_| Err(anyhow!("the thread of the computation has ended")))
    });
    (found, signal)
}

/// `error` as the exception of its kind, with its sentences.
pub(crate) fn exception(error: anyhow::Error) -> PyErr {
    let error = match error.downcast::<PyErr>() {
        Ok(raised) => return raised,
        Err(error) => error,
    };
    let text = format!("{error:#}");
    if has::<Stopped>(&error) {
        PyKeyboardInterrupt::new_err(())
    } else if has::<ModelError>(&error) || has::<SolverError>(&error) || has::<Usage>(&error) {
        PyValueError::new_err(text)
    } else if has::<std::io::Error>(&error) {
        PyOSError::new_err(text)
    } else {
        PyRuntimeError::new_err(text)
    }
}

fn has<E: std::error::Error + 'static>(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<E>().is_some())
}
