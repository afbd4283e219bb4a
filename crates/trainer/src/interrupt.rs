//! Ctrl-C: the first asks, the second ends.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

/// Exit code of an interrupted program, as shells use it.
pub const EXIT_CODE: u8 = 130;

static REQUESTED: AtomicBool = AtomicBool::new(false);
static INSTALLED: OnceLock<()> = OnceLock::new();

/// From now on the first Ctrl-C (or termination signal) makes [`requested`] true and says so; the
/// second ends the process at once.
///
/// # Errors
///
/// When the operating system refuses the handler.
pub fn install() -> Result<()> {
    if INSTALLED.set(()).is_err() {
        return Ok(());
    }
    ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::SeqCst) {
            #[expect(clippy::exit, reason = "a second Ctrl-C asks to end at once")]
            std::process::exit(EXIT_CODE.into());
        }
        crate::report::line(
            "interrupted: finishing this step and saving; press Ctrl-C again to end at once",
        );
    })
    .context("installing the Ctrl-C handler")
}

/// Asks to stop, as the first Ctrl-C does.
pub fn request() {
    REQUESTED.store(true, Ordering::SeqCst);
}

/// Whether the user has asked to stop.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}
