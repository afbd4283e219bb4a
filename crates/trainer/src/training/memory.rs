//! An estimate of the memory that training takes, and how much is available.

use anyhow::{Result, ensure};
use burn::tensor::Device;

use hvae_runtime::memory;
pub(crate) use hvae_runtime::memory::shown;

use crate::{config::RunConfig, training::model::image_layer};

/// What training holds at any batch size, in bytes. A float: no integer counts all that may be set.
#[derive(Debug)]
pub(crate) struct MemoryEstimate {
    /// Weights; gradients take the same again.
    pub(crate) weights: f64,
    pub(crate) optimizer: f64,
    pub(crate) averages: f64,
}

impl MemoryEstimate {
    /// For a run with this configuration; nothing is allocated.
    pub(crate) fn of(config: &RunConfig) -> Self {
        let training = &config.training;
        let weights = 4.0 * config.model.stored_numbers(image_layer(config.data.shape()));
        let moments = training.optimizer.rule(training.momentum).state_len();
        let averages = if training.averages() { weights } else { 0.0 };
        Self { weights, optimizer: moments as f64 * weights, averages }
    }

    /// Size of a checkpoint on disk.
    pub(crate) fn checkpoint(&self) -> f64 {
        self.weights + self.optimizer + self.averages
    }

    /// Refuses what does not fit into the host's memory, before it is allocated: the system would
    /// kill the process without a message.
    pub(crate) fn require(&self, device: &Device) -> Result<()> {
        let needed = self.checkpoint() + self.weights;
        let Some(free) = memory::available().filter(|_| hvae_device::is_host(device)) else {
            return Ok(());
        };
        ensure!(
            needed <= free,
            "weights, gradients, averages and optimizer need {}, but only {} of memory are \
             available: choose smaller layers (model.hidden)",
            shown(needed),
            shown(free)
        );
        Ok(())
    }
}

/// Peak memory of this process in bytes, where the system reports it.
pub(crate) fn peak() -> Option<f64> {
    memory::kilobytes("/proc/self/status", "VmHWM:")
}

#[cfg(test)]
mod tests {
    use burn::module::Module;

    use super::*;
    use crate::training::model::new_model;

    #[test]
    fn estimate_matches_parameter_count() {
        for kind in ["f-vae", "h-vae", "th-vae", "dh-vae", "tdh-vae"] {
            for more in ["model.latent=3", "model.sigma=0.5"] {
                let set = ["model.hidden=[7,5]", "data.size=6x6", more];
                let set = [vec![format!("model.kind={kind}")], set.map(str::to_owned).to_vec()];
                let config = RunConfig::resolve(None, &set.concat()).unwrap();
                let model = new_model(&config, &Device::flex()).unwrap();
                let amplitudes =
                    if config.model.learned_amplitudes { config.model.latent } else { 0 };
                let bytes = 4.0 * (model.num_params() - amplitudes) as f64;
                let estimate = MemoryEstimate::of(&config).weights;
                assert!((estimate - bytes).abs() < 0.5, "{kind} {more}");
            }
        }
    }

    #[test]
    fn a_model_larger_than_memory_is_refused() {
        let layers = ["65536"; 60].join(",");
        let set = ["model.kind=th-vae".to_owned(), format!("model.hidden=[{layers}]")];
        let config = RunConfig::resolve(None, &set).unwrap();
        let refusal = MemoryEstimate::of(&config).require(&Device::flex());
        if memory::available().is_some() {
            assert!(refusal.unwrap_err().to_string().contains("model.hidden"));
        }
    }
}
