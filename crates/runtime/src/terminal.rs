//! The one place that writes to the terminal: progress and messages to stderr, results to stdout.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use console::style;
use indicatif::{ProgressBar, ProgressStyle};

static QUIET: AtomicBool = AtomicBool::new(false);
static VERBOSE: AtomicBool = AtomicBool::new(false);
static LINES: AtomicBool = AtomicBool::new(false);
/// Lines that wait while something else has the terminal.
static HELD: Mutex<Option<Vec<String>>> = Mutex::new(None);
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);
static LOST: Mutex<Option<std::io::Error>> = Mutex::new(None);

/// Without a terminal, a progress line at most this often.
const LINE_INTERVAL: Duration = Duration::from_secs(30);

/// Suppresses progress and messages; errors and results stay.
pub fn set_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

/// Whether details are told, too.
pub fn set_verbose(verbose: bool) {
    VERBOSE.store(verbose, Ordering::Relaxed);
}

/// Lines in place of a progress bar, on a terminal, too.
pub fn set_lines(lines: bool) {
    LINES.store(lines, Ordering::Relaxed);
}

/// From now on lines wait, because something else has the terminal.
pub fn hold() {
    if let Ok(mut held) = HELD.lock() {
        held.get_or_insert_default();
    }
}

fn is_held() -> bool {
    HELD.lock().is_ok_and(|held| held.is_some())
}

/// Writes the lines that have waited, and all others from now on.
pub fn release() {
    let waiting = HELD.lock().ok().and_then(|mut held| held.take());
    for line in waiting.into_iter().flatten() {
        write(&line);
    }
}

/// A detail to stderr, for those who asked for details.
pub fn detail(text: &str) {
    if VERBOSE.load(Ordering::Relaxed) {
        line(text);
    }
}

/// What is done now, where no bar shows it: without a terminal.
pub fn stage(text: &str) {
    if !std::io::stderr().is_terminal() || LINES.load(Ordering::Relaxed) {
        line(text);
    }
}

/// A message to stderr, above the progress bar if there is one.
pub fn line(text: &str) {
    if !QUIET.load(Ordering::Relaxed) {
        write(text);
    }
}

fn write(text: &str) {
    if let Ok(mut held) = HELD.lock()
        && let Some(held) = held.as_mut()
    {
        held.push(text.to_owned());
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
    write(&format!("{} {text}", style("warning:").yellow().bold().for_stderr()));
}

/// A result to stdout. A reader that has gone away is no error, another failure is
/// [kept](lost_result).
pub fn result(text: &str) {
    let mut stdout = std::io::stdout();
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    if let Err(error) = written
        && error.kind() != std::io::ErrorKind::BrokenPipe
        && let Ok(mut lost) = LOST.lock()
    {
        lost.get_or_insert(error);
    }
}

/// Why results did not reach stdout, if so.
pub fn lost_result() -> Option<std::io::Error> {
    LOST.lock().ok()?.take()
}

/// An error to stderr.
pub fn error(error: &anyhow::Error) {
    let _ = writeln!(std::io::stderr(), "{} {error:#}", style("error:").red().bold().for_stderr());
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
        let visible = std::io::stderr().is_terminal()
            && !QUIET.load(Ordering::Relaxed)
            && !LINES.load(Ordering::Relaxed)
            && !is_held();
        let bar = visible.then(|| {
            let template = "{prefix} {bar:30} {pos}/{len} [{elapsed} < {eta}] {wide_msg}";
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
        } else if self.spoken.elapsed() >= LINE_INTERVAL && !is_held() {
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
