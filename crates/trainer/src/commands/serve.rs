use anyhow::Result;
use clap::Args;

use crate::cli::values;
use crate::commands::context::{Context, Ended, Run};

/// Let other machines compute on devices of this one
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae serve --port 3000                              the CPU
  hvae serve --port 3000 --devices cuda:0,cuda:1      two cards
  hvae train --device remote:gpu.local:3000           on the other machine
  hvae train --devices remote:a:3000,remote:b:3000    each batch split over two machines

Traffic is not encrypted: serve on a trusted network or through a tunnel. If HVAE_TOKEN is set here,
only clients with the same HVAE_TOKEN can connect. Ctrl-C stops the server.")]
pub struct Serve {
    /// Port to listen on, on every address of this machine
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Devices to serve, all of one kind; clients number them from 0 in this order
    #[arg(long, value_delimiter = ',', value_name = "DEVICE,...", default_value = "cpu", value_parser = values::device)]
    devices: Vec<String>,
}

impl Run for Serve {
    #[cfg(feature = "remote")]
    fn run(self, cx: &Context) -> Result<Ended> {
        let devices = self.devices.iter().map(|name| cx.open(name)).collect::<Result<_>>()?;
        let (shown, port) = (self.devices.join(", "), self.port);
        hvae_runtime::terminal::line(&format!("serving {shown} on port {port}; Ctrl-C stops it"));
        hvae_device::remote::serve(devices, port)?;
        Ok(Ended::Done)
    }

    #[cfg(not(feature = "remote"))]
    fn run(self, _: &Context) -> Result<Ended> {
        anyhow::bail!(
            "this build has no `hvae serve`; build with `cargo build --release --features remote`"
        )
    }
}
