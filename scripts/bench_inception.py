"""Inception features per second: this program beside pytorch-fid's network in PyTorch eager.

    pip install torch==2.9.0 torchvision==0.24.0 pytorch-fid==0.3.0 numpy
    cargo build --release --workspace --examples
    python3 scripts/bench_inception.py [--threads 2] [--batch 32] [--batches 3] [--rounds 3]

Both take the same grey 28x28 images as bytes to 2048 features, in batches of the same size and with
as many threads, in turn in one run. The weights are drawn by a formula, as in the tests; speed does
not depend on them. A first batch of each is not counted.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import torch

import evaluation_fixtures as fixtures

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "target/release/examples/inception_speed"


def ours(args):
    command = [str(v) for v in (PROGRAM, args.threads, args.batch, args.batches)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def torchs(network, images, args):
    def features():
        batch = torch.from_numpy(images).float().div(255)[:, None].expand(-1, 3, -1, -1)
        with torch.no_grad():
            maps = network(batch)[0]
        return torch.nn.functional.adaptive_avg_pool2d(maps, (1, 1)).numpy()

    features()
    start = time.perf_counter()
    for _ in range(args.batches):
        features()
    return args.batch * args.batches / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--batches", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if not PROGRAM.exists():
        sys.exit(f"{PROGRAM} is missing; run cargo build --release --workspace --examples")
    torch.set_num_threads(args.threads)
    state = fixtures.weights()
    fixtures.reference.load_state_dict_from_url = lambda *_, **__: {
        **state,
        **{k.replace("running_var", "num_batches_tracked"): torch.tensor(0) for k in state if k.endswith("running_var")},
    }
    network = fixtures.reference.InceptionV3([3]).eval()
    images = fixtures.image_bytes("digits", args.batch, 28, 28)
    print(f"{args.threads} threads, batch {args.batch}, images per second")
    ratios = []
    for _ in range(args.rounds):
        mine, theirs = ours(args), torchs(network, images, args)
        ratios.append(mine / theirs)
        print(f"hvae {mine:.2f}  PyTorch {torch.__version__} {theirs:.2f}  ratio {ratios[-1]:.2f}", flush=True)
    print(f"median ratio {sorted(ratios)[len(ratios) // 2]:.2f}")


if __name__ == "__main__":
    main()
