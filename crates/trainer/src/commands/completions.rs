use anyhow::{Context as _, Result};
use clap::Args;
use hvae_runtime::terminal;

use crate::commands::context::{Context, Ended, Run};

/// Write shell completions to stdout
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae completions bash > ~/.local/share/bash-completion/completions/hvae
  hvae completions zsh > ~/.zfunc/_hvae
  hvae completions fish > ~/.config/fish/completions/hvae.fish")]
pub struct Completions {
    /// Shell
    shell: clap_complete::Shell,
}

impl Run for Completions {
    fn run(self, cx: &Context) -> Result<Ended> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut cx.program(), "hvae", &mut script);
        terminal::result(String::from_utf8(script).context("completions are text")?.trim_end());
        Ok(Ended::Done)
    }
}
