#!/usr/bin/env python3
"""Trains even-odd networks of 3, 5 or 7 layers with the program of arXiv 2311.15673, on MNIST instead of EMNIST.

    git clone https://github.com/cgoemaere/hopdeq          # its madam.py is CC BY-NC-SA
    pip install torch numpy
    python3 scripts/run_published.py hopdeq --form ham --data datasets/mnist [--layers 3] [--seed 1] [--epochs 10]

After every epoch it prints the training loss, the accuracy on training and test images, and the
iterations to a relative residual of 1e-4 on the first 512 test images, which `docs/convergence.md`
compares with `hvae converge`. Network, solver, gradient, optimizer and their settings are the
published ones; only the training loop is in this file.

`--outputs last` reads the last 10 columns of the state, as the published LitEvenOddDEQ does. Its state
of a CHN is [even layers, odd layers], so these are hidden units. `--outputs classes` reads the layer
of 10.
"""

import argparse
import gzip
import sys
import time
from pathlib import Path

import numpy as np
import torch

# Widths and learning rate by number of layers.
NETWORKS = {
    3: ([784, 1990, 10], 0.01),
    5: ([784, 1280, 510, 200, 10], 0.005),
    7: ([784, 1024, 512, 256, 128, 70, 10], 0.005),
}
PIXELS = 784
CLASSES = 10
BATCH = 64


def idx(folder, name, header):
    """The bytes of an IDX file, gzipped or not."""
    path = Path(folder) / name
    packed = path.with_name(name + ".gz")
    data = gzip.open(packed).read() if packed.exists() else path.read_bytes()
    return np.frombuffer(data[header:], np.uint8)


def split(folder, name):
    """Images in [0, 1] and labels."""
    images = idx(folder, f"{name}-images-idx3-ubyte", 16).reshape(-1, PIXELS)
    labels = idx(folder, f"{name}-labels-idx1-ubyte", 8)
    return torch.from_numpy(images.astype(np.float32) / 255), torch.from_numpy(labels.astype(np.int64))


def iterations(function, start, images, steps):
    """Mean index of the first residual below 1e-4, counted as the published callback does."""
    drive, state, states = function.preprocess_inputs(images), start, []
    for _ in range(steps):
        state = function(drive, state)
        states.append(state)
    states = torch.stack(states)
    residuals = states.diff(dim=0).norm(dim=-1) / states[1:].norm(dim=-1)
    first = torch.argmax((residuals < 1e-4).float(), dim=0)
    first[first == 0] = residuals.size(0)
    return first.float().mean().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="folder of the clone")
    parser.add_argument("--form", choices=["ham", "chn"], default="ham")
    parser.add_argument("--layers", type=int, choices=sorted(NETWORKS), default=3)
    parser.add_argument("--outputs", choices=["last", "classes"], default="last")
    parser.add_argument("--data", default="datasets/mnist", help="folder of MNIST's IDX files")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    sys.path.insert(0, str(Path(args.program) / "hopdeq"))
    try:
        from deq_core.deq import DEQ
        from deq_modules.even_odd.evenoddfunction import EvenOddFunction
        from madam import Madam
    except ImportError as error:
        sys.exit(f"{args.program} is not a clone of cgoemaere/hopdeq: {error}")

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    images, labels = split(args.data, "train")
    test_images, test_labels = split(args.data, "t10k")
    targets = torch.nn.functional.one_hot(labels, CLASSES).float()

    ham = args.form == "ham"
    layers, rate = NETWORKS[args.layers]
    even = sum(layers[2::2])
    limit = 40 * (args.layers // 2)
    function = EvenOddFunction(layers, ham)
    start = torch.zeros(BATCH, even if ham else sum(layers[1:]))
    forward = {"solver": "picard", "iter": limit}
    backward = {"solver": "picard", "iter": 8 * (args.layers // 2), "method": "backprop"}
    network = DEQ(function, start, lambda *_, **__: None, forward, backward, 0.0)
    optimizer = Madam(function.parameters(), lr=rate, p_scale=1024.0, g_bound=3.0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=9)
    columns = slice(-CLASSES, None) if args.outputs == "last" else slice(even - CLASSES, even)
    for epoch in range(args.epochs):
        begun, order, loss_sum, right = time.time(), torch.randperm(len(images)), 0.0, 0
        steps = len(images) // BATCH
        for step in range(steps):
            rows = order[step * BATCH:(step + 1) * BATCH]
            pixels = images[rows].requires_grad_(True)
            outputs = network(pixels)[:, columns]
            loss = 0.5 * ((outputs - targets[rows]) ** 2).sum() / BATCH
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.item()
            right += (outputs.argmax(1) == labels[rows]).sum().item()
        schedule.step()
        with torch.no_grad():
            count = len(test_images) // BATCH
            batches = [slice(i * BATCH, (i + 1) * BATCH) for i in range(count)]
            test = [(network(test_images[b])[:, columns].argmax(1) == test_labels[b]).float().mean().item() for b in batches]
            counts = [iterations(function, start, test_images[b], limit) for b in batches[:8]]
        print(f"epoch {epoch + 1}: loss {loss_sum / steps:.4f}, {100 * right / steps / BATCH:.2f} % right, "
              f"{100 * np.mean(test):.2f} % of the test images, {np.mean(counts):.1f} iterations, "
              f"{time.time() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
