//! wgpu beside the CPU, where there is an adapter.

use super::*;

/// Whether there is an adapter, hardware or not.
fn adapter(folder: &Folder) -> bool {
    let list = folder.ok(&["devices"]);
    let found = list.lines().any(|l| l.starts_with("wgpu:0"));
    if !found {
        eprintln!(
            "\n*** NOT TESTED: no adapter for wgpu on this machine. `apt install \
             mesa-vulkan-drivers libvulkan1` brings one that is a program. ***\n{list}\n"
        );
    }
    found
}

#[test]
fn wgpu_agrees_with_cpu() {
    let folder = Folder::new();
    if adapter(&folder) {
        compare_with_cpu(&folder, "wgpu", &KINDS);
        compare_features(&hvae::device::open("wgpu", true).unwrap(), "wgpu");
    }
}

/// A step reads the device at convergence checks, not otherwise.
#[test]
fn the_hot_loop_is_quiet() {
    let folder = Folder::new();
    if !adapter(&folder) {
        return;
    }
    // Four phases of at most 6 (free) and 3 (nudged) checks.
    assert!(traced(&folder, "h-vae") <= 18.0);
    traced(&folder, "tdh-vae");
}

/// Trains, and gives the reads per step. Noise is all that is uploaded.
fn traced(folder: &Folder, kind: &str) -> f64 {
    let mut arguments = train(kind, kind, &["--trace-device", "--allow-software"]);
    arguments.retain(|a| *a != "--quiet");
    arguments.extend(["--device", "wgpu"]);
    let output = folder.command(&arguments).output().unwrap();
    let text = stderr(&output);
    assert!(output.status.success(), "{text}");
    let line = text.lines().find(|l| l.contains("reads of the device")).unwrap();
    let number = |before: &str| -> f64 {
        let words: Vec<&str> = line.split([' ', ',']).filter(|w| !w.is_empty()).collect();
        let at = words.iter().position(|w| *w == before).unwrap();
        words[at - 1].parse().unwrap()
    };
    eprintln!("{line}");
    assert!(number("uploads") <= 1.0, "{line}");
    assert!(number("kernel") > 0.0, "{line}");
    number("reads")
}

#[test]
fn what_a_gpu_cannot_do_is_a_sentence() {
    let folder = Folder::new();
    let text = folder.fails(1, &["sample", "run", "--device", "wgpu:99"]);
    assert!(text.contains("wgpu:99") || text.contains("no adapter"), "{text}");
    let list = folder.ok(&["devices"]);
    if list.contains("software") && !list.contains("hardware") {
        let text = folder.fails(1, &["sample", "run", "--device", "wgpu"]);
        assert!(text.contains("--allow-software"), "{text}");
        assert!(list.contains("`--device auto` takes cpu"), "{list}");
    }
    // No driver at all.
    let mut command = folder.command(&["sample", "run", "--device", "wgpu"]);
    for variable in ["VK_ICD_FILENAMES", "VK_DRIVER_FILES", "__EGL_VENDOR_LIBRARY_FILENAMES"] {
        command.env(variable, "/nonexistent");
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
}
