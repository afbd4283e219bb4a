//! Device names, as given to `--device`.

use std::{fmt, str::FromStr};

use anyhow::{Result, bail};

/// A device by name. The number after `:` is its index in the list of `hvae devices`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The best GPU of this build and machine, else the CPU.
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
    /// A device of another machine that runs `hvae serve`.
    Remote {
        /// Host and port.
        address: String,
        /// Index among the devices served there.
        index: usize,
    },
}

/// The names that `--device` accepts.
const FORMS: &str = "auto, cpu, ndarray, wgpu[:i], vulkan[:i], cuda[:i], remote:<host>:<port>[/i]";

impl Choice {
    /// Its name without an index, which is also the cargo feature that builds it in.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
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
        let (name, index) = text.split_once(':').unwrap_or((text, "0"));
        let Ok(number) = index.parse() else {
            bail!("device '{text}': expected an index of `hvae devices` after the colon")
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
        if text != name && matches!(choice, Self::Auto | Self::Cpu | Self::NdArray) {
            bail!("device '{text}': there is only one '{name}', which takes no index");
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
        f.write_str(self.name())?;
        match self {
            Self::Remote { address, index: 0 } => write!(f, ":{address}"),
            Self::Remote { address, index } => write!(f, ":{address}/{index}"),
            Self::Wgpu(i) | Self::Vulkan(i) | Self::Cuda(i) if *i > 0 => write!(f, ":{i}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_and_display() {
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
    fn invalid_names_are_errors() {
        for (name, part) in [
            ("tpu", "cuda[:i]"),
            ("", "auto"),
            ("cpu:1", "takes no index"),
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
