//! `hvae show`.

use anyhow::Result;

use crate::cli::runs::ShowArgs;
use crate::report;
use crate::run::RunDir;
use crate::run::environment::Environment;
use crate::run::summary::Summary;
use hvae_runtime::terminal;

pub(super) fn run(args: &ShowArgs) -> Result<()> {
    let run = RunDir::open(&args.run)?;
    let summary = Summary::of(&run)?;
    let environment = Environment::of(&run)?;
    if args.json {
        let mut value = summary.to_json()?;
        value["environment"] = serde_json::to_value(&environment)?;
        value["checkpoints"] = run.checkpoints()?.into();
        terminal::result(&value.to_string());
        return Ok(());
    }
    let say = terminal::result;
    say(&format!("{}: {}", summary.path, summary.config.model.kind.name()));
    say(&format!("epochs {}/{}", summary.done(), summary.config.training.epochs));
    for (name, pointer) in [("latest", &summary.latest), ("best", &summary.best)] {
        say(&format!("{name} {}", pointer.as_deref().unwrap_or("none")));
    }
    say(&format!("checkpoints {}", run.checkpoints()?.join(" ")));
    if let Some(environment) = environment {
        say(&format!(
            "made by hvae {} ({}) on {}, {}, {} threads",
            environment.version,
            environment.commit,
            environment.processor.as_deref().unwrap_or("an unknown processor"),
            environment.device,
            environment.threads
        ));
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
