"""`hvae.train`: metrics, configuration, interruption."""

import json
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy
import pytest

import hvae
from conftest import SETTINGS


def same(run, other):
    assert list(run.weights()) == list(other.weights())
    for name, weights in run.weights().items():
        numpy.testing.assert_array_equal(other.weights()[name], weights)


def test_the_callback_receives_the_metrics_of_every_epoch(trained):
    run, metrics = trained
    lines = [json.loads(line) for line in open(f"{run.path}/metrics.jsonl")]
    assert [line["epoch"] for line in lines] == [1, 2] and metrics == lines


def test_a_run_is_that_of_the_program(run, program, tmp_path):
    program("train", "--config", f"{run.path}/config.toml", "--runs", tmp_path, "--name", "same")
    other = hvae.Run(tmp_path / "same")
    same(run, other)
    assert other.config == run.config


def test_trainings_in_two_threads_do_not_disturb_each_other(run, tmp_path):
    with ThreadPoolExecutor() as pool:
        train = lambda name: hvae.train(SETTINGS, runs=tmp_path, name=name)
        for other in pool.map(train, ["a", "b"]):
            same(run, other)


def test_arrays_are_trained_on_as_files_are(images, program, tmp_path):
    own = {key: SETTINGS[key] for key in ["model", "training"]}
    x, labels = numpy.round(images["inputs"] * 255).astype("u1"), numpy.arange(48) % 10
    run = hvae.train(own, images=x, labels=labels, runs=tmp_path, name="arrays")
    numpy.savez(tmp_path / "set.npz", images=x, labels=labels)
    file = ["--dataset", tmp_path / "set.npz", "--runs", tmp_path, "--name", "file"]
    program("train", "--config", f"{run.path}/config.toml", *file)
    same(run, hvae.Run(tmp_path / "file"))
    floats = x.astype("f4") / numpy.float32(255)
    same(run, hvae.train(own, images=floats, labels=labels, runs=tmp_path, name="floats"))
    # Equal images are in one file, and it is enough to continue.
    assert len(list(tmp_path.glob("images-*.npz"))) == 1
    assert hvae.train(resume=run.path, epochs=3).config["training"]["epochs"] == 3
    program("reconstruct", run.path, "--count", 2, "--out", tmp_path / "y.npz")
    held_out = x[9::10][:2].astype("f4") / numpy.float32(255)
    numpy.testing.assert_array_equal(numpy.load(tmp_path / "y.npz")["inputs"], held_out)


def test_arrays_have_their_size_and_parts(images, tmp_path):
    own = {key: SETTINGS[key] for key in ["model", "training"]}
    small = images["inputs"][:, ::2, ::2]
    parts, labels = (small[:40], small[40:]), (None, numpy.arange(8))
    run = hvae.train(own, images=parts, labels=labels, runs=tmp_path)
    assert run.size == (14, 14) and run.encode(small)[0].shape == (48, 3)
    saved = numpy.load(run.config["data"]["dataset"])
    assert {name: len(saved[name]) for name in saved} == {"x_train": 40, "x_test": 8, "y_test": 8}


def test_settings_override_the_file(run, tmp_path):
    file = f"{run.path}/config.toml"
    training = {"epochs": numpy.int64(1), "clip_norm": None}
    other = hvae.train(file, training=training, runs=tmp_path, name="one")
    assert other.config["training"]["epochs"] == 1
    assert other.config["model"] == run.config["model"]
    more = hvae.train(resume=other.path, epochs=2)
    assert more.config["training"]["epochs"] == 2
    same(run, more)


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
    x = numpy.zeros((12, 28, 28), "u1")
    for arguments, part in [
        ({"images": x[:9]}, "9 images are too few"),
        ({"images": x * numpy.nan}, "image 0, row 0, column 0 is not a number"),
        ({"images": x[0, 0]}, "not that of images"),
        ({"images": x, "labels": [1, 2]}, "2 labels in `labels` for 12 images"),
        ({"images": x, "labels": [300] * 12}, "label 0 of `labels` is 300, but labels are whole"),
        ({"images": x, "labels": [0.5] * 12}, "label 0 of `labels` is 0.5"),
        ({"images": (x, x[:, 1:])}, "test images of 27x28, but training images of 28x28"),
        ({"images": x, "data": {"dataset": "mnist"}}, "images take the place of data.dataset"),
        ({"images": x, "training": {"epochs": 0}}, "training.epochs"),
        ({"images": x, "resume": run.path}, "only epochs"),
        ({"labels": [1, 2]}, "labels need images"),
        ({"device": "tpu"}, "unknown device"),
    ]:
        with pytest.raises(ValueError, match=part):
            hvae.train(runs=tmp_path, **arguments)
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
        done = len((tmp_path / "long" / "metrics.jsonl").read_text().splitlines())
        metrics = []
        hvae.train(resume=tmp_path / "long", epochs=done + 1, callback=metrics.append)
        assert [one["epoch"] for one in metrics] == [done + 1]
