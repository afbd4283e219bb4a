"""Hopfield variational autoencoders trained by equilibrium propagation.

``hvae.train`` trains a run and ``hvae.Run`` loads one; ``hvae.fid``, ``hvae.kid`` and ``hvae.prdc``
score images; ``hvae.HopfieldNetwork``, ``hvae.ModernHopfield`` and ``hvae.solve`` are for models of
one's own. Arrays are those of NumPy, or anything with ``__dlpack__``, such as tensors of PyTorch
(``torch.from_dlpack`` takes the results without a copy). Mistakes are exceptions with the sentences
of the program; while it computes, other threads run, and Ctrl-C ends it.
"""

import json as _json
import os as _os
import signal as _signal
import sys as _sys

from . import _hvae
from ._hvae import Equilibrium, HopfieldNetwork, ModernHopfield, Outcome, Run, __version__

__all__ = [
    "Equilibrium",
    "HopfieldNetwork",
    "ModernHopfield",
    "Outcome",
    "Run",
    "fid",
    "kid",
    "prdc",
    "solve",
    "train",
]


def train(
    config=None,
    *,
    training=None,
    data=None,
    model=None,
    ep=None,
    images=None,
    labels=None,
    runs="checkpoints",
    name=None,
    resume=None,
    epochs=None,
    device="cpu",
    data_dir=None,
    callback=None,
):
    """Trains a run and returns it as a :class:`Run`.

    ``config`` is a file such as ``checkpoints/h-vae-001/config.toml``, or a dictionary of its
    sections. ``training``, ``data``, ``model`` and ``ep`` are dictionaries that override sections:
    ``train(model={"kind": "th-vae"}, training={"epochs": 2})``. docs/settings.md lists all keys.
    ``resume`` continues the run in that folder, up to ``epochs`` epochs if they are given.

    ``images`` is an array to train on, ``[N, height, width]``, ``uint8`` or floats from 0 to 1, which
    are rounded to bytes; every tenth image is a test image. A tuple of two arrays gives the training
    and the test images. ``labels``, whole numbers from 0 to 255, have the same form; figures show
    them. The images are kept in a file beside the run, ``images-<SHA-256>.npz``, so that the run can
    be resumed and repeated. Without ``data["size"]`` the model has the size of the images.

    After every epoch ``callback`` is called with its metrics, a dictionary as in a line of
    ``metrics.jsonl``. What it raises ends the training; the run can then be resumed. So can one that
    Ctrl-C has ended, which saves a checkpoint.
    """
    sections = {"training": training, "data": data, "model": model, "ep": ep}
    if images is not None and "dataset" in (data or {}):
        raise ValueError("images take the place of data.dataset: give one of the two")
    settings = {key: dict(values) for key, values in sections.items() if values is not None}
    if isinstance(config, dict):
        for key, values in config.items():
            if not isinstance(values, dict):
                raise ValueError(f"{key} must be a dictionary of settings")
            settings[key] = {**values, **settings.get(key, {})}
        config = None
    if epochs is not None and resume is None:
        settings["training"] = {**settings.get("training", {}), "epochs": epochs}
    run = _hvae.train(
        config,
        _json.dumps(settings, default=_plain),
        _parts(images),
        _parts(labels),
        runs=runs,
        name=name,
        resume=resume,
        epochs=epochs,
        device=device,
        data_dir=data_dir,
        callback=callback,
    )
    return Run(run, device=device)


def _parts(arrays):
    """Of arrays for training and for testing."""
    return arrays if isinstance(arrays, tuple) and len(arrays) == 2 else (arrays, None)


def _plain(value):
    """Numbers of NumPy and paths have no JSON form of their own."""
    return value.tolist() if hasattr(value, "tolist") else _os.fspath(value)


_HOW = {
    "features": "mnist-classifier",
    "inception_weights": None,
    "batch": None,
    "count": None,
    "seed": 0,
    "source": "prior",
    "data_dir": None,
    "device": "cpu",
}


def fid(a, b, **settings):
    """Fréchet distance (FID) between two sets of images.

    Each is an array of images (``[N, height, width]``, ``uint8`` or floats from 0 to 1, which are
    rounded to bytes), or a path: a folder of pictures, a file of images, a ``.npz`` of statistics as
    pytorch-fid writes it, the folder of a run (samples are drawn from it), or ``"mnist-test"``.

    Settings: ``features`` (``"mnist-classifier"``, ``"inception"`` for the standard FID, ...),
    ``inception_weights``, ``batch``, ``count``, ``seed``, ``source`` (``"prior"`` or ``"mixture"``),
    ``data_dir``, ``device``; they are those of ``hvae fid``.
    """
    return _hvae.fid(a, b, _checked(settings))


def kid(a, b, **settings):
    """Kernel distance of the samples ``a`` from the real images ``b``: a dictionary with ``mean``.

    Arguments are those of :func:`fid`, but statistics have no images to compare.
    """
    return _hvae.metrics(a, b, _checked(settings))[0]


def prdc(a, b, **settings):
    """Precision, recall, density and coverage of the samples ``a`` among the real images ``b``.

    Arguments are those of :func:`fid`, but statistics have no images to compare.
    """
    return _hvae.metrics(a, b, _checked(settings))[1]


def solve(
    f,
    x0,
    method="anderson",
    *,
    tolerance=1e-6,
    max_iterations=200,
    memory=5,
    mixing=1.0,
    damping=0.0,
):
    """Fixed points ``x = f(x)`` of a batch, from ``x0``, ``[N, ...]``; returns ``x`` and an
    :class:`Outcome` with one entry for each sample.

    ``f`` takes and returns an array of the shape of ``x0`` in single precision; row ``i`` of the
    result must depend on row ``i`` of the argument only. A sample ends when
    ``|f(x) - x| <= tolerance |f(x)|``. Not converging is an outcome, not an error.

    ``method`` is ``"anderson"`` (acceleration over the last ``memory`` iterations, with ``mixing``),
    ``"damped"`` (each iteration keeps the share ``damping`` of the state) or ``"picard"`` (neither).
    """
    how = {
        "method": method,
        "memory": memory,
        "mixing": mixing,
        "damping": damping,
        "tolerance": tolerance,
        "max_iterations": max_iterations,
    }
    return _hvae.solve(f, x0, how)


def _checked(settings):
    for key in settings:
        if key not in _HOW:
            raise TypeError(f"unknown setting {key!r}: settings are {', '.join(_HOW)}")
    return {**_HOW, **settings}


def _main():
    """The program ``hvae``."""
    # The program handles Ctrl-C itself.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    _sys.exit(_hvae.main(_sys.argv))
