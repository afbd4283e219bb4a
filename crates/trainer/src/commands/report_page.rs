//! `hvae report`.
use crate::cli::Global;
use crate::cli::runs::ReportArgs;
use anyhow::Result;
use burn::tensor::Device;
pub(super) fn run(_args: &ReportArgs, _global: &Global, _device: &Device) -> Result<()> {
    anyhow::bail!("not yet")
}
