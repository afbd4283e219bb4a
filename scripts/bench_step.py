#!/usr/bin/env python3
"""Times a training step of `hvae` against the same mathematics in PyTorch (eager), in one run.

    pip install torch numpy            # any CPU build
    cargo build --release
    python3 scripts/bench_step.py [--threads 2] [--images 12800] [--rounds 3]

`hvae` trains a new H-VAE on synthetic images for one epoch and reports images per second and the
mean sweeps of its four phases. PyTorch then runs the same step, at the same sizes, with these
sweeps (rounded up: a batch cannot run half a sweep), the phases at +beta and -beta as one batch,
and Adam. Both alternate, so that a change of the machine's speed hits both. Printed last: the
ratio, and a step of a feed-forward VAE of the same sizes by backpropagation.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time

import torch

PIXELS, HIDDEN, LATENT, BATCH = 784, 512, 16, 128
GAIN_Z, GAIN_X, PRECISION, NUDGE = 30.0, 30.0, 10.0, 0.02


def hvae_epoch(binary, images, threads):
    """Images per second and sweeps per phase of one epoch."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [binary, "train", "--quiet", "--dataset", "synthetic", "--train-images", str(images),
             "--test-images", "100", "--epochs", "1", "--runs", folder, "--name", "bench",
             "--threads", str(threads)],
            check=True, stdout=subprocess.DEVNULL)
        with open(os.path.join(folder, "bench", "metrics.jsonl")) as file:
            metrics = json.loads(file.readline())
    return metrics["images_per_second"], {k: v["sweeps"] for k, v in metrics["phases"].items()}


class HopfieldVae:
    """The H-VAE by equilibrium propagation; no autograd."""

    def __init__(self, sweeps):
        def uniform(rows, columns, square, gain):
            bound = math.sqrt(square / rows) / gain
            return torch.empty(rows, columns).uniform_(-bound, bound)

        self.parameters = {
            "e_w": uniform(PIXELS, HIDDEN, 6, 1), "e_b": torch.zeros(HIDDEN),
            "e_mean": uniform(HIDDEN, LATENT, 1, GAIN_Z), "e_mean_b": torch.zeros(LATENT),
            "e_var": uniform(HIDDEN, LATENT, 1, GAIN_Z), "e_var_b": torch.full((LATENT,), -2 / GAIN_Z),
            "d_z": uniform(LATENT, HIDDEN, 6, 1), "d_b": torch.zeros(HIDDEN),
            "d_x": uniform(HIDDEN, PIXELS, 1, GAIN_X), "d_x_b": torch.zeros(PIXELS),
        }
        for p in self.parameters.values():
            p.requires_grad_(False)
        self.optimizer = torch.optim.Adam(list(self.parameters.values()), lr=1e-3)
        self.sweeps = {k: max(1, math.ceil(v)) for k, v in sweeps.items()}

    def encoder(self, drive, mean, var, mean_drive, var_drive, sweeps):
        p = self.parameters
        for _ in range(sweeps):
            h = torch.relu(drive + mean @ p["e_mean"].T + var @ p["e_var"].T)
            mean = GAIN_Z * (h @ p["e_mean"] + mean_drive)
            var = GAIN_Z * (h @ p["e_var"] + var_drive)
        return h, mean, var

    def decoder(self, drive, h, x_drive, sweeps):
        p = self.parameters
        for _ in range(sweeps):
            x = torch.sigmoid(GAIN_X * (h @ p["d_x"] + x_drive))
            h = torch.relu(drive + x @ p["d_x"].T)
        return h, x

    @torch.no_grad()
    def step(self, images):
        p, rows = self.parameters, images.shape[0]
        drive = images @ p["e_w"] + p["e_b"]
        start = torch.zeros(rows, LATENT)
        h, mean, var = self.encoder(
            drive, start, start, p["e_mean_b"], p["e_var_b"], self.sweeps["encoder_free"])
        noise, sigma = torch.randn(rows, LATENT), (var / 2).exp()
        z = mean + sigma * noise
        z_drive = z @ p["d_z"] + p["d_b"]
        g, x = self.decoder(z_drive, torch.relu(z_drive), p["d_x_b"], self.sweeps["decoder_free"])

        force = PRECISION * (x - images)
        beta = NUDGE / (GAIN_X * force.pow(2).mean().sqrt().item())
        both = torch.cat([p["d_x_b"] - beta * force, p["d_x_b"] + beta * force])
        g2, x2 = self.decoder(
            torch.cat([z_drive, z_drive]), torch.cat([g, g]), both, self.sweeps["decoder_nudged"])
        scale = -1 / (2 * beta * rows)
        dg, sg = g2[:rows] - g2[rows:], g2[:rows] + g2[rows:]
        dx, sx = x2[:rows] - x2[rows:], x2[:rows] + x2[rows:]
        grads = {
            "d_x": (dg.T @ sx + sg.T @ dx) * (scale / 2), "d_x_b": dx.sum(0) * scale,
            "d_z": z.T @ dg * scale, "d_b": dg.sum(0) * scale,
        }
        dz = dg @ p["d_z"].T * (-1 / (2 * beta))
        f_mean, f_var = dz + mean, 0.5 * (dz * noise * sigma + sigma * sigma - 1)

        size = torch.cat([f_mean, f_var]).pow(2).mean().sqrt().item()
        beta = NUDGE / (GAIN_Z * size)
        h2, mean2, var2 = self.encoder(
            torch.cat([drive, drive]), torch.cat([mean, mean]), torch.cat([var, var]),
            torch.cat([p["e_mean_b"] - beta * f_mean, p["e_mean_b"] + beta * f_mean]),
            torch.cat([p["e_var_b"] - beta * f_var, p["e_var_b"] + beta * f_var]),
            self.sweeps["encoder_nudged"])
        scale = -1 / (2 * beta * rows)
        dh, sh = h2[:rows] - h2[rows:], h2[:rows] + h2[rows:]
        grads |= {"e_w": images.T @ dh * scale, "e_b": dh.sum(0) * scale}
        for name, state in (("e_mean", mean2), ("e_var", var2)):
            ds, ss = state[:rows] - state[rows:], state[:rows] + state[rows:]
            grads[name] = (dh.T @ ss + sh.T @ ds) * (scale / 2)
            grads[name + "_b"] = ds.sum(0) * scale
        for name, p in self.parameters.items():
            p.grad = grads[name]
        self.optimizer.step()


class FeedForwardVae(torch.nn.Module):
    """The same sizes, feed-forward, by backpropagation."""

    def __init__(self):
        super().__init__()
        self.encode = torch.nn.Linear(PIXELS, HIDDEN)
        self.outputs = torch.nn.Linear(HIDDEN, 2 * LATENT)
        self.decode = torch.nn.Sequential(
            torch.nn.Linear(LATENT, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, PIXELS),
            torch.nn.Sigmoid())
        self.optimizer = torch.optim.Adam(self.parameters(), lr=1e-3)

    def step(self, images):
        mean, var = self.outputs(torch.relu(self.encode(images))).chunk(2, dim=1)
        z = mean + (var / 2).exp() * torch.randn_like(mean)
        cost = PRECISION / 2 * (self.decode(z) - images).pow(2).sum()
        cost = cost + 0.5 * (mean.pow(2) + var.exp() - var - 1).sum()
        self.optimizer.zero_grad()
        (cost / images.shape[0]).backward()
        self.optimizer.step()


def images_per_second(model, seconds):
    images = torch.rand(BATCH, PIXELS)
    for _ in range(3):
        model.step(images)
    started, steps = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        model.step(images)
        steps += 1
    return steps * BATCH / (time.perf_counter() - started)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/hvae")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, default=10000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    arguments = parser.parse_args()
    if not os.path.exists(arguments.binary):
        sys.exit(f"{arguments.binary} is missing; run cargo build --release")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    print(f"torch {torch.__version__}, {arguments.threads} threads, batch {BATCH}")
    rows = []
    for _ in range(arguments.rounds):
        ours, sweeps = hvae_epoch(arguments.binary, arguments.images, arguments.threads)
        theirs = images_per_second(HopfieldVae(sweeps), arguments.seconds)
        backprop = images_per_second(FeedForwardVae(), arguments.seconds)
        rows.append((ours, theirs, backprop))
        print(f"hvae {ours:.0f}  PyTorch EP {theirs:.0f}  PyTorch backpropagation {backprop:.0f} images/s"
              f"   (sweeps {', '.join(f'{k} {v:.1f}' for k, v in sweeps.items())})")
    ours, theirs, backprop = (sorted(column)[len(rows) // 2] for column in zip(*rows))
    print(f"median: hvae / PyTorch EP {ours / theirs:.2f}   "
          f"PyTorch backpropagation / hvae {backprop / ours:.2f}")


if __name__ == "__main__":
    main()
