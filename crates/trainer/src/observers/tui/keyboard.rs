//! Ctrl-C while the terminal interface has the keyboard, which would swallow it.

#[cfg(unix)]
pub(super) use unix::Keyboard;

#[cfg(unix)]
mod unix {
    use std::fs::File;
    use std::io::{IsTerminal, Write};
    use std::os::fd::{AsFd, OwnedFd};
    use std::sync::Arc;
    use std::time::Duration;

    use rustix::termios::{
        LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
    };

    use hvae_runtime::interrupt;

    /// Leaves the other screen, shows the cursor, lets go of the mouse.
    const LEAVE: &[u8] =
        b"\x1b[?1006l\x1b[?1015l\x1b[?1003l\x1b[?1002l\x1b[?1000l\x1b[?1049l\x1b[?25h";
    /// How often, and how many times, it is looked whether the interface has opened.
    const LOOKS: (Duration, usize) = (Duration::from_millis(10), 300);

    /// The keyboard as it was before the interface took it.
    pub(in crate::observers::tui) struct Keyboard {
        terminal: Arc<OwnedFd>,
        before: Termios,
    }

    impl Keyboard {
        /// The keyboard as it is; none where there is no terminal.
        pub(in crate::observers::tui) fn remember() -> Option<Self> {
            // As the interface itself chooses.
            let stdin = std::io::stdin();
            let terminal = if stdin.is_terminal() {
                stdin.as_fd().try_clone_to_owned().ok()?
            } else {
                File::open("/dev/tty").ok()?.into()
            };
            let before = tcgetattr(&terminal).ok()?;
            Some(Self { terminal: Arc::new(terminal), before })
        }

        /// Once the interface has taken the keyboard: Ctrl-C is a signal again, and one that ends the
        /// process at once leaves the terminal as it was.
        pub(in crate::observers::tui) fn let_interrupts_through(&self) {
            for _ in 0..LOOKS.1 {
                std::thread::sleep(LOOKS.0);
                let Ok(mut modes) = tcgetattr(&self.terminal) else { return };
                if modes.local_modes.contains(LocalModes::ICANON) {
                    continue;
                }
                modes.local_modes |= LocalModes::ISIG;
                // Neither Ctrl-\ nor Ctrl-Z, which would leave the terminal as it is.
                for key in [SpecialCodeIndex::VQUIT, SpecialCodeIndex::VSUSP] {
                    modes.special_codes[key] = 0;
                }
                let _ = tcsetattr(&self.terminal, OptionalActions::Now, &modes);
                break;
            }
            let (terminal, before) = (self.terminal.clone(), self.before.clone());
            interrupt::set_farewell(Some(Box::new(move || {
                let _ = tcsetattr(&terminal, OptionalActions::Now, &before);
                let _ = std::io::stdout().write_all(LEAVE);
                let _ = std::io::stdout().flush();
            })));
        }
    }

    impl Drop for Keyboard {
        fn drop(&mut self) {
            interrupt::set_farewell(None);
            let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
        }
    }
}

#[cfg(not(unix))]
pub(super) struct Keyboard;

#[cfg(not(unix))]
impl Keyboard {
    pub(super) fn remember() -> Option<Self> {
        None
    }

    pub(super) fn let_interrupts_through(&self) {}
}
