//! Ctrl-C: where a command can stop in an orderly way the first asks and the second ends, elsewhere
//! the first ends. Either way no half-written file stays.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result};

use crate::files;

/// Exit code of an interrupted program, as shells use it.
pub const EXIT_CODE: u8 = 130;

static ORDERLY: AtomicBool = AtomicBool::new(false);
static REQUESTED: AtomicBool = AtomicBool::new(false);
static INSTALLED: OnceLock<()> = OnceLock::new();
static FAREWELL: Mutex<Option<Farewell>> = Mutex::new(None);

/// What is still to be done when the process ends at once.
pub type Farewell = Box<dyn Fn() + Send>;

/// The user asked a command to end at once by other means than a signal.
#[derive(Debug, Clone, Copy)]
pub struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stopped")
    }
}

impl std::error::Error for Stopped {}

/// From now on Ctrl-C (or a termination signal) removes what is half-written and ends the process
/// with [`EXIT_CODE`]. Under `nohup` a terminal that is closed stays without effect.
///
/// # Errors
///
/// When the operating system refuses the handler.
pub fn install() -> Result<()> {
    if INSTALLED.set(()).is_err() {
        return Ok(());
    }
    listen(|| {
        if !ORDERLY.load(Ordering::SeqCst) || REQUESTED.swap(true, Ordering::SeqCst) {
            files::remove_live_scratch();
            if let Some(farewell) = &*FAREWELL.lock().unwrap_or_else(PoisonError::into_inner) {
                farewell();
            }
            #[expect(clippy::exit, reason = "the user asks to end at once")]
            std::process::exit(EXIT_CODE.into());
        }
        crate::terminal::line(
            "interrupted: finishing this step and saving; press Ctrl-C again to end at once",
        );
    })
    .context("installing the Ctrl-C handler")
}

/// From now on the first Ctrl-C only makes [`requested`] true and says so.
///
/// # Errors
///
/// As [`install`].
pub fn ask_first() -> Result<()> {
    ORDERLY.store(true, Ordering::SeqCst);
    install()
}

/// From now on Ctrl-C ends the process at once again.
pub fn end_at_once() {
    ORDERLY.store(false, Ordering::SeqCst);
}

/// What is done when a signal ends the process, such as leaving the terminal in order.
pub fn set_farewell(farewell: Option<Farewell>) {
    *FAREWELL.lock().unwrap_or_else(PoisonError::into_inner) = farewell;
}

/// Asks to stop, as the first Ctrl-C does.
pub fn request() {
    REQUESTED.store(true, Ordering::SeqCst);
}

/// Whether the user has asked to stop.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// Calls `act` on a thread of its own for every signal that asks the process to end.
#[cfg(unix)]
fn listen(act: impl Fn() + Send + 'static) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    // Where it is not known whether `nohup` is at work SIGHUP is left alone.
    if ignored_signals().is_some_and(|ignored| ignored & (1 << (SIGHUP - 1)) == 0) {
        signals.add_signal(SIGHUP)?;
    }
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever() {
            act();
        }
    })?;
    Ok(())
}

#[cfg(not(unix))]
fn listen(act: impl FnMut() + Send + 'static) -> Result<()> {
    Ok(ctrlc::set_handler(act)?)
}

/// The signals that this process ignores, bit `n - 1` for signal `n`, where the system tells.
#[cfg(unix)]
fn ignored_signals() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}
