#!/usr/bin/env bash
# Trains, samples, solves and extracts features on every available device and compares with the CPU
# (crates/trainer/tests/devices). Installs lavapipe with apt if there is no Vulkan driver; if that
# fails, says so and tests the rest.
#
#     bash scripts/check_devices.sh                      # wgpu and ndarray
#     FEATURES=remote bash scripts/check_devices.sh      # others, such as served devices
set -euo pipefail
cd "$(dirname "$0")/.."

has_driver() { compgen -G '/usr/share/vulkan/icd.d/*.json' || compgen -G '/etc/vulkan/icd.d/*.json'; }

if ! has_driver >/dev/null && [ "$(uname)" = Linux ] && command -v apt-get >/dev/null; then
    root=()
    [ "$(id -u)" = 0 ] || root=(sudo -n)
    echo "installing lavapipe, a software Vulkan driver"
    { "${root[@]}" apt-get update -qq &&
        "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
            --no-install-recommends mesa-vulkan-drivers libvulkan1; } >/dev/null 2>&1 ||
        echo "*** could not install it: wgpu is tested only if there is another adapter ***"
fi

# Few autotune candidates and no search for fusions: with a software driver autotuning would take
# longer than the tests. Set these variables to test a GPU as it is used.
export CUBECL_AUTOTUNE_LEVEL=${CUBECL_AUTOTUNE_LEVEL:-minimal}
export BURN_FUSION_MAX_EXPLORATIONS=${BURN_FUSION_MAX_EXPLORATIONS:-0}
# Mesa warns without it.
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-$(mktemp -d)}

features=${FEATURES:-wgpu,ndarray}
# One test at a time: they would share the CPU that emulates the GPU.
cargo test --profile devices --workspace --locked --features "$features" --test devices -- \
    --test-threads 1 --nocapture
