//! Ctrl-C: in a command that can save its work the first asks it to stop and the second ends the
//! process; in other commands the first ends it. No half-written file is left.
//!
//! A program that has signal handlers of its own, such as Python, runs its work by [`with_stop`].

use std::cell::RefCell;
use std::sync::{Arc, OnceLock, atomic::AtomicBool, atomic::Ordering};

use anyhow::{Context, Result};

use crate::files;

/// Exit code of an interrupted program, as in shells.
pub const EXIT_CODE: u8 = 130;

static ORDERLY: AtomicBool = AtomicBool::new(false);
static REQUESTED: AtomicBool = AtomicBool::new(false);
static INSTALLED: OnceLock<()> = OnceLock::new();
thread_local! {
    /// Asks the work of this thread to stop, see [`with_stop`].
    static STOP: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// The error of a command that the user stopped by other means than a signal.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("stopped")]
pub struct Stopped;

/// From now on Ctrl-C or a termination signal removes half-written files and ends the process with
/// [`EXIT_CODE`]. Under `nohup`, closing the terminal has no effect.
pub fn install() -> Result<()> {
    if INSTALLED.set(()).is_err() {
        return Ok(());
    }
    listen(|| {
        if !ORDERLY.load(Ordering::SeqCst) || REQUESTED.swap(true, Ordering::SeqCst) {
            files::remove_live_scratch();
            #[expect(clippy::exit, reason = "the user asks to end at once")]
            std::process::exit(EXIT_CODE.into());
        }
        crate::terminal::line(
            "interrupted: finishing this step and saving; press Ctrl-C again to end at once",
        );
    })
    .context("installing the Ctrl-C handler")
}

/// Runs `work`, which stops where it next asks once `stop` is true. Signals are the caller's.
pub fn with_stop<T>(stop: &Arc<AtomicBool>, work: impl FnOnce() -> T) -> T {
    STOP.set(Some(Arc::clone(stop)));
    let done = work();
    STOP.set(None);
    done
}

/// [`Stopped`] once the caller of [`with_stop`] asks for it.
pub fn check() -> Result<(), Stopped> {
    if stop().is_some_and(|stop| stop.load(Ordering::SeqCst)) { Err(Stopped) } else { Ok(()) }
}

fn stop() -> Option<Arc<AtomicBool>> {
    STOP.with_borrow(Clone::clone)
}

/// From now on the first Ctrl-C makes [`requested`] true and writes a message.
pub fn ask_first() -> Result<()> {
    if stop().is_some() {
        return Ok(());
    }
    ORDERLY.store(true, Ordering::SeqCst);
    install()
}

/// From now on Ctrl-C ends the process at once again.
pub fn end_at_once() {
    ORDERLY.store(false, Ordering::SeqCst);
}

/// Requests a stop, as the first Ctrl-C does.
pub fn request() {
    REQUESTED.store(true, Ordering::SeqCst);
}

/// Whether a stop was requested.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst) || check().is_err()
}

/// Calls `act` in its own thread for every signal that asks the process to end.
#[cfg(unix)]
fn listen(act: impl Fn() + Send + 'static) -> std::io::Result<()> {
    use signal_hook::{consts::SIGHUP, consts::SIGINT, consts::SIGTERM, iterator::Signals};

    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    // Unless it is known that `nohup` is not in use, SIGHUP is not handled.
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

/// The signals that this process ignores, bit `n - 1` for signal `n`, if the system says.
#[cfg(unix)]
fn ignored_signals() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}
