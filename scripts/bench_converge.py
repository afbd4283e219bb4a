#!/usr/bin/env python3
"""Times `hvae` against the same computation in PyTorch (eager) on the same weights, in one run.

    pip install torch numpy            # any CPU build
    cargo build --release
    target/release/hvae converge --networks 3,7 --out converge     # trains, once
    python3 scripts/bench_converge.py --out converge --networks 3,7 [--threads 2] [--rounds 5]

Both sides use the same pixels (the first 64 and the first 1024 test images) and the same weights
(safetensors files of `hvae converge`), and iterate from zero to a relative residual of 1e-4 in
every sample. A round times `hvae converge --time` and then PyTorch, so that changes of the
machine's speed affect both; medians over the rounds are printed. Both check residuals equally
often. PyTorch stops when all samples are below the tolerance; `hvae` removes each sample when it
converges. The last column is the largest difference between the outputs of the two.

`--fixture PATH` instead writes the small fixture of the parity test: weights and pixels by formula,
equilibria by this script in double precision.
"""

import argparse
import json
import os
import statistics
import struct
import subprocess
import sys
import time

import numpy as np
import torch

TOLERANCE = 1e-4
ROWS = {"HAM": ("ham", False, False), "HAM-DEQ": ("ham", False, True),
        "HAM-EO": ("ham", True, False), "HAM-EO-DEQ": ("ham", True, True),
        "CHN": ("chn", False, False), "CHN-DEQ": ("chn", False, True), "CHN-EO": ("chn", True, False)}


def safetensors(path):
    """The tensors of a safetensors file by name."""
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
        body = file.read()
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            values = np.frombuffer(body[begin:end], dtype="<f4").reshape(entry["shape"])
            tensors[name] = torch.from_numpy(values.copy())
    return tensors


def rho(s):
    return torch.sigmoid(4 * s - 2)


class Network:
    """A layered CHN or HAM; layers are numbered from 0, without the pixels."""

    def __init__(self, tensors, form):
        self.depth = sum(name.startswith("weights.") for name in tensors)
        self.w = [tensors[f"weights.{k}"] for k in range(self.depth)]
        self.b = [tensors[f"biases.{k}"] for k in range(self.depth)]
        self.form = form

    def hold(self, pixels):
        self.drive = [rho(pixels) @ self.w[0] + self.b[0], *self.b[1:]]
        return self

    def input(self, k, r):
        a = self.drive[k]
        if k > 0:
            a = a + r[k - 1] @ self.w[k]
        if k + 1 < self.depth:
            a = a + r[k + 1] @ self.w[k + 1].T
        return a

    def synchronous(self, s):
        r = [rho(t) for t in s]
        new = [self.input(k, r) for k in range(self.depth)]
        if self.form == "chn":
            new = [0.5 * t + 0.5 * 4 * q * (1 - q) * a for t, q, a in zip(s, r, new)]
        return new

    def even_odd(self, s):
        """For a HAM `s` holds the even layers only."""
        if self.form == "ham":
            r = [None] * self.depth
            r[1::2] = [rho(t) for t in s]
            for k in range(0, self.depth, 2):
                r[k] = rho(self.input(k, r))
            return [self.input(k, r) for k in range(1, self.depth, 2)]
        s = list(s)
        for first in (0, 1):
            r = [rho(t) for t in s]
            for k in range(first, self.depth, 2):
                a = self.input(k, r)
                for _ in range(10):
                    q = rho(s[k])
                    s[k] = 0.5 * s[k] + 0.5 * 4 * q * (1 - q) * a
        return s

    def start(self, even_odd):
        reduced = even_odd and self.form == "ham"
        like = self.drive[0]
        return [like.new_zeros(like.shape[0], b.shape[0]) for b in self.b[1 if reduced else 0::2 if reduced else 1]]

    def outputs(self, s):
        return s[-1]


def residual(old, new):
    difference = sum((n - o).square().sum(1) for o, n in zip(old, new))
    return (difference / sum(n.square().sum(1) for n in new)).sqrt()


def picard(f, s, limit, tolerance, check_every):
    for step in range(1, limit + 1):
        new = f(s)
        done = step % check_every == 0 and residual(s, new).max().item() < tolerance
        s = new
        if done:
            break
    return s, step


def anderson(f, s, limit, tolerance, check_every, memory=4, ridge=1e-10):
    """Over the last states and images; accelerated only where that point is closer to the image."""
    sizes = [t.shape[1] for t in s]
    flat = torch.cat(s, 1)
    states, images = [], []
    for step in range(1, limit + 1):
        image = torch.cat(f(list(flat.split(sizes, 1))), 1)
        error = (image - flat).norm(dim=1)
        if step % check_every == 0 and (error / image.norm(dim=1)).max().item() < tolerance:
            return list(image.split(sizes, 1)), step
        states, images = (states + [flat])[-memory:], (images + [image])[-memory:]
        following = image
        if len(images) > 1:
            g = torch.stack(images, 2)
            residuals = g - torch.stack(states, 2)
            gram = residuals.transpose(1, 2) @ residuals
            gram.diagonal(dim1=1, dim2=2).add_(ridge)
            alpha = torch.linalg.solve(gram, gram.new_ones(gram.shape[0], gram.shape[1], 1))
            point = (g @ (alpha / alpha.sum(1, keepdim=True))).squeeze(2)
            nearer = (image - point).norm(dim=1) * flat.norm(dim=1) < error * point.norm(dim=1)
            following = torch.where(nearer.unsqueeze(1), point, image)
        flat = following
    return list(image.split(sizes, 1)), limit


def solve(network, pixels, row, limit, tolerance=TOLERANCE, check_every=1):
    _, even_odd, accelerated = ROWS[row]
    network.hold(pixels)
    f = network.even_odd if even_odd else network.synchronous
    method = anderson if accelerated else picard
    s, steps = method(f, network.start(even_odd), limit, tolerance, check_every)
    return network.outputs(s), steps


def hvae(arguments, network):
    command = [arguments.binary, "converge", "--quiet", "--time", "1", "--networks", str(network),
               "--out", arguments.out, "--threads", str(arguments.threads), *arguments.rest]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    folder = os.path.join(arguments.out, "timing")
    with open(os.path.join(folder, f"{network}.json")) as file:
        return json.load(file), np.load(os.path.join(folder, f"{network}.npz"))


def benchmark(arguments, layers):
    networks, ours, theirs, steps, off = {}, {}, {}, {}, {}
    for _ in range(arguments.rounds):
        timing, arrays = hvae(arguments, layers)
        pixels = torch.from_numpy(arrays["images"])
        for entry in timing:
            row, batch = entry["row"], entry["batch"]
            if row not in ROWS:
                continue
            if entry["weights"] not in networks:
                networks[entry["weights"]] = Network(safetensors(entry["weights"]), ROWS[row][0])
            network = networks[entry["weights"]]
            key = (row, batch)
            with torch.inference_mode():
                began = time.perf_counter()
                outputs, taken = solve(network, pixels[:batch], row, entry["limit"], check_every=entry["check_every"])
                theirs.setdefault(key, []).append(time.perf_counter() - began)
            ours.setdefault(key, []).append(entry["seconds"])
            steps[key] = (entry["iterations"], entry["mean_iterations"], taken, entry["products"])
            found = torch.from_numpy(arrays[f"{row}.{batch}"])
            off[key] = (found - outputs).abs().max().item()
    print(f"\n{layers} layers        batch    hvae      PyTorch   ratio   per sample  steps (mean)  PyTorch  products  outputs differ")
    for key in ours:
        a, b = statistics.median(ours[key]), statistics.median(theirs[key])
        most, mean, taken, products = steps[key]
        print(f"{key[0]:<14} {key[1]:>7} {1e3 * a:>8.2f} ms {1e3 * b:>8.2f} ms {b / a:>6.2f}x {1e6 * a / key[1]:>9.1f} us"
              f" {most:>5} ({mean:.1f}) {taken:>8} {100 * products:>8.0f}% {off[key]:>12.1e}")
    return [b for b in (statistics.median(theirs[k]) / statistics.median(ours[k]) for k in ours)]


def fixture(path):
    """Weights and pixels by formula; equilibria in double precision, and the formula's check sum."""
    torch.set_default_dtype(torch.float64)
    result = {"comment": "scripts/bench_converge.py --fixture; weights[k][i][j] = scale sin(1 + 0.7 (i n + j) + k),"
                         " biases[k][j] = 0.1 cos(j + 2 k), pixels[i][j] = (1 + sin(i + 0.37 j)) / 2", "cases": []}
    for sizes, scale in ([[12, 20, 5], 0.3], [[12, 16, 12, 8, 5], 0.3]):
        tensors = {}
        for k, (n, m) in enumerate(zip(sizes, sizes[1:])):
            at = torch.arange(n * m, dtype=torch.float64).reshape(n, m)
            tensors[f"weights.{k}"] = scale * torch.sin(1 + 0.7 * at + k)
            tensors[f"biases.{k}"] = 0.1 * torch.cos(torch.arange(m, dtype=torch.float64) + 2 * k)
        rows = torch.arange(6, dtype=torch.float64).unsqueeze(1)
        pixels = (1 + torch.sin(rows + 0.37 * torch.arange(sizes[0], dtype=torch.float64))) / 2
        for row in ("HAM", "HAM-EO", "CHN", "CHN-EO"):
            network = Network(tensors, ROWS[row][0])
            outputs, steps = solve(network, pixels, row, 20_000, 1e-13)
            assert steps < 20_000, (row, sizes)
            result["cases"].append({"row": row, "sizes": sizes, "scale": scale,
                                    "outputs": [[round(v, 9) for v in line] for line in outputs.tolist()]})
    with open(path, "w") as file:
        file.write(json.dumps(result).replace('{"row"', '\n{"row"') + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/hvae")
    parser.add_argument("--out", default="converge", help="folder of `hvae converge`")
    parser.add_argument("--networks", default="3,5,7")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fixture", help="write the parity fixture to this file instead")
    parser.add_argument("rest", nargs="*", help="further options of `hvae converge`, after --")
    arguments = parser.parse_args()
    if arguments.fixture:
        return fixture(arguments.fixture)
    if not os.path.exists(arguments.binary):
        sys.exit(f"{arguments.binary} is missing; run cargo build --release")
    torch.set_num_threads(arguments.threads)
    print(f"PyTorch {torch.__version__}, {arguments.threads} threads, median of {arguments.rounds} rounds, to {TOLERANCE:g}")
    ratios = [r for n in arguments.networks.split(",") for r in benchmark(arguments, int(n))]
    print(f"\nPyTorch takes {min(ratios):.2f} to {max(ratios):.2f} times as long as hvae")
    return 0


if __name__ == "__main__":
    sys.exit(main())
