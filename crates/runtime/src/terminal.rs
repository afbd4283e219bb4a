//! The one place that writes to the terminal: progress and messages to stderr, results to stdout.
//!
//! Progress and messages appear only after [`set_verbosity`], so that a library stays silent unless
//! its program asks otherwise. Warnings, errors and results are always written.

use std::io::{IsTerminal, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use console::style;
use indicatif::{ProgressBar, ProgressStyle};

static VERBOSITY: AtomicU8 = AtomicU8::new(Verbosity::Quiet as u8);
static LINES: AtomicBool = AtomicBool::new(false);
/// Whether standard output is for JSON alone.
static JSON: AtomicBool = AtomicBool::new(false);
/// Lines that wait while something else has the terminal.
static HELD: Mutex<Option<Vec<String>>> = Mutex::new(None);
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);
static LOST: Mutex<Option<std::io::Error>> = Mutex::new(None);

/// Without a terminal, a progress line at most this often.
const LINE_INTERVAL: Duration = Duration::from_secs(30);

const WIDE: &str = "{prefix} {bar:30} {pos}/{len} [{elapsed} < {eta}] {wide_msg}";
const MEDIUM: &str = "{prefix} {bar:10} {percent}% < {eta} {wide_msg}";
const NARROW: &str = "{prefix:.10} {percent}%";
const BYTES: &str = "{prefix} [{wide_bar}] {bytes}/{total_bytes} {eta}";
const BYTES_UNSIZED: &str = "{prefix} {bytes} {bytes_per_sec}";
const SPINNER: &str = "{spinner} {prefix} {elapsed}";

/// How much is written to stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Warnings and errors.
    Quiet,
    /// Progress and messages, too.
    Normal,
    /// Details, too.
    Verbose,
}

/// Sets how much is written to stderr from now on.
pub fn set_verbosity(verbosity: Verbosity) {
    VERBOSITY.store(verbosity as u8, Ordering::Relaxed);
}

fn is_at_least(verbosity: Verbosity) -> bool {
    VERBOSITY.load(Ordering::Relaxed) >= verbosity as u8
}

/// Writes lines instead of progress bars, even on a terminal.
pub fn set_lines(lines: bool) {
    LINES.store(lines, Ordering::Relaxed);
}

/// Keeps lines back from now on, because something else has the terminal.
pub fn hold() {
    locked(&HELD).get_or_insert_default();
}

fn is_held() -> bool {
    locked(&HELD).is_some()
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes the lines that were kept back, and all others from now on.
pub fn release() {
    let waiting = locked(&HELD).take();
    for line in waiting.into_iter().flatten() {
        write(&line);
    }
}

/// A detail to stderr.
pub fn detail(text: &str) {
    if is_at_least(Verbosity::Verbose) {
        write(text);
    }
}

/// The name of the work that begins, where no progress bar shows it.
pub fn stage(text: &str) {
    if !std::io::stderr().is_terminal() || LINES.load(Ordering::Relaxed) {
        line(text);
    }
}

/// A message to stderr, above the progress bar if there is one.
pub fn line(text: &str) {
    if is_at_least(Verbosity::Normal) {
        write(text);
    }
}

fn write(text: &str) {
    if let Some(held) = locked(&HELD).as_mut() {
        held.push(text.to_owned());
        return;
    }
    let bar = locked(&BAR).clone();
    // A closed stderr must not end a training run.
    let write = || {
        let _ = writeln!(std::io::stderr(), "{text}");
    };
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// A warning to stderr.
pub fn warning(text: &str) {
    write(&format!("{} {text}", style("warning:").yellow().bold().for_stderr()));
}

/// Leaves standard output to [`json`] from now on.
pub fn only_json() {
    JSON.store(true, Ordering::Relaxed);
}

/// A result to stdout, unless that is for JSON alone. A closed pipe is not an error; another failure
/// is kept for [`lost_result`].
pub fn result(text: &str) {
    if !JSON.load(Ordering::Relaxed) {
        json(text);
    }
}

/// Results as JSON to stdout, with the same errors.
pub fn json(text: &str) {
    let mut stdout = std::io::stdout();
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    if let Err(error) = written
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        locked(&LOST).get_or_insert(error);
    }
}

/// The error that kept a result from stdout, if there was one.
pub fn lost_result() -> Option<std::io::Error> {
    locked(&LOST).take()
}

/// What else the user can do, to stderr, beside an error.
pub fn hint(text: &str) {
    let _ = writeln!(std::io::stderr(), "{} {text}", style("tip:").green().bold().for_stderr());
}

/// An error to stderr.
pub fn error(error: &anyhow::Error) {
    let _ = writeln!(std::io::stderr(), "{} {error:#}", style("error:").red().bold().for_stderr());
}

/// The progress bar for a terminal of this width. A longer line would wrap and not be erased.
fn counted(columns: u16) -> &'static str {
    match columns {
        120.. => WIDE,
        40.. => MEDIUM,
        _ => NARROW,
    }
}

/// A bar on the terminal, as long as it lives; nothing where bars are not shown.
#[derive(Debug)]
pub struct Bar(Option<ProgressBar>);

impl Bar {
    /// Counts the bytes of the file `name`. Where bars are not shown, `text` is written instead.
    pub fn bytes(name: &str, text: &str, total: Option<u64>) -> Self {
        match total {
            Some(total) => Self::or_line(name, text, BYTES, || ProgressBar::new(total)),
            None => Self::or_line(name, text, BYTES_UNSIZED, ProgressBar::no_length),
        }
    }

    /// A spinner for work of unknown length. Where bars are not shown, `text` is written instead.
    pub fn spinner(text: &str) -> Self {
        let bar = Self::or_line(text, text, SPINNER, ProgressBar::new_spinner);
        if let Some(bar) = &bar.0 {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        bar
    }

    /// Counts the bytes that are read from `reader`.
    pub fn wrap_read<R: Read>(&self, reader: R) -> impl Read + use<R> {
        self.0.clone().unwrap_or_else(ProgressBar::hidden).wrap_read(reader)
    }

    fn or_line(
        name: &str,
        text: &str,
        template: &str,
        create: impl FnOnce() -> ProgressBar,
    ) -> Self {
        let bar = Self::show(name, template, create);
        if bar.0.is_none() {
            line(text);
        }
        bar
    }

    fn show(name: &str, template: &str, create: impl FnOnce() -> ProgressBar) -> Self {
        // Two bars would draw over each other: the first one shows the work.
        let visible = std::io::stderr().is_terminal()
            && is_at_least(Verbosity::Normal)
            && !LINES.load(Ordering::Relaxed)
            && !is_held()
            && locked(&BAR).is_none();
        let bar = visible.then(|| {
            let style = ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            create().with_style(style).with_prefix(name.to_owned())
        });
        if bar.is_some() {
            locked(&BAR).clone_from(&bar);
        }
        Self(bar)
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
            *locked(&BAR) = None;
        }
    }
}

/// Progress of work in steps: a bar with remaining time on a terminal, otherwise a line every 30
/// seconds.
#[derive(Debug)]
pub struct Progress {
    name: String,
    total: usize,
    /// Steps that were done at the start.
    before: usize,
    done: usize,
    started: Instant,
    last_line: Instant,
    bar: Bar,
}

impl Progress {
    /// Begins work of `total` steps, `done` of which are done already.
    pub fn start(name: &str, total: usize, done: usize) -> Self {
        let now = Instant::now();
        let bar = Bar::show(name, counted(console::Term::stderr().size().1), || {
            ProgressBar::new(total as u64)
        });
        if let Some(bar) = &bar.0 {
            bar.set_position(done as u64);
            bar.reset_eta();
        }
        let (before, name) = (done, name.to_owned());
        Self { name, total, before, done, started: now, last_line: now, bar }
    }

    /// Steps per second so far.
    pub fn per_second(&self) -> f64 {
        let seconds = self.started.elapsed().as_secs_f64();
        (self.done - self.before) as f64 / seconds.max(1e-9)
    }

    /// Records that `done` steps are done; `message` is made only when it is shown.
    pub fn update(&mut self, done: usize, message: impl FnOnce() -> String) {
        self.done = done.max(self.before);
        if let Some(bar) = &self.bar.0 {
            bar.set_position(done as u64);
            bar.set_message(message());
        } else if self.last_line.elapsed() >= LINE_INTERVAL && !is_held() {
            self.last_line = Instant::now();
            let left = self.total.saturating_sub(done) as f64 / self.per_second().max(1e-9);
            let seconds = self.started.elapsed().as_secs();
            line(&format!(
                "{} {done}/{} after {seconds} s, {left:.0} s left  {}",
                self.name,
                self.total,
                message()
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_valid() {
        for template in [WIDE, MEDIUM, NARROW, BYTES, BYTES_UNSIZED, SPINNER] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn a_library_is_silent_and_shows_no_bar() {
        assert!(!is_at_least(Verbosity::Normal));
        let bar = Bar::bytes("name", "text", Some(5));
        assert!(bar.0.is_none());
        let mut bytes = Vec::new();
        bar.wrap_read(&b"12345"[..]).read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"12345");
    }
}
