#!/usr/bin/env bash
# Speed on a GPU: `hvae` by wgpu and CUDA against PyTorch, eager and compiled, on the same GPU in
# one run. Needs a GPU, its driver, and a Python whose torch can use it (PYTHON=... selects one).
#
#     bash scripts/bench_gpu.sh                 # NVIDIA: wgpu and cuda
#     DEVICES=wgpu bash scripts/bench_gpu.sh    # any other GPU
#
# Without a GPU, to test the script (slow, and the figures say nothing about a GPU):
#
#     DEVICES=wgpu TORCH_DEVICE=cpu BATCHES=32 STEPS=5 COMPILED= MORE=--allow-software \
#         bash scripts/bench_gpu.sh
set -euo pipefail
cd "$(dirname "$0")/.."

devices=${DEVICES:-wgpu,cuda}
features=$(tr ',' '\n' <<<"$devices" | cut -d: -f1 | sed '/^cpu$/d' | sort -u | paste -sd,)
binary=${BINARY:-}
if [ -z "$binary" ]; then
    cargo build --release --workspace ${features:+--features "$features"}
    binary=target/release/hvae
fi
"$binary" devices
# shellcheck disable=SC2086 # MORE and COMPILED are split into words
"${PYTHON:-python3}" scripts/bench_step.py --binary "$binary" --devices "$devices" \
    --torch-device "${TORCH_DEVICE:-cuda}" --batches "${BATCHES:-128,1024,8192}" \
    --steps "${STEPS:-100}" --models "${MODELS:-h-vae,f-vae}" --seconds "${SECONDS_EACH:-5}" \
    --threads "$(nproc)" ${COMPILED---compiled} ${MORE:-}
