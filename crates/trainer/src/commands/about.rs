//! `hvae completions` and `hvae man`.

use anyhow::{Context, Result};
use clap::CommandFactory;

use crate::cli::Cli;
use crate::cli::runs::{CompletionsArgs, ManArgs};
use hvae_runtime::{files, terminal};

pub(super) fn completions(args: &CompletionsArgs) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "hvae", &mut script);
    terminal::result(String::from_utf8(script).context("completions are text")?.trim_end());
    Ok(())
}

pub(super) fn man(args: &ManArgs) -> Result<()> {
    let mut command = Cli::command();
    command.build();
    pages(&command, "hvae", args)?;
    terminal::result(&args.out.display().to_string());
    Ok(())
}

/// A page for the command, and for each of those under it.
fn pages(command: &clap::Command, name: &str, args: &ManArgs) -> Result<()> {
    page(command, name, args)?;
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        pages(sub, &format!("{name}-{}", sub.get_name()), args)?;
    }
    Ok(())
}

fn page(command: &clap::Command, name: &str, args: &ManArgs) -> Result<()> {
    let path = args.out.join(format!("{name}.1"));
    // The renderer wants names that live as long as the program.
    let command = command.clone().name(name.to_owned().leak() as &'static str);
    files::write_atomically(&path, |file| Ok(clap_mangen::Man::new(command).render(file)?))
}
