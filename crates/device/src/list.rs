//! `hvae devices`: what was built in, what this machine has, and what `auto` takes.

use std::fmt::Write as _;

/// The list, one device a line.
pub fn list() -> String {
    let mut lines = vec![row("cpu", "Burn Flex", &processor(), "in every build")];
    lines.extend(ndarray());
    lines.extend(graphics());
    lines.extend(remote());
    let best = best();
    let mut text = row("DEVICE", "NAME", "DRIVER", "KIND");
    for line in lines {
        let _ = write!(text, "\n{line}");
    }
    text + &format!("\n\n`--device auto` takes {best}.")
}

fn row(device: &str, name: &str, driver: &str, kind: &str) -> String {
    format!("{device:<10}  {name:<40}  {driver:<36}  {kind}").trim_end().to_owned()
}

fn missing(feature: &str) -> String {
    let build = format!("cargo build --release --features {feature}");
    row(feature, "not built in", &build, "")
}

fn processor() -> String {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    #[cfg(target_arch = "x86_64")]
    let vectors = [
        ("AVX-512", std::arch::is_x86_feature_detected!("avx512f")),
        ("AVX2", std::arch::is_x86_feature_detected!("avx2")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let vectors: [(&str, bool); 0] = [];
    let widest = vectors.iter().find(|v| v.1).map_or(String::new(), |v| format!(", {}", v.0));
    format!("{threads} threads{widest}")
}

fn ndarray() -> Vec<String> {
    if cfg!(feature = "ndarray") {
        vec![row("ndarray", "Burn NdArray", "", "for comparisons; slower than cpu")]
    } else {
        vec![missing("ndarray")]
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn graphics() -> Vec<String> {
    use crate::list::adapters;

    let mut lines = Vec::new();
    let mut add = |name: &str,
                   built: bool,
                   found: &dyn Fn() -> Result<Vec<adapters::Adapter>, String>| {
        if !built {
            lines.push(missing(name));
            return;
        }
        match found() {
            Ok(found) if found.is_empty() => {
                lines.push(row(name, "no adapter on this machine", "", ""));
            }
            Ok(found) => {
                let show = |a: &adapters::Adapter| row(&a.device(), &a.name, &a.driver, a.kind());
                lines.extend(found.iter().map(show));
            }
            Err(error) => lines.push(row(name, &error, "", "")),
        }
    };
    #[cfg(feature = "wgpu")]
    add("wgpu", true, &|| Ok(adapters::wgpu()));
    #[cfg(not(feature = "wgpu"))]
    add("wgpu", false, &|| Ok(Vec::new()));
    #[cfg(feature = "vulkan")]
    add("vulkan", true, &|| Ok(adapters::vulkan()));
    #[cfg(not(feature = "vulkan"))]
    add("vulkan", false, &|| Ok(Vec::new()));
    #[cfg(feature = "cuda")]
    add("cuda", true, &|| adapters::cuda().map_err(|e| e.to_string()));
    #[cfg(not(feature = "cuda"))]
    add("cuda", false, &|| Ok(Vec::new()));
    lines
}

#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
fn graphics() -> Vec<String> {
    ["wgpu", "vulkan", "cuda"].map(missing).to_vec()
}

fn remote() -> Vec<String> {
    if cfg!(feature = "remote") {
        vec![row("remote:", "remote:<host>:<port>, where `hvae serve` runs", "", "")]
    } else {
        vec![missing("remote")]
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn best() -> String {
    super::adapters::best().map_or_else(|| "cpu".to_owned(), |a| a.device())
}

#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
fn best() -> String {
    "cpu".to_owned()
}
