//! `hvae serve`: devices of this machine for others.

use anyhow::Result;

use crate::cli::{Global, ServeArgs};

#[cfg(feature = "remote")]
pub(super) fn run(args: &ServeArgs, global: &Global) -> Result<()> {
    use hvae_device;
    use hvae_runtime::terminal;

    let open = |name: &String| hvae_device::open(name, global.allow_software);
    let devices = args.devices.iter().map(open).collect::<Result<_>>()?;
    let shown = args.devices.join(", ");
    terminal::line(&format!("serving {shown} on port {}; Ctrl-C ends it", args.port));
    hvae_device::remote::serve(devices, args.port)
}

#[cfg(not(feature = "remote"))]
pub(super) fn run(_: &ServeArgs, _: &Global) -> Result<()> {
    anyhow::bail!(
        "this build has no `hvae serve`; build with `cargo build --release --features remote`"
    )
}
