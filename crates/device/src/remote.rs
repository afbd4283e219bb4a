//! Devices of other machines, by burn-remote.

use anyhow::{Context, Result};
use burn::remote::RemoteHost;
use burn::server::{RemoteServer, TokenAuthorizer, WebSocketTransport};
use burn::tensor::Device;

use crate::fault;

/// Environment variable with the shared password of client and server, if any.
pub const TOKEN: &str = "HVAE_TOKEN";

/// Device `index` of the server at `address`, host and port.
pub(super) fn connect(address: &str, index: usize) -> Result<Device> {
    let name = format!("remote:{address}/{index}");
    fault::in_use(&name);
    let mut host = RemoteHost::websocket(&format!("ws://{address}"));
    if let Ok(token) = std::env::var(TOKEN) {
        host = host.with_credential(token);
    }
    fault::guard(|| Ok(Device::remote_options(&host).device_index(index).init()?)).with_context(
        || {
            format!(
                "cannot use device '{name}'; is `hvae serve` running there, with the same {TOKEN}?"
            )
        },
    )
}

/// Serves `devices` on `port` until Ctrl-C. An error where the port is in use, the devices have
/// different backends, or the password is empty.
pub fn serve(devices: Vec<Device>, port: u16) -> Result<()> {
    let mut server = RemoteServer::new(devices);
    if let Ok(token) = std::env::var(TOKEN) {
        server = server.with_authorizer(TokenAuthorizer::new(token).context(TOKEN)?);
    }
    server.serve(WebSocketTransport::new(port)).with_context(|| format!("serving on port {port}"))
}
