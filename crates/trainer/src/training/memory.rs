//! How much memory training takes at least, and how much there is.

use anyhow::{Result, ensure};
use burn::tensor::Device;

use crate::config::RunConfig;

/// What training holds whatever the batch, in bytes; as fractions, because what was asked for may be
/// more than any machine has.
#[derive(Debug)]
pub struct Needed {
    /// Weights; gradients take as much again.
    pub weights: f64,
    /// What the optimizer remembers.
    pub optimizer: f64,
    /// Averaged weights.
    pub averages: f64,
}

impl Needed {
    /// Of a model of `config` for images of so many pixels; nothing is allocated.
    pub fn of(config: &RunConfig, pixels: usize) -> Self {
        let training = &config.training;
        let weights = 4.0 * config.model.stored_numbers(pixels);
        let moments = training.optimizer.rule(training.momentum).memory();
        let averages = if training.averages() { weights } else { 0.0 };
        Self { weights, optimizer: moments as f64 * weights, averages }
    }

    /// A checkpoint on disk.
    pub fn checkpoint(&self) -> f64 {
        self.weights + self.optimizer + self.averages
    }

    /// Refuses what the host's memory cannot hold, before it is asked for: the system would end the
    /// process without a word.
    ///
    /// # Errors
    ///
    /// When the device computes in host memory and less is free.
    pub fn require(&self, device: &Device) -> Result<()> {
        let needed = self.checkpoint() + self.weights;
        let Some(free) = available().filter(|_| hvae_device::is_host(device)) else {
            return Ok(());
        };
        ensure!(
            needed <= free,
            "weights, gradients, averages and optimizer would take {}, but only {} of memory are free: \
             choose smaller layers (model.hidden)",
            shown(needed),
            shown(free)
        );
        Ok(())
    }
}

/// An amount of memory for a person.
pub fn shown(bytes: f64) -> String {
    if bytes < 1e9 { format!("{:.1} MB", bytes / 1e6) } else { format!("{:.1} GB", bytes / 1e9) }
}

/// The most memory that this process has held, in bytes, where the system tells.
pub fn peak() -> Option<f64> {
    kilobytes("/proc/self/status", "VmHWM:")
}

/// Memory that a new process could have, in bytes, where the system tells.
fn available() -> Option<f64> {
    kilobytes("/proc/meminfo", "MemAvailable:")
}

/// The number after `name` in a file of the system, from kB to bytes.
fn kilobytes(file: &str, name: &str) -> Option<f64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(1024.0 * kilobytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use burn::module::{Module, ModuleVisitor, Param};
    use burn::tensor::Tensor;

    use super::*;

    struct Count(usize);

    impl ModuleVisitor for Count {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 += param.val().shape().num_elements();
        }
    }

    #[test]
    fn what_is_foretold_is_what_a_model_holds() {
        for kind in ["f-vae", "h-vae", "th-vae", "dh-vae", "tdh-vae"] {
            for more in ["model.latent=3", "model.sigma=0.5"] {
                let set = [format!("model.kind={kind}"), "model.hidden=[7,5]".into(), more.into()];
                let config = RunConfig::resolve(None, &set).unwrap();
                let device = Device::flex();
                let model = crate::training::new_model(&config, 36, &device).unwrap();
                let mut count = Count(0);
                model.visit(&mut count);
                let amplitudes =
                    if config.model.learned_amplitudes { config.model.latent } else { 0 };
                let bytes = 4 * (count.0 - amplitudes);
                assert!(
                    (Needed::of(&config, 36).weights - bytes as f64).abs() < 0.5,
                    "{kind} {more}"
                );
            }
        }
    }

    #[test]
    fn what_no_machine_holds_is_refused_and_named() {
        let layers = ["65536"; 60].join(",");
        let set = ["model.kind=th-vae".to_owned(), format!("model.hidden=[{layers}]")];
        let config = RunConfig::resolve(None, &set).unwrap();
        let refusal = Needed::of(&config, 784).require(&Device::flex());
        if available().is_some() {
            assert!(refusal.unwrap_err().to_string().contains("model.hidden"));
        }
    }
}
