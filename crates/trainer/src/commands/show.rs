use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use hvae_runtime::terminal;

use crate::{
    commands::context::{Context, Ended, Run},
    commands::output::JsonArgs,
    report,
    run::{Environment, Origin, RunDir, summary::Summary},
};

/// Show a run: configuration, results, checkpoints
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae show checkpoints/h-vae-001
  hvae show checkpoints/h-vae-001 --json")]
pub struct Show {
    /// A run's folder
    run: PathBuf,
    #[command(flatten)]
    json: JsonArgs,
}

impl Run for Show {
    fn run(self, _: &Context) -> Result<Ended> {
        let run = RunDir::open(&self.run)?;
        let summary = Summary::of(&run)?;
        let environment = Environment::of(&run)?;
        self.json.require()?;
        print(&run, &summary, environment.as_ref())?;
        let mut value = summary.to_json()?;
        value["environment"] = serde_json::to_value(&environment)?;
        value["origin"] = serde_json::to_value(Origin::of(&run)?)?;
        value["checkpoints"] = run.checkpoints()?.into();
        self.json.write(&value)?;
        Ok(Ended::Done)
    }
}

fn print(run: &RunDir, summary: &Summary, environment: Option<&Environment>) -> Result<()> {
    let say = terminal::result;
    say(&format!("{}: {}", summary.path, summary.config.model.kind.name()));
    if let Some(origin) = Origin::of(run)? {
        say(&format!("first weights from {origin}"));
    }
    say(&format!("epochs {}/{}", summary.done(), summary.config.training.epochs));
    for (name, pointer) in [("latest", &summary.latest), ("best", &summary.best)] {
        say(&format!("{name} {}", pointer.as_deref().unwrap_or("none")));
    }
    say(&format!("checkpoints {}", run.checkpoints()?.join(" ")));
    if let Some(Environment { version, commit, processor, device, threads, .. }) = environment {
        let program = format!("hvae {version} ({commit})");
        let processor = processor.as_deref().unwrap_or("an unknown processor");
        say(&format!("trained by {program} on {processor}, {device}, {threads} threads"));
    }
    if let Some(last) = summary.epochs.last() {
        say("\n# last epoch");
        for (name, value) in last.scalars() {
            say(&format!("{name} = {}", report::shown(value)));
        }
    }
    say("\n# config.toml");
    say(summary.config.to_toml()?.trim_end());
    Ok(())
}
