"""Makes the fixtures that the evaluation is tested against, in crates/scores/tests/fixtures/.

    pip install torch==2.9.0 torchvision==0.24.0 pytorch-fid==0.3.0 scipy numpy
    python3 scripts/evaluation_fixtures.py [--weights FILE.pth] [--legacy]

inception.npz   features of pytorch-fid's network at its four depths, and its preprocessing, with
                weights that come from (tensor name, index) by the formula below; the tests make the
                same weights from the same formula. The real weights never enter.
distance.npz    statistics with the distance that pytorch-fid takes of them (scipy's sqrtm).
features.npz    features with their kernel distance, precision, recall, density and coverage, by
                the definitions in plain numpy.
--weights       also writes the weights of the formula as a PyTorch file of all the tensors (96 MB;
                never committed), with --legacy in the format from before 2020.
"""

import argparse
from pathlib import Path

import numpy as np
import pytorch_fid.inception as reference
import torch
from pytorch_fid.fid_score import calculate_frechet_distance

FIXTURES = Path(__file__).resolve().parent.parent / "crates/scores/tests/fixtures"


def uniform(name, count):
    """In [0, 1): FNV-1a of the name, plus the index, through splitmix64; the top 24 bits."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x100000001B3) % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / 2**24


def tensor(name, shape):
    u = uniform(name, int(np.prod(shape)))
    if name.endswith("conv.weight"):
        values = (2 * u - 1) * np.sqrt(6 / np.prod(shape[1:]))
    elif name.endswith("bn.weight"):
        values = 0.75 + 0.5 * u
    elif name.endswith("running_var"):
        values = 0.5 + u
    else:  # biases, means, the layer behind the features
        values = 0.2 * (2 * u - 1)
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def weights():
    """A state dict of all tensors that FID Inception has, from the formula."""
    network = torch.nn.Module.load_state_dict
    reference.load_state_dict_from_url = lambda *_, **__: {}
    torch.nn.Module.load_state_dict = lambda *_, **__: None
    shapes = {k: tuple(v.shape) for k, v in reference.fid_inception_v3().state_dict().items()}
    torch.nn.Module.load_state_dict = network
    # The first published file is older than these counters.
    return {k: tensor(k, s) for k, s in shapes.items() if not k.endswith("num_batches_tracked")}


def image_bytes(name, count, height, width):
    """Smooth blobs with noise on them."""
    noise = uniform(name, count * height * width).reshape(count, height, width)
    rows, columns = np.arange(height)[:, None], np.arange(width)[None, :]
    images = []
    for index in range(count):
        blob = np.sin(0.2 * (index + 1) * rows) * np.cos(0.15 * (index + 2) * columns)
        images.append(np.floor(255 * (0.35 * (blob + 1) + 0.3 * noise[index])))
    return np.stack(images).astype(np.uint8)


def inception(state):
    counters = {k.replace("running_var", "num_batches_tracked"): torch.tensor(0)
                for k in state if k.endswith("running_var")}
    reference.load_state_dict_from_url = lambda *_, **__: {**state, **counters}
    network = reference.InceptionV3([0, 1, 2, 3]).eval()
    arrays = {}
    for name, count, height, width in [
            ("digits", 2, 28, 28), ("wide", 1, 40, 57), ("large", 1, 320, 301)]:
        images = image_bytes(name, count, height, width)
        batch = torch.from_numpy(images).float().div(255)[:, None].expand(-1, 3, -1, -1)
        seen = []
        handle = network.blocks[0].register_forward_pre_hook(lambda _, x: seen.append(x[0]))
        with torch.no_grad():
            maps = network(batch)
        handle.remove()
        arrays[f"{name}_images"] = images
        arrays[f"{name}_seen"] = seen[0][:, 0, ::7, ::7].contiguous().numpy()
        for depth, features in zip([64, 192, 768, 2048], maps):
            pooled = torch.nn.functional.adaptive_avg_pool2d(features, (1, 1))
            arrays[f"{name}_{depth}"] = pooled[:, :, 0, 0].numpy()
    return arrays


def distances():
    arrays = {}

    def sample(name, rows, dims):
        u = uniform(name, rows * dims).reshape(rows, dims)
        mix = uniform(name + " mix", dims * dims).reshape(dims, dims) - 0.5
        return (u - 0.4) @ mix * np.linspace(3, 0.05, dims)

    rank = sample("low", 200, 4) @ (uniform("lift", 4 * 16).reshape(4, 16) - 0.5)
    cases = {
        "full": (sample("a", 300, 16), sample("b", 300, 16) + 0.3),
        # Both live in the same 4 of 16 dimensions, shifted out of them.
        "singular": (rank[:100] + 0.1, 1.3 * rank[100:]),
        "near": (sample("a", 300, 16), 1.05 * sample("a", 300, 16)),
        "scaled": (1e4 * sample("a", 60, 24), 1e4 * sample("b", 80, 24)),
    }
    for case, pair in cases.items():
        stats = {side: (f.mean(0), np.cov(f, rowvar=False)) for side, f in zip("ab", pair)}
        for side, (mu, sigma) in stats.items():
            arrays[f"{case}_{side}_mu"], arrays[f"{case}_{side}_sigma"] = mu, sigma
        distance = calculate_frechet_distance(*stats["a"], *stats["b"])
        arrays[f"{case}_distance"] = np.array([distance])
    return arrays


def features():
    real = uniform("real", 60 * 6).reshape(60, 6).astype(np.float32)
    fake = (0.8 * uniform("fake", 50 * 6).reshape(50, 6) + 0.15).astype(np.float32)
    x, y = fake.astype(np.float64), real.astype(np.float64)
    # All images once: a subset of 50 is all samples, and the first 50 real images.
    y50 = y[:50]
    kernel = lambda a, b: (a @ b.T / a.shape[1] + 1) ** 3
    off = lambda k: k.sum() - np.trace(k)
    within = off(kernel(x, x)) / (50 * 49) + off(kernel(y50, y50)) / (50 * 49)
    kid = within - 2 * kernel(x, y50).mean()

    k = 5
    far = lambda a, b: np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))
    radius = lambda a: np.sort(far(a, a), 1)[:, k]
    between, real_radius, fake_radius = far(y, x), radius(y), radius(x)
    inside = between < real_radius[:, None]
    overlap = [
        inside.any(0).mean(),
        (between < fake_radius[None]).any(1).mean(),
        inside.sum(0).mean() / k,
        (between.min(1) < real_radius).mean(),
    ]
    return {"real": real, "fake": fake, "kid": np.array([kid]), "overlap": np.array(overlap)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--legacy", action="store_true")
    args = parser.parse_args()
    state = weights()
    if args.weights:
        torch.save(state, args.weights, _use_new_zipfile_serialization=not args.legacy)
    FIXTURES.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(FIXTURES / "inception.npz", **inception(state))
    np.savez_compressed(FIXTURES / "distance.npz", **distances())
    np.savez_compressed(FIXTURES / "features.npz", **features())


if __name__ == "__main__":
    main()
