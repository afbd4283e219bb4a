#!/usr/bin/env python3
"""Trains every kind of model for ten steps with two builds of hvae and compares the weights' bytes.

    python3 scripts/compare_weights.py BASELINE NEW [--threads 1] [--data-dir DIR]

BASELINE and NEW are paths of the program. Each kind is trained with both likelihoods, resumed for
another ten steps, and exported both times. Tensors are compared by shape and bytes, not by name.
Bits depend on the processor, so both programs must run on one machine.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

KINDS = ["f-vae", "h-vae", "th-vae", "dh-vae", "tdh-vae"]
BINARY = ["--set", "model.likelihood=bernoulli", "--set", "data.binarise=true"]


def tensors(path):
    """Shape and bytes of every tensor of a safetensors file, sorted."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8:8 + length]), data[8 + length:]
    header.pop("__metadata__", None)
    return sorted((t["shape"], body[slice(*t["data_offsets"])]) for t in header.values())


def trained(program, kind, options, common):
    """The tensors after ten steps, and after a resume for ten more."""
    def run(*arguments):
        subprocess.run([program, "--quiet", *arguments], check=True, stdout=subprocess.DEVNULL)

    found = []
    with tempfile.TemporaryDirectory() as folder:
        new = ["--model", kind, "--runs", folder, "--name", "run", *options]
        out = pathlib.Path(folder) / "model.safetensors"
        for epochs, start in [("1", new), ("2", ["--resume", f"{folder}/run"])]:
            run("train", *start, "--epochs", epochs, *common)
            run("export", f"{folder}/run", "--out", str(out))
            found.append(tensors(out))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("baseline")
    parser.add_argument("new")
    parser.add_argument("--threads", default="1")
    parser.add_argument("--data-dir")
    args = parser.parse_args()
    folder = ["--data-dir", args.data_dir] if args.data_dir else []
    common = ["--threads", args.threads, *folder]
    data = ["--train-images", "1280", "--test-images", "100"]
    data += [] if folder else ["--dataset", "synthetic"]
    different = 0
    for kind in KINDS:
        for name, options in [("gaussian", data), ("bernoulli", data + BINARY)]:
            sides = [trained(p, kind, options, common) for p in (args.baseline, args.new)]
            for when, a, b in zip(["10 steps", "10 more after a resume"], *sides):
                different += a != b
                same = "equal" if a == b else "DIFFERENT"
                print(f"{kind:8} {name:9} {when:23} {len(a)} tensors: {same}", flush=True)
    sys.exit(f"{different} of the comparisons differ" if different else None)


if __name__ == "__main__":
    main()
