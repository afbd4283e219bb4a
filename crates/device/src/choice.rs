//! Names of devices, as `--device` takes them.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};

/// A device by name; what follows `:` is its number in the list of `hvae devices`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The best GPU that this build and this machine have, else the CPU.
    Auto,
    /// Burn's Flex backend; in every build.
    Cpu,
    /// Burn's older CPU backend.
    NdArray,
    /// WGSL on Vulkan, Metal or DirectX 12.
    Wgpu(usize),
    /// SPIR-V on Vulkan.
    Vulkan(usize),
    /// CUDA.
    Cuda(usize),
    /// A device of another machine, where `hvae serve` runs.
    Remote {
        /// Host and port.
        address: String,
        /// Which of the devices served there.
        index: usize,
    },
}

/// What `--device` can be.
const FORMS: &str = "auto, cpu, ndarray, wgpu[:i], vulkan[:i], cuda[:i], remote:<host>:<port>[/i]";

impl Choice {
    /// The cargo feature that it takes; empty for those that every build has.
    pub fn feature(&self) -> &'static str {
        match self {
            Self::Auto | Self::Cpu => "",
            Self::NdArray => "ndarray",
            Self::Wgpu(_) => "wgpu",
            Self::Vulkan(_) => "vulkan",
            Self::Cuda(_) => "cuda",
            Self::Remote { .. } => "remote",
        }
    }
}

impl FromStr for Choice {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(rest) = text.strip_prefix("remote:") {
            return remote(text, rest);
        }
        let (name, index) = match text.split_once(':') {
            Some((name, index)) => (name, Some(index)),
            None => (text, None),
        };
        let number = match index.map(str::parse) {
            None => 0,
            Some(Ok(number)) => number,
            Some(Err(_)) => bail!(
                "device '{text}': after the colon stands a number from the list of `hvae devices`"
            ),
        };
        let choice = match name {
            "auto" => Self::Auto,
            "cpu" => Self::Cpu,
            "ndarray" => Self::NdArray,
            "wgpu" => Self::Wgpu(number),
            "vulkan" => Self::Vulkan(number),
            "cuda" => Self::Cuda(number),
            _ => bail!("unknown device '{text}'; devices are {FORMS}. `hvae devices` lists yours"),
        };
        if index.is_some() && matches!(choice, Self::Auto | Self::Cpu | Self::NdArray) {
            bail!("device '{text}': there is only one '{name}', it takes no number");
        }
        Ok(choice)
    }
}

fn remote(text: &str, rest: &str) -> Result<Choice> {
    let (address, index) = rest.split_once('/').unwrap_or((rest, "0"));
    let port = address.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
    match (port, index.parse()) {
        (Some((host, Ok(_))), Ok(index)) if !host.is_empty() => {
            Ok(Choice::Remote { address: address.to_owned(), index })
        }
        _ => bail!("device '{text}': expected remote:<host>:<port> or remote:<host>:<port>/<i>"),
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, index) = match self {
            Self::Auto => return write!(f, "auto"),
            Self::Cpu => return write!(f, "cpu"),
            Self::NdArray => return write!(f, "ndarray"),
            Self::Remote { address, index: 0 } => return write!(f, "remote:{address}"),
            Self::Remote { address, index } => return write!(f, "remote:{address}/{index}"),
            Self::Wgpu(index) => ("wgpu", index),
            Self::Vulkan(index) => ("vulkan", index),
            Self::Cuda(index) => ("cuda", index),
        };
        if *index == 0 { write!(f, "{name}") } else { write!(f, "{name}:{index}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for name in
            ["auto", "cpu", "ndarray", "wgpu", "wgpu:1", "vulkan", "cuda:3", "remote:gpu:3000/1"]
        {
            assert_eq!(name.parse::<Choice>().unwrap().to_string(), name);
        }
        assert_eq!("wgpu:0".parse::<Choice>().unwrap(), Choice::Wgpu(0));
        let remote = "remote:[::1]:3000".parse::<Choice>().unwrap();
        assert_eq!(remote, Choice::Remote { address: "[::1]:3000".to_owned(), index: 0 });
    }

    #[test]
    fn wrong_names_are_told() {
        for (name, part) in [
            ("tpu", "cuda[:i]"),
            ("", "auto"),
            ("cpu:1", "takes no number"),
            ("wgpu:x", "hvae devices"),
            ("wgpu:-1", "hvae devices"),
            ("remote:gpu", "<port>"),
            ("remote::3000", "<port>"),
            ("remote:gpu:3000/x", "<port>"),
        ] {
            let error = name.parse::<Choice>().unwrap_err().to_string();
            assert!(error.contains(part), "{name}: {error}");
        }
    }
}
