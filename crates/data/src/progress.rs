//! Word of what a download is doing, on stderr.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

const SIZED: &str = "{msg} [{wide_bar}] {bytes}/{total_bytes} {eta}";
const UNSIZED: &str = "{msg} {bytes} {bytes_per_sec}";
const SPINNER: &str = "{spinner} {msg} {elapsed}";

/// How much a lengthy step says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Verbosity {
    /// Nothing but its errors.
    Quiet,
    /// A progress bar on a terminal, plain lines elsewhere.
    #[default]
    Normal,
}

impl Verbosity {
    /// A bar that counts the bytes of `name`. Without a terminal, a line says `text` instead.
    pub(super) fn byte_bar(self, name: &str, text: &str, total: Option<u64>) -> ProgressBar {
        let template = if total.is_some() { SIZED } else { UNSIZED };
        self.show(
            name,
            text,
            || total.map_or_else(ProgressBar::no_length, ProgressBar::new),
            template,
        )
    }

    /// A sign of life for a step of unknown length. Without a terminal, a line says `text`.
    pub(super) fn spinner(self, text: &str) -> ProgressBar {
        let bar = self.show(text, text, ProgressBar::new_spinner, SPINNER);
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        bar
    }

    /// A plain line.
    pub(super) fn line(self, text: &str) {
        if self == Self::Normal {
            // Nobody can be told that stderr is closed.
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    fn show(
        self,
        message: &str,
        text: &str,
        create: impl FnOnce() -> ProgressBar,
        template: &str,
    ) -> ProgressBar {
        if self == Self::Quiet {
            return ProgressBar::hidden();
        }
        let bar = create();
        if bar.is_hidden() {
            self.line(text);
        } else if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
            bar.set_message(message.to_owned());
        }
        bar
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_valid() {
        for template in [SIZED, UNSIZED, SPINNER] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn a_quiet_bar_is_hidden() {
        assert!(Verbosity::Quiet.byte_bar("name", "text", Some(5)).is_hidden());
        assert!(Verbosity::Quiet.spinner("text").is_hidden());
    }
}
