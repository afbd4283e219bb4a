"""`hvae.train`: metrics, configuration, interruption."""

import json
import signal
import subprocess
import sys
import textwrap

import numpy
import pytest

import hvae
from conftest import SETTINGS


def test_the_callback_receives_the_metrics_of_every_epoch(trained):
    run, metrics = trained
    lines = [json.loads(line) for line in open(f"{run.path}/metrics.jsonl")]
    assert [line["epoch"] for line in lines] == [1, 2] and metrics == lines


def test_a_run_is_that_of_the_program(run, program, tmp_path):
    program("train", "--config", f"{run.path}/config.toml", "--runs", tmp_path, "--name", "same")
    other = hvae.Run(tmp_path / "same")
    for name, weights in run.weights().items():
        numpy.testing.assert_array_equal(other.weights()[name], weights)
    assert other.config == run.config


def test_settings_override_the_file(run, tmp_path):
    file = f"{run.path}/config.toml"
    training = {"epochs": numpy.int64(1), "clip_norm": None}
    other = hvae.train(file, training=training, runs=tmp_path, name="one")
    assert other.config["training"]["epochs"] == 1
    assert other.config["model"] == run.config["model"]
    more = hvae.train(resume=other.path, epochs=2)
    assert more.config["training"]["epochs"] == 2
    for name, weights in run.weights().items():
        numpy.testing.assert_array_equal(more.weights()[name], weights)


def test_mistakes_leave_no_run_behind(run, tmp_path):
    for arguments, part in [
        ({"training": {"epochs": 0}}, "training.epochs"),
        ({"training": {"epoch": 1}}, "unknown field `epoch`"),
        ({"models": {}}, "unknown field `models`"),
        ({"model": {"kind": "vae"}}, "vae"),
        ({"training": 3}, "must be a dictionary"),
    ]:
        with pytest.raises(ValueError, match=part):
            hvae.train(arguments, runs=tmp_path)
    with pytest.raises(TypeError, match="callback"):
        hvae.train(SETTINGS, runs=tmp_path, callback=3)
    with pytest.raises(ValueError, match="only epochs"):
        hvae.train(SETTINGS, resume=run.path)
    with pytest.raises(RuntimeError, match="exists already"):
        hvae.train(SETTINGS, runs=f"{run.path}/..", name="small")
    assert list(tmp_path.iterdir()) == []


def test_what_the_callback_raises_ends_training(tmp_path):
    class Enough(Exception):
        pass

    def callback(metrics):
        raise Enough(metrics["epoch"])

    with pytest.raises(Enough, match="1"):
        hvae.train(SETTINGS, runs=tmp_path, name="short", callback=callback)
    assert hvae.train(resume=tmp_path / "short").config["training"]["epochs"] == 2


SCRIPTS = {
    "training": """
        hvae.train(SETTINGS, epochs=100000, runs=folder, name="long", callback=lambda m: started())
    """,
    "likelihood": """
        run = hvae.train(SETTINGS, runs=folder, name="long")
        started()
        run.nll(numpy.zeros((1000, 28, 28)), k=100000)
    """,
    "function": """
        def f(x):
            started()
            return x + 1
        hvae.solve(f, numpy.zeros((1, 1)), "picard", max_iterations=10**9)
    """,
}


@pytest.mark.parametrize("what", SCRIPTS)
def test_ctrl_c_ends_it_with_an_exception(what, tmp_path):
    head = f"""
        import sys, numpy, hvae
        SETTINGS, folder = {SETTINGS!r}, {str(tmp_path)!r}
        def started():
            print("started", flush=True)
    """
    script = textwrap.dedent(head) + textwrap.dedent(SCRIPTS[what])
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", script], stdout=pipe, stderr=pipe, text=True)
    assert process.stdout.readline() == "started\n", process.stderr.read()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors and process.returncode != 0, errors
    if what == "training":
        assert hvae.Run(tmp_path / "long").latent == 3
