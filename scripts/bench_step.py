#!/usr/bin/env python3
"""Times a training step of `hvae` against the same computation in PyTorch (eager), in one run.

    pip install torch numpy            # any CPU build
    cargo build --release
    python3 scripts/bench_step.py [--threads 1,2] [--images 12800] [--rounds 3] [--compiled]

`hvae` trains a new H-VAE on synthetic images for one epoch and reports images per second and the
mean sweeps of its four phases. PyTorch then runs the same step, at the same sizes, with this number
of sweeps (rounded up), the phases at +beta and -beta as one batch, Adam and averaged weights; with
`--compiled` by `torch.compile`, too. The others of `--models` are timed at their presets, and a step
of a feed-forward VAE of the same sizes by backpropagation in PyTorch. All alternate, so that changes
of the machine's speed affect all. Printed last, for each number of `--threads`: medians and their
ratios; then by how much the largest number of threads is faster than one, the serial share
of a step that this means (Amdahl), and what it would leave of 8 and 16 threads.

On a GPU, NVIDIA's or with `wgpu` alone any other:

    cargo build --release --features wgpu,cuda
    python3 scripts/bench_step.py --devices wgpu,cuda --torch-device cuda --compiled

prints, for each batch size and device, images per second of `hvae` and of PyTorch, eager and
compiled, on the same GPU; the fraction of the GPU's matrix-product rate (measured by PyTorch) that
the products of the step reach; and the difference of the losses from the same run on the CPU.
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
GAIN_Z, GAIN_X, PRECISION, NUDGE, EMA_DECAY = 30.0, 120.0, 10.0, 0.02, 0.999
# Their names in a configuration; they are passed to `hvae`, so that both do the same.
SETTINGS = {
    "model.latent_gain": GAIN_Z, "model.visible_gain": GAIN_X, "model.precision": PRECISION,
    "ep.nudge": NUDGE, "ep.nudging": "centred", "training.ema_decay": EMA_DECAY,
}


def hvae_epoch(binary, images, threads, device="cpu", batch=BATCH, epochs=1, kind="h-vae", more=(),
               settings=SETTINGS):
    """The metrics of the last of `epochs` epochs; the first includes autotuning on a GPU."""
    with tempfile.TemporaryDirectory() as folder:
        same = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        subprocess.run(
            [binary, "train", "--quiet", "--dataset", "synthetic", "--train-images", str(images),
             "--test-images", "100", "--epochs", str(epochs), "--runs", folder, "--name", "bench",
             "--threads", str(threads), "--device", device, "--batch-size", str(batch),
             "--model", kind, *(same if kind in ("h-vae", "f-vae") else []), *more],
            check=True, stdout=subprocess.DEVNULL)
        with open(os.path.join(folder, "bench", "metrics.jsonl")) as file:
            return json.loads(file.readlines()[-1])


class Adam(torch.optim.Adam):
    """With averaged weights: `a <- d a + (1 - d) w` of all parameters at once."""

    def __init__(self, parameters):
        self.weights = list(parameters)
        super().__init__(self.weights, lr=1e-3)
        self.averages = [p.detach().clone() for p in self.weights]

    def step(self):
        super().step()
        torch._foreach_lerp_(self.averages, [p.detach() for p in self.weights], 1 - EMA_DECAY)


def sweeps_of(metrics):
    """Mean sweeps per phase; empty for a model without phases."""
    return {k: v["sweeps"] for k, v in metrics["phases"].items() if v}


class HopfieldVae:
    """The H-VAE by equilibrium propagation; no autograd."""

    def __init__(self, sweeps, device="cpu", compiled=False):
        def uniform(rows, columns, square, gain):
            bound = math.sqrt(square / rows) / gain
            return torch.empty(rows, columns).uniform_(-bound, bound)

        parameters = {
            "e_w": uniform(PIXELS, HIDDEN, 6, 1), "e_b": torch.zeros(HIDDEN),
            "e_mean": uniform(HIDDEN, LATENT, 1, GAIN_Z), "e_mean_b": torch.zeros(LATENT),
            "e_var": uniform(HIDDEN, LATENT, 1, GAIN_Z),
            "e_var_b": torch.full((LATENT,), -2 / GAIN_Z),
            "d_z": uniform(LATENT, HIDDEN, 6, 1), "d_b": torch.zeros(HIDDEN),
            "d_x": uniform(HIDDEN, PIXELS, 1, GAIN_X), "d_x_b": torch.zeros(PIXELS),
        }
        self.parameters = {k: p.to(device) for k, p in parameters.items()}
        self.optimizer = Adam(self.parameters.values())
        self.sweeps = {k: max(1, math.ceil(v)) for k, v in sweeps.items()}
        self.gradients = torch.compile(self.gradients) if compiled else self.gradients

    def encoder(self, p, drive, mean, var, mean_drive, var_drive, sweeps):
        for _ in range(sweeps):
            h = torch.relu(drive + mean @ p["e_mean"].T + var @ p["e_var"].T)
            mean = GAIN_Z * (h @ p["e_mean"] + mean_drive)
            var = GAIN_Z * (h @ p["e_var"] + var_drive)
        return h, mean, var

    def decoder(self, p, drive, h, x_drive, sweeps):
        for _ in range(sweeps):
            x = torch.sigmoid(GAIN_X * (h @ p["d_x"] + x_drive))
            h = torch.relu(drive + x @ p["d_x"].T)
        return h, x

    def gradients(self, p, images, noise):
        """A function of tensors only: nothing is read, so it compiles as one graph."""
        rows = images.shape[0]
        drive = images @ p["e_w"] + p["e_b"]
        start = torch.zeros_like(noise)
        h, mean, var = self.encoder(
            p, drive, start, start, p["e_mean_b"], p["e_var_b"], self.sweeps["encoder_free"])
        sigma = (var / 2).exp()
        z = mean + sigma * noise
        z_drive = z @ p["d_z"] + p["d_b"]
        g, x = self.decoder(
            p, z_drive, torch.relu(z_drive), p["d_x_b"], self.sweeps["decoder_free"])

        force = PRECISION * (x - images)
        beta = NUDGE / (GAIN_X * force.pow(2).mean().sqrt())
        both = torch.cat([p["d_x_b"] - beta * force, p["d_x_b"] + beta * force])
        g2, x2 = self.decoder(p, torch.cat([z_drive, z_drive]), torch.cat([g, g]), both,
                              self.sweeps["decoder_nudged"])
        scale = -1 / (2 * beta * rows)
        dg, sg = g2[:rows] - g2[rows:], g2[:rows] + g2[rows:]
        dx, sx = x2[:rows] - x2[rows:], x2[:rows] + x2[rows:]
        grads = {
            "d_x": (dg.T @ sx + sg.T @ dx) * (scale / 2), "d_x_b": dx.sum(0) * scale,
            "d_z": z.T @ dg * scale, "d_b": dg.sum(0) * scale,
        }
        dz = dg @ p["d_z"].T * (-1 / (2 * beta))
        f_mean, f_var = dz + mean, 0.5 * (dz * noise * sigma + sigma * sigma - 1)

        size = torch.cat([f_mean, f_var]).pow(2).mean().sqrt()
        beta = NUDGE / (GAIN_Z * size)
        h2, mean2, var2 = self.encoder(
            p, torch.cat([drive, drive]), torch.cat([mean, mean]), torch.cat([var, var]),
            torch.cat([p["e_mean_b"] - beta * f_mean, p["e_mean_b"] + beta * f_mean]),
            torch.cat([p["e_var_b"] - beta * f_var, p["e_var_b"] + beta * f_var]),
            self.sweeps["encoder_nudged"])
        scale = -1 / (2 * beta * rows)
        dh, sh = h2[:rows] - h2[rows:], h2[:rows] + h2[rows:]
        grads.update({"e_w": images.T @ dh * scale, "e_b": dh.sum(0) * scale})
        for name, state in (("e_mean", mean2), ("e_var", var2)):
            ds, ss = state[:rows] - state[rows:], state[:rows] + state[rows:]
            grads[name] = (dh.T @ ss + sh.T @ ds) * (scale / 2)
            grads[name + "_b"] = ds.sum(0) * scale
        return grads

    @torch.no_grad()
    def step(self, images):
        noise = torch.randn(images.shape[0], LATENT, device=images.device)
        grads = self.gradients(self.parameters, images, noise)
        for name, p in self.parameters.items():
            p.grad = grads[name]
        self.optimizer.step()

    def products(self):
        """Floating-point operations of the matrix products of a step, per image."""
        s, image, latent = self.sweeps, 2 * PIXELS * HIDDEN, 2 * LATENT * HIDDEN
        encoder = 4 * latent * (s["encoder_free"] + 2 * s["encoder_nudged"])
        decoder = 2 * image * (s["decoder_free"] + 2 * s["decoder_nudged"])
        gradients = (1 + 2) * image + (1 + 1 + 4) * latent
        return image + latent + encoder + decoder + gradients


class FeedForwardVae(torch.nn.Module):
    """The same sizes, feed-forward, by backpropagation."""

    def __init__(self, device="cpu", compiled=False):
        super().__init__()
        self.step = torch.compile(self.step) if compiled else self.step
        self.encode = torch.nn.Linear(PIXELS, HIDDEN)
        self.outputs = torch.nn.Linear(HIDDEN, 2 * LATENT)
        self.decode = torch.nn.Sequential(
            torch.nn.Linear(LATENT, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, PIXELS),
            torch.nn.Sigmoid())
        self.to(device)
        self.optimizer = Adam(self.parameters())

    def step(self, images):
        mean, var = self.outputs(torch.relu(self.encode(images))).chunk(2, dim=1)
        z = mean + (var / 2).exp() * torch.randn_like(mean)
        cost = PRECISION / 2 * (self.decode(z) - images).pow(2).sum()
        cost = cost + 0.5 * (mean.pow(2) + var.exp() - var - 1).sum()
        self.optimizer.zero_grad()
        (cost / images.shape[0]).backward()
        self.optimizer.step()


def per_second(work, seconds, device, warm_up=3, at_once=10):
    """Calls of `work` per second; a GPU is synchronized before the clock is read."""
    def call(count):
        for _ in range(count):
            work()
        if device != "cpu":
            torch.cuda.synchronize()
        return count

    call(warm_up)
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        done += call(at_once)
    return done / (time.perf_counter() - started)


def images_per_second(model, seconds, batch=BATCH, device="cpu"):
    images = torch.rand(batch, PIXELS, device=device)
    return batch * per_second(lambda: model.step(images), seconds, device)


def matrix_rate(device, seconds=1.0):
    """Operations per second of the fastest of some square products, without TF32."""
    def rate(n):
        a, b = torch.rand(n, n, device=device), torch.rand(n, n, device=device)
        return 2 * n**3 * per_second(lambda: a @ b, seconds, device, warm_up=1, at_once=1)

    return max(map(rate, (512, 1024) if device == "cpu" else (2048, 4096, 8192)))


def losses_apart(a, b):
    """Largest relative difference of the losses of two runs."""
    pairs = ((a[part][name], b[part][name]) for part in ("train", "test")
             for name in ("reconstruction_error", "kl"))
    return max(abs(x - y) / abs(x) for x, y in pairs)


def compare_devices(arguments):
    """One line per model, batch and device; see the top."""
    on, threads = arguments.torch_device, arguments.threads
    rate = matrix_rate(on)
    name = torch.cuda.get_device_name() if on != "cpu" else f"cpu, {threads} threads"
    print(f"torch {torch.__version__} on {name}: matrix products {rate / 1e12:.3f} Tflop/s (f32)")
    software = ["--allow-software"] if arguments.allow_software else []
    print(f"{'model':>7} {'batch':>6} {'device':>8} {'hvae':>9} {'eager':>9} {'compiled':>9} "
          f"{'of eager':>8} {'of compiled':>11} {'of products':>11} {'losses apart':>12}")
    for kind in arguments.models.split(","):
        for batch in map(int, arguments.batches.split(",")):
            run = lambda device, more=(): hvae_epoch(
                arguments.binary, batch * arguments.steps, threads, device, batch,
                arguments.epochs, kind, ["--set", "ep.check_every=5", *more])
            reference = run("cpu")
            for device in arguments.devices.split(","):
                metrics = run(device, software)
                ours, sweeps = metrics["images_per_second"], sweeps_of(metrics)
                eager = compiled = share = float("nan")
                time_model = lambda model: images_per_second(model, arguments.seconds, batch, on)
                if kind == "f-vae":
                    eager = time_model(FeedForwardVae(on))
                    if arguments.compiled:
                        compiled = time_model(FeedForwardVae(on, compiled=True))
                elif kind == "h-vae":
                    eager = time_model(HopfieldVae(sweeps, on))
                    share = ours * HopfieldVae(sweeps).products() / rate
                    if arguments.compiled:
                        compiled = time_model(HopfieldVae(sweeps, on, compiled=True))
                print(f"{kind:>7} {batch:>6} {device:>8} {ours:>9.0f} {eager:>9.0f} "
                      f"{compiled:>9.0f} {ours / eager:>8.2f} {ours / compiled:>11.2f} {share:>11.3f} "
                      f"{losses_apart(reference, metrics):>12.1e}", flush=True)


KINDS = ["h-vae", "th-vae", "dh-vae", "tdh-vae", "f-vae"]


def compare_kinds(arguments, threads):
    """Medians of images per second at this number of threads, by what was timed."""
    torch.set_num_threads(threads)
    print(f"torch {torch.__version__}, {threads} threads, batch {BATCH}")
    found = {}

    def note(name, value):
        found.setdefault(name, []).append(value)

    for _ in range(arguments.rounds):
        metrics = hvae_epoch(arguments.binary, arguments.images, threads)
        sweeps = sweeps_of(metrics)
        note("h-vae, centred", metrics["images_per_second"])
        time_model = lambda model: images_per_second(model, arguments.seconds)
        note("PyTorch EP", time_model(HopfieldVae(sweeps)))
        note("PyTorch backpropagation", time_model(FeedForwardVae()))
        if arguments.compiled:
            note("PyTorch EP, compiled", time_model(HopfieldVae(sweeps, compiled=True)))
            note("PyTorch backpropagation, compiled", time_model(FeedForwardVae(compiled=True)))
        for kind in arguments.models.split(","):
            share = 4 if kind.endswith("dh-vae") else 1
            preset = hvae_epoch(arguments.binary, arguments.images // share, threads, kind=kind,
                                settings={})
            note(kind, preset["images_per_second"])
    medians = {name: sorted(values)[len(values) // 2] for name, values in found.items()}
    for name, value in medians.items():
        of_ep, of_backprop = (value / medians[n] for n in ("PyTorch EP", "PyTorch backpropagation"))
        print(f"{name:>33} {value:>7.0f} images/s  {of_ep:5.2f} of PyTorch EP  {of_backprop:5.2f} of "
              f"backpropagation   ({min(found[name]):.0f} to {max(found[name]):.0f})", flush=True)
    print(f"sweeps {', '.join(f'{k} {v:.1f}' for k, v in sweeps.items())}")
    return medians


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/hvae")
    parser.add_argument("--threads", default="1,2", help="numbers of threads, the first on GPUs")
    parser.add_argument("--images", type=int, default=12800)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--devices", help="devices of hvae to compare, such as wgpu,cuda")
    parser.add_argument("--torch-device", default="cpu")
    parser.add_argument("--models", help="kinds to time [default: all; on a GPU h-vae,f-vae]")
    parser.add_argument("--batches", default="128,1024,8192")
    parser.add_argument("--steps", type=int, default=100, help="steps of an epoch of hvae")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of hvae; the last is timed")
    parser.add_argument("--compiled", action="store_true", help="compile PyTorch's step too")
    parser.add_argument("--allow-software", action="store_true")
    arguments = parser.parse_args()
    if not os.path.exists(arguments.binary):
        sys.exit(f"{arguments.binary} is missing; run cargo build --release")
    torch.manual_seed(1)
    threads = [int(number) for number in arguments.threads.split(",")]
    if arguments.devices:
        arguments.threads, arguments.models = threads[0], arguments.models or "h-vae,f-vae"
        torch.set_num_threads(arguments.threads)
        return compare_devices(arguments)
    arguments.models = arguments.models or ",".join(KINDS)
    medians = [compare_kinds(arguments, number) for number in threads]
    many = threads[-1]
    for name, value in medians[0].items() if threads[0] == 1 < many else ():
        speedup = medians[-1][name] / value
        serial = max(0.0, (1 / speedup - 1 / many) / (1 - 1 / many))
        more = ", ".join(f"{n} threads {1 / (serial + (1 - serial) / n):.1f}" for n in (8, 16))
        print(f"{name:>33}: {many} threads {speedup:.2f} times one; serial share "
              f"{100 * serial:.0f} %; {more}")


if __name__ == "__main__":
    main()
