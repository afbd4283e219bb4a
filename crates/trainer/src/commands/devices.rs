use anyhow::Result;
use clap::Args;
use hvae_runtime::terminal;

use crate::commands::context::{Context, Ended, Run};

/// List the devices of this build and this machine
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae devices
  hvae train --device auto             on the device of the last line
  hvae train --devices cuda:0,cuda:1   each batch split over two of them")]
pub struct Devices {}

impl Run for Devices {
    fn run(self, _: &Context) -> Result<Ended> {
        terminal::result(&hvae_device::list());
        Ok(Ended::Done)
    }
}
