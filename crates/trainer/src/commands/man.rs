use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use hvae_runtime::{files, terminal};

use crate::commands::context::{Context, Ended, Run};

/// Write manual pages
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae man --out ~/.local/share/man/man1
  hvae man --out man && man ./man/hvae-train.1")]
pub struct Man {
    /// Folder for the pages, one per command
    #[arg(long, value_name = "DIR", default_value = "man")]
    out: PathBuf,
}

impl Run for Man {
    fn run(self, cx: &Context) -> Result<Ended> {
        let mut program = cx.program();
        program.build();
        pages(&program, "hvae", &self.out)?;
        terminal::result(&self.out.display().to_string());
        Ok(Ended::Done)
    }
}

/// A page for `command` and for each of its subcommands.
fn pages(command: &clap::Command, name: &str, folder: &Path) -> Result<()> {
    // The renderer wants a name of static lifetime.
    let page = command.clone().name(name.to_owned().leak() as &'static str);
    files::write_atomically(&folder.join(format!("{name}.1")), |file| {
        Ok(clap_mangen::Man::new(page).render(file)?)
    })?;
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        pages(sub, &format!("{name}-{}", sub.get_name()), folder)?;
    }
    Ok(())
}
