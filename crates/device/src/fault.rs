//! Panics of a backend as errors: backends report many failures by a panic, often on another
//! thread.

use std::any::Any;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::{Mutex, Once, PoisonError};

use anyhow::{Result, anyhow};

/// Environment variable that also prints panics.
const BACKTRACE: &str = "HVAE_BACKTRACE";
/// The first panic since the last [`guard`] began; later ones, on other threads, are consequences.
static FIRST: Mutex<Option<String>> = Mutex::new(None);
/// The device in use, unless it is the CPU.
static DEVICE: Mutex<Option<String>> = Mutex::new(None);

/// Sets the device that error messages name.
pub fn in_use(device: &str) {
    *DEVICE.lock().unwrap_or_else(PoisonError::into_inner) = Some(device.to_owned());
}

/// Runs `work` and turns a panic, on this thread or on one that it waits for, into an error.
///
/// With the environment variable `HVAE_BACKTRACE`, panics are printed as well.
pub fn guard<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    install();
    first().take();
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(payload) => {
            let message = first().take().unwrap_or_else(|| text(payload.as_ref()).to_owned());
            Err(explain(&message))
        }
    }
}

fn first() -> std::sync::MutexGuard<'static, Option<String>> {
    FIRST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Records panics instead of printing them.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Failing tests print their panics.
        let shown = cfg!(test) || std::env::var_os(BACKTRACE).is_some();
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            first().get_or_insert_with(|| describe(info));
            if shown {
                default(info);
            }
        }));
    });
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let message = text(info.payload());
    match info.location() {
        Some(place) => format!("{message} (at {}:{})", place.file(), place.line()),
        None => message.to_owned(),
    }
}

fn text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// An error with a remedy.
fn explain(message: &str) -> anyhow::Error {
    let device = DEVICE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(device) = device.as_deref() else {
        return anyhow!(
            "internal error: {message}. Files already written are complete; set {BACKTRACE}=1 to \
             see more, and please report it"
        );
    };
    let lower = message.to_lowercase();
    let is = |words: &[&str]| words.iter().any(|w| lower.contains(w));
    let (what, remedy) = if is(&["memory", "buffertoobig", "exceeds", "allocat", "too large"]) {
        ("has too little memory", "Lower --batch-size or the sizes of the layers")
    } else if is(&["lost", "disconnect", "connection", "recverror", "closed", "websocket"]) {
        ("was lost", "Continue from the last checkpoint with --resume when it is back")
    } else {
        ("failed", "Continue from the last checkpoint with --resume and --device cpu")
    };
    anyhow!("device '{device}' {what}: {message}. The last checkpoint is good. {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, because the panic hook is global to the process.
    #[test]
    fn panics_become_errors() {
        let error = guard::<()>(|| panic!("index {} out of range", 3)).unwrap_err().to_string();
        assert!(error.contains("index 3 out of range") && error.contains("report"), "{error}");
        assert_eq!(guard(|| Ok(7)).unwrap(), 7);

        in_use("wgpu");
        let error = guard::<()>(|| {
            let backend = std::thread::spawn(|| panic!("Parent device is lost"));
            backend.join().map_err(|_| ()).expect("the answer of the backend");
            Ok(())
        });
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("device 'wgpu' was lost: Parent device is lost"), "{error}");
        let error = guard::<()>(|| panic!("Not enough memory left")).unwrap_err().to_string();
        assert!(error.contains("too little memory") && error.contains("--batch-size"), "{error}");
        *DEVICE.lock().unwrap() = None;
    }
}
