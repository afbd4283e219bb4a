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
import subprocess
import sys
import time

import numpy as np
import torch

from load_in_pytorch import read_safetensors

TOLERANCE = 1e-4


def rho(s):
    return torch.sigmoid(4 * s - 2)


class Network:
    """A layered CHN or HAM; layers are numbered from 0, without the pixels."""

    def __init__(self, tensors, row):
        self.depth = sum(name.startswith("weights.") for name in tensors)
        dtype = torch.get_default_dtype()
        self.w = [tensors[f"weights.{k}"].to(dtype) for k in range(self.depth)]
        self.b = [tensors[f"biases.{k}"].to(dtype) for k in range(self.depth)]
        self.form = row[:3].lower()

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
        layers = self.b[1::2] if even_odd and self.form == "ham" else self.b
        return [self.drive[0].new_zeros(len(self.drive[0]), len(b)) for b in layers]


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
    """For a row such as HAM-EO-DEQ: a HAM, even-odd, accelerated."""
    even_odd = "-EO" in row
    network.hold(pixels)
    f = network.even_odd if even_odd else network.synchronous
    method = anderson if "-DEQ" in row else picard
    s, steps = method(f, network.start(even_odd), limit, tolerance, check_every)
    return s[-1], steps


def hvae(arguments, network):
    command = [arguments.binary, "converge", "--quiet", "--time", "1", "--networks", network,
               "--out", arguments.out, "--threads", str(arguments.threads), *arguments.rest]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    stem = os.path.join(arguments.out, "timing", network)
    with open(f"{stem}.json") as file:
        return json.load(file), np.load(f"{stem}.npz")


def benchmark(arguments, layers):
    networks, ours, theirs, steps, off = {}, {}, {}, {}, {}
    for _ in range(arguments.rounds):
        timing, arrays = hvae(arguments, layers)
        pixels = torch.from_numpy(arrays["images"])
        for entry in timing:
            row, batch = entry["row"], entry["batch"]
            path = entry["weights"]
            if path not in networks:
                networks[path] = Network(read_safetensors(path)[0], row)
            key = (row, batch)
            with torch.inference_mode():
                began = time.perf_counter()
                outputs, taken = solve(networks[path], pixels[:batch], row, entry["limit"],
                                       check_every=entry["check_every"])
                theirs.setdefault(key, []).append(time.perf_counter() - began)
            ours.setdefault(key, []).append(entry["seconds"])
            steps[key] = (entry["iterations"], entry["mean_iterations"], taken, entry["products"])
            found = torch.from_numpy(arrays[f"{row}.{batch}"])
            off[key] = (found - outputs).abs().max().item()
    print(f"\n{layers} layers        batch    hvae      PyTorch   ratio   per sample  steps (mean)"
          "  PyTorch  products  outputs differ")
    ratios = []
    for row, batch in ours:
        a, b = (statistics.median(side[row, batch]) for side in (ours, theirs))
        most, mean, taken, products = steps[row, batch]
        ratios.append(b / a)
        print(f"{row:<14} {batch:>7} {1e3 * a:>8.2f} ms {1e3 * b:>8.2f} ms {b / a:>6.2f}x"
              f" {1e6 * a / batch:>9.1f} us {most:>5} ({mean:.1f}) {taken:>8}"
              f" {100 * products:>8.0f}% {off[row, batch]:>12.1e}")
    return ratios


def fixture(path):
    """Weights and pixels by formula; equilibria in double precision."""
    torch.set_default_dtype(torch.float64)
    result = {"comment": "scripts/bench_converge.py --fixture; "
                         "weights[k][i][j] = scale sin(1 + 0.7 (i n + j) + k), "
                         "biases[k][j] = 0.1 cos(j + 2 k), "
                         "pixels[i][j] = (1 + sin(i + 0.37 j)) / 2", "cases": []}
    for sizes, scale in ([[12, 20, 5], 0.3], [[12, 16, 12, 8, 5], 0.3]):
        tensors = {}
        for k, (n, m) in enumerate(zip(sizes, sizes[1:])):
            at = torch.arange(n * m).double().reshape(n, m)
            tensors[f"weights.{k}"] = scale * torch.sin(1 + 0.7 * at + k)
            tensors[f"biases.{k}"] = 0.1 * torch.cos(torch.arange(m).double() + 2 * k)
        rows = torch.arange(6).double().unsqueeze(1)
        pixels = (1 + torch.sin(rows + 0.37 * torch.arange(sizes[0]))) / 2
        for row in ("HAM", "HAM-EO", "CHN", "CHN-EO"):
            network = Network(tensors, row)
            outputs, steps = solve(network, pixels, row, 20_000, 1e-13)
            assert steps < 20_000, (row, sizes)
            outputs = [[round(v, 9) for v in line] for line in outputs.tolist()]
            result["cases"].append(
                {"row": row, "sizes": sizes, "scale": scale, "outputs": outputs})
    with open(path, "w") as file:
        file.write(json.dumps(result).replace('{"row"', '\n{"row"') + "\n")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
    print(f"PyTorch {torch.__version__}, {arguments.threads} threads, "
          f"median of {arguments.rounds} rounds, to {TOLERANCE:g}")
    ratios = [r for n in arguments.networks.split(",") for r in benchmark(arguments, n)]
    print(f"\nPyTorch takes {min(ratios):.2f} to {max(ratios):.2f} times as long as hvae")


if __name__ == "__main__":
    main()
