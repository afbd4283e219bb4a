//! How much memory there is, asked before it is taken.

use anyhow::{Context, Result, ensure};

/// Memory available to a new process in bytes, where the system reports it.
pub fn available() -> Option<f64> {
    kilobytes("/proc/meminfo", "MemAvailable:")
}

/// The number in kB after `name` in a file of the system, in bytes.
pub fn kilobytes(file: &str, name: &str) -> Option<f64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(1024.0 * kilobytes)
}

/// An amount of memory in MB or GB.
pub fn shown(bytes: f64) -> String {
    if bytes < 1e9 { format!("{:.1} MB", bytes / 1e6) } else { format!("{:.1} GB", bytes / 1e9) }
}

/// Refuses what needs more than there is: the system would end the process without a message.
pub fn require(bytes: f64) -> Result<()> {
    let needed = shown(bytes);
    if let Some(free) = available() {
        let free_shown = shown(free);
        ensure!(
            bytes <= free,
            "{needed} of memory are needed, but only {free_shown} are available"
        );
    }
    // A limit of the process (`ulimit -v`) shows only when memory is asked for.
    #[allow(clippy::cast_sign_loss, reason = "an amount of memory")]
    let granted = Vec::<u8>::new().try_reserve_exact(bytes as usize).is_ok();
    ensure!(granted, "{needed} of memory are needed, more than this process is allowed");
    Ok(())
}

/// An empty vector with room for `count` values; an error where there is none.
pub fn reserve<T>(count: usize) -> Result<Vec<T>> {
    let bytes = count as f64 * size_of::<T>() as f64;
    let mut values = Vec::new();
    values
        .try_reserve_exact(count)
        .with_context(|| format!("{} are needed, more than there is memory", shown(bytes)))?;
    Ok(values)
}
