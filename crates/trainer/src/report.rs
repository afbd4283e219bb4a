//! The one place that writes to the terminal: progress and messages to stderr, results to stdout.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

static QUIET: AtomicBool = AtomicBool::new(false);
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Without a terminal, a progress line at most this often.
const LINE_INTERVAL: Duration = Duration::from_secs(30);

/// Suppresses progress and messages; errors and results stay.
pub fn set_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

/// A message to stderr, above the progress bar if there is one.
pub fn line(text: &str) {
    if QUIET.load(Ordering::Relaxed) {
        return;
    }
    let bar = BAR.lock().ok().and_then(|b| b.clone());
    // A reader that has gone away must not end a training run.
    let write = || {
        let _ = writeln!(std::io::stderr(), "{text}");
    };
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// A warning to stderr, also when quiet.
pub fn warning(text: &str) {
    let quiet = QUIET.swap(false, Ordering::Relaxed);
    line(&format!("warning: {text}"));
    QUIET.store(quiet, Ordering::Relaxed);
}

/// A result to stdout.
pub fn result(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// An error to stderr.
pub fn error(error: &anyhow::Error) {
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
}

/// Progress of one piece of work: a bar with remaining time on a terminal, otherwise a line every
/// 30 seconds.
#[derive(Debug)]
pub struct Progress {
    name: String,
    total: usize,
    /// Steps that were done before.
    before: usize,
    done: usize,
    started: Instant,
    spoken: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Begins work of `total` steps, `done` of which are done already.
    pub fn start(name: &str, total: usize, done: usize) -> Self {
        let now = Instant::now();
        let visible = std::io::stderr().is_terminal() && !QUIET.load(Ordering::Relaxed);
        let bar = visible.then(|| {
            let template = "{prefix} {bar:30} {pos}/{len} [{elapsed} < {eta}] {msg}";
            let style = ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(total as u64).with_style(style).with_prefix(name.to_owned());
            bar.set_position(done as u64);
            bar.reset_eta();
            bar
        });
        if let Ok(mut shared) = BAR.lock() {
            shared.clone_from(&bar);
        }
        let (before, name) = (done, name.to_owned());
        Self { name, total, before, done, started: now, spoken: now, bar }
    }

    /// Steps per second so far.
    pub fn per_second(&self) -> f64 {
        let seconds = self.started.elapsed().as_secs_f64();
        (self.done - self.before) as f64 / seconds.max(1e-9)
    }

    /// `done` steps are done; `message` is made only when it is shown.
    pub fn update(&mut self, done: usize, message: impl FnOnce() -> String) {
        self.done = done.max(self.before);
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
            bar.set_message(message());
        } else if self.spoken.elapsed() >= LINE_INTERVAL {
            self.spoken = Instant::now();
            let left = self.total.saturating_sub(done) as f64 / self.per_second().max(1e-9);
            let seconds = self.started.elapsed().as_secs();
            line(&format!(
                "{} {done}/{} after {seconds} s, {left:.0} s to go  {}",
                self.name,
                self.total,
                message()
            ));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if let Ok(mut shared) = BAR.lock() {
            *shared = None;
        }
    }
}
