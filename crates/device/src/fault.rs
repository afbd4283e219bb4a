//! Failures of a device as sentences: backends report many of them by a panic, often on a thread
//! of their own.

use std::any::Any;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::{Mutex, Once, PoisonError};

use anyhow::{Result, anyhow};

/// Set to see panics themselves.
const BACKTRACE: &str = "HVAE_BACKTRACE";
/// The first panic since the last [`guard`] began: later ones, on other threads, follow from it.
static FIRST: Mutex<Option<String>> = Mutex::new(None);
/// The device in use, unless it is the CPU.
static DEVICE: Mutex<Option<String>> = Mutex::new(None);

/// From now on this device is in use; failures are told in its name.
pub fn in_use(device: &str) {
    *DEVICE.lock().unwrap_or_else(PoisonError::into_inner) = Some(device.to_owned());
}

/// Runs `work`; a panic in it, or on a thread that it waits for, becomes an error of one sentence.
///
/// With `HVAE_BACKTRACE` set, panics are shown as well, with backtraces if Rust is asked for them.
///
/// # Errors
///
/// Those of `work`, and what it or a backend panicked with.
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

/// Panics are recorded instead of shown.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A test that fails must say why.
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

/// What happened, and what to do about it.
fn explain(message: &str) -> anyhow::Error {
    let device = DEVICE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(device) = device.as_deref() else {
        return anyhow!(
            "a fault in hvae itself: {message}. Files already written are whole; set \
             {BACKTRACE}=1 to see more, and please report it"
        );
    };
    let lower = message.to_lowercase();
    let is = |words: &[&str]| words.iter().any(|w| lower.contains(w));
    let (what, remedy) = if is(&["memory", "buffertoobig", "exceeds", "allocat", "too large"]) {
        ("has too little memory", "Lower --batch-size or the sizes of the layers")
    } else if is(&["lost", "disconnect", "connection", "recverror", "closed", "websocket"]) {
        ("was lost", "Go on from the last checkpoint with --resume when it is back")
    } else {
        ("failed", "Go on from the last checkpoint with --resume and --device cpu")
    };
    anyhow!("device '{device}' {what}: {message}. The last checkpoint is good. {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, because what a panic leaves behind belongs to the whole process.
    #[test]
    fn panics_become_sentences() {
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
