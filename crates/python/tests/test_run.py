"""`hvae.Run` gives what the program gives, to the bit, and refuses what cannot be meant."""

import gc
import json
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy
import pytest

import hvae


def equal(a, b):
    numpy.testing.assert_array_equal(a, b, strict=True)


def test_posteriors_and_reconstructions_are_those_of_the_program(run, images):
    mean, log_variance = run.encode(images["inputs"])
    equal(mean, images["means"])
    equal(log_variance, images["log_variances"])
    equal(run.reconstruct(images["inputs"]), images["images"])


def test_samples_are_those_of_the_program(run, program, tmp_path):
    program("sample", run.path, "--count", 20, "--seed", 3, "--out", tmp_path / "s.npz")
    equal(run.sample(20, seed=3), numpy.load(tmp_path / "s.npz")["images"])


def test_encode_and_decode_of_the_program_are_those_of_the_module(run, images, program, tmp_path):
    pixels = numpy.round(images["inputs"] * 255).astype(numpy.uint8)
    numpy.savez(tmp_path / "x.npz", images=pixels)
    program("encode", run.path, tmp_path / "x.npz", "--out", tmp_path / "z.npz")
    found = numpy.load(tmp_path / "z.npz")
    mean, log_variance = run.encode(pixels)
    equal(found["means"], mean)
    equal(found["log_variances"], log_variance)
    program("decode", run.path, tmp_path / "z.npz", "--out", tmp_path / "y.npz")
    equal(numpy.load(tmp_path / "y.npz")["images"], run.decode(mean))
    program("decode", run.path, tmp_path / "z.npz", "--out", tmp_path / "pictures")
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 48


def test_bounds_are_those_of_the_program(run, images, program, tmp_path):
    path = tmp_path / "scores.json"
    small = ["--count", 40, "--nll-images", 48, "--nll-samples", 7]
    program("eval", run.path, *small, "--seed", 5, "--json", path)
    scores = json.loads(path.read_text())["likelihood"]
    elbo = run.elbo(images["inputs"], k=7, seed=5)
    nll = run.nll(images["inputs"], k=7, seed=5)
    assert elbo.shape == nll.shape == (48,)
    # The program adds up in order.
    assert scores["elbo"]["mean"] == sum(elbo.tolist()) / 48
    assert scores["nll"]["mean"] == sum(nll.tolist()) / 48
    assert numpy.all(-elbo >= nll - 1e-6)


def test_weights_are_those_of_an_export(run, program, tmp_path):
    path = tmp_path / "model.safetensors"
    program("export", run.path, "--out", path)
    bytes_ = path.read_bytes()
    size = int.from_bytes(bytes_[:8], "little")
    header = json.loads(bytes_[8 : 8 + size])
    header.pop("__metadata__")
    weights = run.weights()
    assert set(weights) == set(header)
    for name, tensor in header.items():
        start, end = tensor["data_offsets"]
        values = numpy.frombuffer(bytes_[8 + size :][start:end], "<f4")
        equal(weights[name], values.reshape(tensor["shape"]))


def test_gradients_are_checked_as_by_the_program(run, images, program):
    shown = program("gradcheck", run.path, "--images", 8, "--sweeps", 30).splitlines()[1:]
    found = run.gradcheck(images["inputs"][:8], sweeps=30)
    assert len(shown) == len(found)
    for line, (name, (cosine, norm_ratio)) in zip(shown, found.items(), strict=True):
        assert name in line and line.split()[-2:] == [f"{cosine:.6f}", f"{norm_ratio:.4f}"]
    assert found["all parameters"][0] > 0.99


def test_states_relax_to_what_is_decoded(run):
    z = numpy.zeros((2, 3), "f4")
    states = run.relax(z, sweeps=60)
    assert {name: array.shape[:2] for name, array in states.items()} == {
        "hidden1": (61, 2),
        "image": (61, 2),
    }
    decoded = run.decode(z).reshape(2, -1)
    numpy.testing.assert_allclose(states["image"][-1].clip(0, 1), decoded, atol=1e-3)
    assert numpy.abs(states["image"][0].clip(0, 1) - decoded).max() > 0.1
    slow = run.relax(z, sweeps=1, damping=0.75)["image"]
    fast = run.relax(z, sweeps=1)["image"]
    equal(fast[0], slow[0])
    numpy.testing.assert_allclose(slow[1], 0.75 * fast[0] + 0.25 * fast[1], atol=1e-6)


def test_free_energies_are_finite_and_tell_images_apart(run, images):
    energies = run.free_energy(images["inputs"])
    assert energies.shape == (48,) and numpy.isfinite(energies).all()
    assert energies.std() > 0


def test_images_may_have_any_common_form(run, images):
    x = numpy.round(images["inputs"][:4] * 255).astype(numpy.uint8)
    expected = run.encode(x)[0]
    exact = x.astype("f4") / numpy.float32(255)
    forms = [exact.reshape(4, -1), exact[:, None], exact[..., None], exact.astype("f8")]
    forms += [numpy.asfortranarray(exact), exact[::-1][::-1], exact.tolist()]
    for form in forms:
        equal(run.encode(form)[0], expected)

    class Tensor:
        """As of PyTorch: no array, but it can be exported."""

        def __dlpack__(self, **arguments):
            return exact.__dlpack__(**arguments)

        def __dlpack_device__(self):
            return exact.__dlpack_device__()

    equal(run.encode(Tensor())[0], expected)
    equal(numpy.from_dlpack(run.encode(exact)[0]), expected)


def test_tensors_of_pytorch_work(run, images):
    torch = pytest.importorskip("torch")
    x = images["inputs"][:4]
    mean = run.encode(torch.from_numpy(x))[0]
    equal(mean, run.encode(x)[0])
    assert torch.from_dlpack(mean).data_ptr() == mean.ctypes.data
    z = torch.from_numpy(mean)
    equal(run.decode(z), run.decode(mean))
    equal(run.decode(z.double().T.contiguous().T), run.decode(mean))
    hopfield = hvae.ModernHopfield(z)
    equal(hopfield.energy(z, 1.0), hopfield.energy(mean, 1.0))


def test_arrays_are_read_where_they_are(run):
    def copied(array):
        tracemalloc.start()
        run.encode(array)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak / array.nbytes

    x = numpy.zeros((1000, 28, 28), "f4")
    for array in [x, x.reshape(1000, -1), x.astype("u1"), x.astype("f8"), x.astype(bool)]:
        assert copied(array) < 0.1, array.dtype
    # What NumPy copies is seen.
    assert copied(numpy.asfortranarray(x)) > 0.9


def wrong(images):
    nan = images.copy()
    nan[2, 3, 4] = numpy.nan
    bright = images * 2
    return {
        "image 2, row 3, column 4 is not a number": nan,
        "pixels given as floats run from 0 to 1": bright,
        "images of 27x28, but the run has images of 28x28": images[:, 1:],
        "is not that of images": images[0, 0],
        "is 256, but whole numbers run from 0 to 255": numpy.full((1, 28, 28), 256),
        "holds no image": images[:0],
        "is in colour": numpy.zeros((1, 28, 28, 3), "f4"),
    }


def test_wrong_images_are_refused(run, images):
    for part, x in wrong(images["inputs"][:4]).items():
        for use in [run.encode, run.reconstruct, run.elbo, run.nll, run.free_energy]:
            with pytest.raises(ValueError, match=part):
                use(x)
    for x in [None, "text", object(), numpy.zeros((2, 28, 28), complex)]:
        with pytest.raises(TypeError, match="not numbers"):
            run.encode(x)


def test_wrong_arguments_are_refused(run, images, tmp_path):
    z = numpy.zeros((2, 3), "f4")
    cases = [
        (lambda: run.decode(z[:, :2]), ValueError, r"shape \[2, 2\], but \[N, 3\]"),
        (lambda: run.decode(z * numpy.nan), ValueError, "row 0 is not a finite number"),
        (lambda: run.nll(images["inputs"], k=0), ValueError, "at least one latent"),
        (lambda: run.relax(z, damping=1.0), Exception, "damping"),
        (lambda: run.sample(2, source="nowhere"), ValueError, "prior, mixture"),
        (lambda: run.sample(-1), OverflowError, "negative"),
        (lambda: run.gradcheck(images["inputs"], nudge=0.0), ValueError, "nudge"),
        (lambda: hvae.Run(tmp_path), RuntimeError, "is not a run"),
        (lambda: hvae.Run(run.path, checkpoint="first"), ValueError, "latest, best or a step"),
        (lambda: hvae.Run(run.path, device="tpu"), ValueError, "unknown device"),
    ]
    for use, kind, part in cases:
        with pytest.raises(kind, match=part):
            use()


def test_a_closed_run_is_refused(run):
    with hvae.Run(run.path) as other:
        assert other.latent == 3 and other.size == (28, 28)
    for use in [lambda: other.latent, lambda: other.sample(1), lambda: other.weights()]:
        with pytest.raises(ValueError, match="is closed"):
            use()


def test_runs_in_two_threads_do_not_disturb_each_other(run):
    other = hvae.Run(run.path, checkpoint="best")
    alone = [model.sample(300, seed=1) for model in (run, other)]
    with ThreadPoolExecutor() as pool:
        both = [(k, pool.submit((run, other)[k].sample, 300, seed=1)) for k in [0, 1] * 6]
        for k, sample in both:
            equal(sample.result(), alone[k])


def test_other_threads_run_while_it_computes(run, images):
    done, turns = threading.Event(), 0

    def work():
        run.nll(images["inputs"], k=400)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not done.wait(0.001):
        turns += 1
    thread.join()
    # With the GIL held it would be one or two.
    assert turns > 5


def test_a_thousand_calls_keep_no_memory(run):
    def resident():
        gc.collect()
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    z, x = numpy.zeros((20, 3), "f4"), numpy.zeros((20, 28, 28), "f4")
    for _ in range(100):
        run.encode(x)
        run.decode(z)
    before = resident()
    for _ in range(500):
        run.encode(x)
        run.decode(z)
    # The results of half of the calls would be 31 MB.
    assert resident() - before < 10e6
