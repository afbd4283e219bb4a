#!/usr/bin/env python3
"""Rebuilds encoder and decoder of an exported hvae model in PyTorch.

    hvae export checkpoints/h-vae-001 --out model.safetensors
    python3 scripts/load_in_pytorch.py model.safetensors

prints the networks. With reconstructions of hvae itself the two are compared:

    hvae reconstruct checkpoints/h-vae-001 --count 200 --tolerance 1e-6 --out same.npz
    python3 scripts/load_in_pytorch.py model.safetensors --compare same.npz

which fails if a latent or a pixel differs by more than 1e-5, a latent relatively where it is
larger than 1. Needs torch and numpy. As a module: `Vae.load(path)` has `encode` and `decode`.
"""

import argparse
import json
import struct
import sys

import numpy as np
import torch

GRADIENT_FREE = torch.no_grad()

ACTIVATIONS = {
    "identity": lambda a: a,
    "relu": torch.relu,
    "hard-sigmoid": lambda a: a.clamp(0, 1),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


def read_safetensors(path):
    """The tensors of a safetensors file by name, and its metadata."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        body = file.read()
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] != "F32":
            raise ValueError(f"{name} is {entry['dtype']}, not F32")
        start, end = entry["data_offsets"]
        array = np.frombuffer(body[start:end], dtype="<f4").reshape(entry["shape"])
        tensors[name] = torch.from_numpy(array.copy())
    return tensors, metadata


class Network:
    """Layers with symmetric couplings: s_k = g_k(c_k (b_k + sum_l W_kl s_l))."""

    def __init__(self, layout, tensors, prefix):
        self.layers = layout["layers"]
        self.couplings = [
            (lower, upper, tensors[f"{prefix}.couplings.{index}.weight"])
            for index, (lower, upper) in enumerate(layout["couplings"])
        ]
        self.biases = [tensors.get(f"{prefix}.layers.{k}.bias") for k in range(len(self.layers))]

    def index(self, name):
        """The layer called `name`."""
        return [layer["name"] for layer in self.layers].index(name)

    def field(self, k, states):
        """b_k + sum_l W_kl s_l over the layers that have a state."""
        total = self.biases[k]
        for lower, upper, weight in self.couplings:
            if upper == k and states[lower] is not None:
                term = states[lower] @ weight
            elif lower == k and states[upper] is not None:
                term = states[upper] @ weight.T
            else:
                continue
            total = term if total is None else total + term
        return total

    def update(self, k, states):
        """The state of layer k given the others."""
        layer = self.layers[k]
        return ACTIVATIONS[layer["activation"]](layer["gain"] * self.field(k, states))

    def relax(self, clamped, absent=(), tolerance=1e-7, sweeps=2000, damping=0.0):
        """The equilibrium with the layers of `clamped` (by number) held, by sweeps one by one."""
        states = [clamped.get(k) for k in range(len(self.layers))]
        free = [k for k in range(len(self.layers)) if k not in clamped and k not in absent]
        for k in free:
            states[k] = self.update(k, [clamped.get(l) for l in range(len(self.layers))])
        for _ in range(sweeps):
            change = 0.0
            for k in free:
                new = (1 - damping) * self.update(k, states) + damping * states[k]
                scale = new.norm().clamp_min(1e-30)
                change = max(change, ((new - states[k]).norm() / scale).item())
                states[k] = new
            if change <= tolerance:
                return states
        raise RuntimeError(f"no equilibrium after {sweeps} sweeps: relative change {change:.1e}")

    def forward(self, inputs):
        """One pass without feedback, through the layers in their order."""
        states = [inputs] + [None] * (len(self.layers) - 1)
        for k in range(1, len(self.layers)):
            below = [s if l < k else None for l, s in enumerate(states)]
            # Outputs of the encoder stand side by side: means do not feed log-variances.
            states[k] = self.update(k, below)
        return states


class Vae:
    """An h-vae, dh-vae or f-vae: two networks."""

    def __init__(self, tensors, description):
        networks = description["networks"]
        if "decoder" not in networks:
            raise SystemExit("a tied model has one network for both ways, which this script does not rebuild")
        self.encoder = Network(networks["encoder"], tensors, "encoder")
        self.decoder = Network(networks["decoder"], tensors, "decoder")
        self.description = description
        self.feed_forward = 'kind = "f-vae"' in description["config"]
        dense = any(lower == upper for lower, upper, _ in self.encoder.couplings)
        self.damping = 0.5 if dense else 0.0

    @classmethod
    def load(cls, path):
        tensors, metadata = read_safetensors(path)
        if "hvae" not in metadata:
            raise SystemExit(f"{path} has no description under `hvae`: was it written by `hvae export`?")
        return cls(tensors, json.loads(metadata["hvae"]))

    def states(self, network, inputs):
        if self.feed_forward:
            return network.forward(inputs)
        return network.relax({0: inputs}, damping=self.damping)

    def encode(self, images):
        """Means and log-variances of the images, [batch, pixels] in [0, 1]."""
        with GRADIENT_FREE:
            states = self.states(self.encoder, images)
        names = [layer["name"] for layer in self.encoder.layers]
        log_variance = states[names.index("log_variance")] if "log_variance" in names else None
        return states[names.index("mean")], log_variance

    def decode(self, latents):
        """The images of latents, [batch, latent]."""
        with GRADIENT_FREE:
            return self.states(self.decoder, latents)[self.decoder.index("image")]


def compare(model, path):
    """The largest differences from what hvae computed; True if none exceeds 1e-5."""
    arrays = np.load(path)
    inputs = torch.from_numpy(arrays["inputs"]).flatten(1)
    mean, log_variance = model.encode(inputs)
    means = torch.from_numpy(arrays["means"])
    images = model.decode(means).clamp(0, 1)

    def relative(found, expected):
        return ((found - expected).abs() / expected.abs().clamp_min(1.0)).max().item()

    found = {
        "means": relative(mean, means),
        "images": relative(images, torch.from_numpy(arrays["images"]).flatten(1)),
    }
    if log_variance is not None:
        found["log-variances"] = relative(log_variance, torch.from_numpy(arrays["log_variances"]))
    for name, difference in found.items():
        print(f"{name}: largest difference {difference:.2e} over {len(inputs)} images")
    return all(difference <= 1e-5 for difference in found.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="what `hvae export` wrote")
    parser.add_argument("--compare", metavar="NPZ", help="what `hvae reconstruct --out NPZ` wrote")
    args = parser.parse_args()
    model = Vae.load(args.model)
    for name, network in [("encoder", model.encoder), ("decoder", model.decoder)]:
        layers = ", ".join(f"{l['name']} {l['size']} {l['activation']} x{l['gain']:g}" for l in network.layers)
        print(f"{name}: {layers}")
    if args.compare and not compare(model, args.compare):
        sys.exit("the two programs do not agree to 1e-5")


if __name__ == "__main__":
    main()
