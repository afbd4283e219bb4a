//! `hvae devices`: the devices of this build and machine, and which one `auto` selects.

use std::fmt::Write as _;

/// The devices: name, hardware, driver and kind of each; those that are not built in, too.
pub fn rows() -> Vec<[String; 4]> {
    let mut rows = vec![row("cpu", "Burn Flex", &processor(), "in every build")];
    rows.push(if cfg!(feature = "ndarray") {
        row("ndarray", "Burn NdArray", "", "for comparisons; slower than cpu")
    } else {
        missing("ndarray")
    });
    rows.extend(["wgpu", "vulkan", "cuda"].into_iter().flat_map(graphics));
    rows.push(if cfg!(feature = "remote") {
        row("remote:", "remote:<host>:<port>, where `hvae serve` runs", "", "")
    } else {
        missing("remote")
    });
    rows
}

/// The device that `auto` takes.
pub fn automatic() -> String {
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    let best = crate::adapters::best().map_or_else(|| "cpu".to_owned(), |a| a.device());
    #[cfg(not(any(feature = "wgpu", feature = "cuda")))]
    let best = "cpu".to_owned();
    best
}

/// A table of all devices, one per line.
pub fn list() -> String {
    let heading = row("DEVICE", "NAME", "DRIVER", "KIND");
    let mut text = String::new();
    for [device, name, driver, kind] in std::iter::once(heading).chain(rows()) {
        let line = format!("{device:<10}  {name:<40}  {driver:<36}  {kind}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text + &format!("\n`--device auto` takes {}.", automatic())
}

fn row(device: &str, name: &str, driver: &str, kind: &str) -> [String; 4] {
    [device, name, driver, kind].map(str::to_owned)
}

fn missing(feature: &str) -> [String; 4] {
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

#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn graphics(family: &str) -> Vec<[String; 4]> {
    match crate::adapters::of(family) {
        None => vec![missing(family)],
        Some(Err(error)) => vec![row(family, &error.to_string(), "", "")],
        Some(Ok(found)) if found.is_empty() => {
            vec![row(family, "no adapter on this machine", "", "")]
        }
        Some(Ok(found)) => {
            found.iter().map(|a| row(&a.device(), &a.name, &a.driver, a.kind())).collect()
        }
    }
}

#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
fn graphics(family: &str) -> Vec<[String; 4]> {
    vec![missing(family)]
}
