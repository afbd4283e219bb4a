"""A small run, trained by the module, and the program of the same wheel."""

import subprocess
import sys
from pathlib import Path

import pytest

import hvae

SETTINGS = {
    "model": {"hidden": [24], "latent": 3},
    "data": {"dataset": "synthetic", "train_images": 192, "test_images": 48},
    "training": {"epochs": 2, "batch_size": 32, "warmup_steps": 2},
}


@pytest.fixture(scope="session")
def program():
    """Runs `hvae` with these arguments."""
    path = Path(sys.executable).parent / "hvae"

    def run(*arguments):
        command = [str(argument) for argument in (path, *arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run, and the metrics that its callback has received."""
    metrics = []
    runs = tmp_path_factory.mktemp("runs")
    run = hvae.train(SETTINGS, runs=runs, name="small", callback=metrics.append)
    return run, metrics


@pytest.fixture(scope="session")
def run(trained):
    return trained[0]


@pytest.fixture(scope="session")
def images(run, program, tmp_path_factory):
    """The run's test images, as the program reads them."""
    import numpy

    path = tmp_path_factory.mktemp("images") / "reconstructions.npz"
    program("reconstruct", run.path, "--count", 48, "--out", path)
    return dict(numpy.load(path))
