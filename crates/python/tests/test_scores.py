"""`hvae.fid`, `kid`, `prdc` give what `hvae fid` gives, of arrays, folders and statistics."""

import json

import numpy
import pytest

import hvae


@pytest.fixture(scope="module")
def sets(run, images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    real = numpy.round(images["inputs"] * 255).astype(numpy.uint8)
    samples = run.sample(60, seed=4)
    numpy.savez(folder / "real.npz", images=real)
    numpy.savez(folder / "samples.npz", images=samples)
    return folder, samples, real


def test_scores_are_those_of_the_program(sets, program):
    folder, samples, real = sets
    names = [folder / "samples.npz", folder / "real.npz"]
    program("fid", *names, "--more", "--json", folder / "scores.json")
    scores = json.loads((folder / "scores.json").read_text())
    more = scores["more"]
    for a, b in [(samples, real), names, (str(names[0]), real)]:
        assert hvae.fid(a, b) == scores["fid"]
        assert hvae.kid(a, b) == more["kid"]
        assert hvae.prdc(a, b) == {key: value for key, value in more.items() if key != "kid"}


def test_statistics_and_runs_are_compared(sets, run, program):
    folder, samples, real = sets
    saved = folder / "statistics.npz"
    program("fid", folder / "samples.npz", folder / "real.npz", "--save-stats", saved)
    assert hvae.fid(saved, real) == hvae.fid(samples, real)
    assert hvae.fid(run.path, real, count=48, seed=4) == hvae.fid(run.sample(48, seed=4), real)
    with pytest.raises(RuntimeError, match="need images on both sides"):
        hvae.kid(saved, real)


def distance(a, b):
    """As pytorch-fid computes it: through a root of a matrix."""
    scipy = pytest.importorskip("scipy.linalg")
    root = scipy.sqrtm(a["sigma"] @ b["sigma"]).real
    return ((a["mu"] - b["mu"]) ** 2).sum() + numpy.trace(a["sigma"] + b["sigma"] - 2 * root)


def distance_by_eigenvalues(a, b):
    roots = numpy.sqrt(numpy.linalg.eigvals(a["sigma"] @ b["sigma"]).real.clip(0))
    return ((a["mu"] - b["mu"]) ** 2).sum() + numpy.trace(a["sigma"] + b["sigma"]) - 2 * roots.sum()


@pytest.mark.parametrize("reference", [distance_by_eigenvalues, distance])
def test_the_distance_of_statistics_is_its_formula(sets, program, tmp_path, reference):
    folder, _, _ = sets
    saved = tmp_path / "real.npz"
    program("fid", folder / "samples.npz", folder / "real.npz", "--save-stats", saved)
    dims = len(numpy.load(saved)["mu"])
    rng, found = numpy.random.default_rng(1), []
    for name, scale in [("a", 1.0), ("b", 1.5)]:
        features = rng.normal(size=(3 * dims, dims)) * scale @ rng.normal(size=(dims, dims))
        statistics = {"mu": features.mean(0), "sigma": numpy.cov(features.T)}
        numpy.savez(tmp_path / f"{name}.npz", **statistics)
        found.append(statistics)
    expected = reference(*found)
    assert hvae.fid(tmp_path / "a.npz", tmp_path / "b.npz") == pytest.approx(expected, rel=1e-9)


def test_what_cannot_be_compared_is_refused(sets):
    _, samples, real = sets
    for arguments, settings, kind, part in [
        ((samples[0, 0], real), {}, ValueError, "not that of images"),
        ((samples * 2, real), {}, ValueError, "floats run from 0 to 1"),
        (("nowhere", real), {}, ValueError, "neither a file nor a folder"),
        ((None, real), {}, TypeError, "not numbers"),
        ((samples, real), {"features": "vgg"}, ValueError, "unknown features"),
        ((samples, real), {"size": 3}, TypeError, "unknown setting 'size'"),
        ((samples, real), {"count": 1000}, RuntimeError, "--count 1000: array has 60"),
        ((samples, real), {"source": "x"}, ValueError, "prior, mixture"),
    ]:
        with pytest.raises(kind, match=part):
            hvae.fid(*arguments, **settings)
