#!/usr/bin/env python3
"""Rebuilds encoder and decoder of an exported hvae model of any kind in PyTorch.

    hvae export checkpoints/h-vae-001 --out model.safetensors
    python3 scripts/load_in_pytorch.py model.safetensors

prints the networks. With reconstructions by hvae the two are compared:

    hvae reconstruct checkpoints/h-vae-001 --count 200 --tolerance 1e-7 --out same.npz
    python3 scripts/load_in_pytorch.py model.safetensors --compare same.npz

which fails if a latent or a pixel differs by more than 1e-5 (relatively, for latents above 1).

    python3 scripts/load_in_pytorch.py model.safetensors --sample samples.npz

decodes samples of the prior, N(0, I) or learned.
Needs numpy; uses torch if it is installed, unless --numpy is given. As a module: `Vae.load(path)`
has `encode` and `decode`, on float64 tensors.
"""

import argparse
import json
import math
import struct
import sys
import zipfile

import numpy as np

try:
    import torch
except ImportError:
    torch = None

# PyTorch or numpy: the functions used here have the same names in both.
xp = torch or np

ACTIVATIONS = {
    "identity": lambda a: a,
    "relu": lambda a: xp.clip(a, 0, None),
    "hard-sigmoid": lambda a: xp.clip(a, 0, 1),
    "sigmoid": lambda a: 0.5 + 0.5 * xp.tanh(0.5 * a),
    "tanh": lambda a: xp.tanh(a),
}


def tensor(array):
    """A numpy array in double precision, so that equilibria are exact to the precision of hvae."""
    array = np.asarray(array, dtype=np.float64)
    return array if xp is np else torch.from_numpy(array)


def norm(a):
    return float((a * a).sum()) ** 0.5


def read_safetensors(path):
    """The tensors of a safetensors file by name, and its metadata."""
    with open(path, "rb") as file:
        data = file.read()
    if len(data) < 8:
        raise ValueError("shorter than a safetensors file")
    (length,) = struct.unpack("<Q", data[:8])
    if length > len(data) - 8:
        raise ValueError("not a safetensors file, or cut short")
    header, body = json.loads(data[8:8 + length]), data[8 + length:]
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] != "F32":
            raise ValueError(f"{name} is {entry['dtype']}, not F32")
        start, end = entry["data_offsets"]
        tensors[name] = tensor(np.frombuffer(body[start:end], dtype="<f4").reshape(entry["shape"]))
    return tensors, metadata


class Network:
    """Layers with symmetric couplings: s_k = g_k(c_k (b_k + sum_l W_kl s_l + R_k s_k))."""

    def __init__(self, layout, tensors, prefix):
        self.layers = layout["layers"]
        self.couplings = [
            (lower, upper, tensors[f"{prefix}.couplings.{index}.interaction.weight"])
            for index, (lower, upper) in enumerate(layout["couplings"])
        ]
        self.biases = [tensors.get(f"{prefix}.layers.{k}.bias") for k in range(len(self.layers))]

    def field(self, k, states):
        """b_k + sum_l W_kl s_l + R_k s_k over the layers that have a state."""
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

    def relax(self, clamped, value, absent, tolerance=1e-10, sweeps=10_000):
        """The equilibrium with layer `clamped` held at `value`, by sweeps layer after layer."""
        states = [None] * len(self.layers)
        states[clamped] = value
        free = [k for k in range(len(self.layers)) if k != clamped and k not in absent]
        # Couplings within a layer can make plain sweeps oscillate.
        recurrent = {lower for lower, upper, _ in self.couplings if lower == upper}
        # Initial state: every layer as if no other free layer were active.
        start = list(states)
        for k in free:
            states[k] = self.update(k, start) + 0 * value[:, :1]
        for _ in range(sweeps):
            change = 0.0
            for k in free:
                new = self.update(k, states)
                if k in recurrent:
                    new = 0.5 * new + 0.5 * states[k]
                change = max(change, norm(new - states[k]) / max(norm(new), 1e-30))
                states[k] = new
            if change <= tolerance:
                return states
        raise RuntimeError(f"no equilibrium after {sweeps} sweeps: relative change {change:.1e}")

    def forward(self, value):
        """One pass without feedback: each layer from those below it."""
        states = [value] + [None] * (len(self.layers) - 1)
        for k in range(1, len(self.layers)):
            states[k] = self.update(k, states)
        return states


class Vae:
    """A model of any kind: two networks, or one weight-tied network."""

    def __init__(self, tensors, description):
        if "encode" not in description:
            raise SystemExit("the file was written by an older hvae, which did not say how its "
                             "networks are used: export it again")
        self.description, self.tensors = description, tensors
        self.networks = {
            name: Network(layout, tensors, name) for name, layout in description["networks"].items()
        }

    @classmethod
    def load(cls, path):
        tensors, metadata = read_safetensors(path)
        if "hvae" not in metadata:
            raise SystemExit(
                f"{path} has no description under `hvae`: was it written by `hvae export`?")
        return cls(tensors, json.loads(metadata["hvae"]))

    def states(self, use, value):
        """The states of all layers of a network when encoding or decoding."""
        network = self.networks[use["network"]]
        if self.description["feed_forward"]:
            return network.forward(value)
        if "scale" in use:
            value = self.tensors[use["scale"]] * value
        return network.relax(use["input"], use["amplitude"] * value, use["absent"])

    def encode(self, images):
        """Means and log-variances of the images, [batch, pixels] in [0, 1]."""
        use = self.description["encode"]
        states = self.states(use, images)
        mean = states[use["output"]]
        if use["log_variance"] is None:
            return mean, 0 * mean + 2 * float(np.log(self.description["sigma"]))
        return mean, states[use["log_variance"]]

    def decode(self, latents):
        """The images of latents, [batch, latent]."""
        use = self.description["decode"]
        return self.states(use, latents)[use["output"]]


    def sample_latents(self, count, seed=0):
        """Samples of the prior, [count, latent]: N(0, I), or a mixture of N(x_i, I/b)."""
        rng, use = np.random.default_rng(seed), self.description["decode"]
        layer = self.networks[use["network"]].layers[use["input"]]
        noise = rng.standard_normal((count, math.prod(layer["shape"].values())))
        if "prior.patterns" not in self.tensors:
            return tensor(noise)
        names = ("patterns", "biases", "log_beta")
        patterns, biases, log_beta = (np.asarray(self.tensors[f"prior.{n}"]) for n in names)
        beta = math.exp(log_beta.item())
        logits = biases + 0.5 * beta * (patterns**2).sum(1)
        weights = np.exp(logits - logits.max())
        chosen = rng.choice(len(weights), count, p=weights / weights.sum())
        return tensor(patterns[chosen] + noise / math.sqrt(beta))


def compare(model, path):
    """Prints the largest differences from hvae; True if none exceeds 1e-5."""
    arrays = np.load(path)
    count = len(arrays["inputs"])
    inputs, images = (tensor(arrays[name]).reshape(count, -1) for name in ("inputs", "images"))
    means, log_variances = (tensor(arrays[name]) for name in ("means", "log_variances"))
    mean, log_variance = model.encode(inputs)

    def relative(found, expected):
        return float((abs(found - expected) / xp.clip(abs(expected), 1, None)).max())

    found = {
        "means": relative(mean, means),
        "log-variances": relative(log_variance, log_variances),
        "images": relative(xp.clip(model.decode(means), 0, 1), images),
    }
    for name, difference in found.items():
        print(f"{name}: largest difference {difference:.2e} over {count} images")
    return all(difference <= 1e-5 for difference in found.values())


def main():
    global xp
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="output of `hvae export`")
    parser.add_argument("--compare", metavar="NPZ", help="output of `hvae reconstruct --out NPZ`")
    parser.add_argument("--sample", metavar="NPZ", help="output: 100 decoded samples, `images`")
    parser.add_argument("--numpy", action="store_true", help="use numpy even if torch is installed")
    args = parser.parse_args()
    if args.numpy:
        xp = np
    try:
        model = Vae.load(args.model)
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"{args.model} is not what `hvae export` writes: {error!r}")
    for name, network in model.networks.items():
        layers = (f"{l['name']} {math.prod(l['shape'].values())} {l['activation']} x{l['gain']:g}"
                  for l in network.layers)
        print(f"{name}: {', '.join(layers)}")
    if args.sample:
        images = xp.clip(model.decode(model.sample_latents(100)), 0, 1)
        np.savez(args.sample, images=np.asarray(images, dtype=np.float32))
    if not args.compare:
        return
    try:
        same = compare(model, args.compare)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        sys.exit(f"{args.compare} is not what `hvae reconstruct --out FILE.npz` writes of this "
                 f"model: {error!r}")
    if not same:
        sys.exit("the two programs do not agree to 1e-5")


if __name__ == "__main__":
    main()
