use anyhow::Result;
use clap::Args;
use hvae_runtime::terminal;
use serde_json::json;

use crate::commands::context::{Context, Ended, Run};
use crate::commands::output::JsonArgs;

/// List the devices of this build and this machine
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae devices
  hvae train --device auto             on the device of the last line
  hvae train --devices cuda:0,cuda:1   each batch split over two of them")]
pub struct Devices {
    #[command(flatten)]
    json: JsonArgs,
}

impl Run for Devices {
    fn run(self, _: &Context) -> Result<Ended> {
        self.json.require()?;
        terminal::result(&hvae_device::list());
        let fields = |[device, name, driver, kind]: [String; 4]| json!({ "device": device, "name": name, "driver": driver, "kind": kind });
        let devices: Vec<_> = hvae_device::rows().into_iter().map(fields).collect();
        self.json.write(&json!({ "devices": devices, "auto": hvae_device::automatic() }))?;
        Ok(Ended::Done)
    }
}
