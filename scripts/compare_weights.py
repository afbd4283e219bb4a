#!/usr/bin/env python3
"""Trains every kind of model for ten steps with two builds of hvae and compares the weights' bytes.

    python3 scripts/compare_weights.py BASELINE NEW [--threads 1] [--data-dir DIR]

BASELINE and NEW are paths of the program. Each kind is trained with both likelihoods, resumed for
another ten steps, and exported both times. Tensors are compared by shape and bytes, not by name. Bits
depend on the processor, so both programs must run on one machine.
"""

import argparse
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

KINDS = ["f-vae", "h-vae", "th-vae", "dh-vae", "tdh-vae"]
BINARY = ["--set", "model.likelihood=bernoulli", "--set", "data.binarise=true"]


def tensors(path):
    """Shape and SHA-256 of every tensor of a safetensors file, sorted."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    header.pop("__metadata__", None)
    return sorted(
        (entry["shape"], hashlib.sha256(body[slice(*entry["data_offsets"])]).hexdigest())
        for entry in header.values()
    )


def run(program, *arguments):
    subprocess.run([program, "--quiet", *arguments], check=True, stdout=subprocess.DEVNULL)


def trained(program, folder, kind, options, common):
    """The tensors after ten steps, and after a resume for ten more."""
    found = []
    for epochs in ["1", "2"]:
        if epochs == "1":
            start = ["--model", kind, "--runs", str(folder), "--name", "run", *options]
        else:
            start = ["--resume", str(folder / "run")]
        run(program, "train", *start, "--epochs", epochs, *common)
        out = folder / f"{epochs}.safetensors"
        run(program, "export", str(folder / "run"), "--out", str(out))
        found.append(tensors(out))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("baseline")
    parser.add_argument("new")
    parser.add_argument("--threads", default="1")
    parser.add_argument("--data-dir")
    args = parser.parse_args()
    common = ["--threads", args.threads]
    data = ["--train-images", "1280", "--test-images", "100"]
    if args.data_dir:
        common += ["--data-dir", args.data_dir]
    else:
        data += ["--dataset", "synthetic"]
    different = 0
    for kind in KINDS:
        for name, options in [("gaussian", data), ("bernoulli", data + BINARY)]:
            with tempfile.TemporaryDirectory() as folder:
                folders = [pathlib.Path(folder) / side for side in ["baseline", "new"]]
                sides = [
                    trained(program, side, kind, options, common)
                    for program, side in zip([args.baseline, args.new], folders)
                ]
            for when, a, b in zip(["10 steps", "10 more after a resume"], *sides):
                same = "equal" if a == b else "DIFFERENT"
                different += a != b
                print(f"{kind:8} {name:9} {when:23} {len(a)} tensors: {same}", flush=True)
    sys.exit(f"{different} of the comparisons differ" if different else None)


if __name__ == "__main__":
    main()
