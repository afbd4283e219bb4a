"""Networks of one's own: energies, equilibria, gradients, patterns and fixed points."""

import numpy
import pytest

import hvae

LAYERS = [
    {"name": "input", "units": 5, "bias": False},
    {"name": "hidden", "units": 12, "activation": "tanh", "shape": (3, 4)},
    {"name": "output", "units": 3, "activation": "sigmoid", "gain": 2.0},
]
COUPLINGS = [
    ("input", "hidden"),
    ("hidden", "output"),
    ("input", "output"),
    ("hidden", "hidden", 1),
]


@pytest.fixture
def network():
    return hvae.HopfieldNetwork(LAYERS, COUPLINGS, seed=2)


@pytest.fixture
def data():
    rng = numpy.random.default_rng(1)
    return rng.normal(size=(6, 5)).astype("f4"), rng.uniform(size=(6, 3)).astype("f4")


def conjugate(activation, s):
    if activation == "tanh":
        return ((1 + s) * numpy.log(1 + s) + (1 - s) * numpy.log(1 - s)) / 2
    if activation == "sigmoid":
        return s * numpy.log(s) + (1 - s) * numpy.log(1 - s)
    return s**2 / 2


def test_the_energy_is_its_formula(network, data):
    x, y = data
    states = {"input": x, "hidden": numpy.tanh(numpy.arange(72.0).reshape(6, 12) / 40), "output": y}
    weights, expected = network.weights(), 0
    for layer in LAYERS:
        s = states[layer["name"]].astype("f8")
        own = conjugate(layer.get("activation"), s) / layer.get("gain", 1.0)
        expected = expected + (own - s * weights.get(layer["name"] + " bias", 0)).sum(1)
    for a, b in [("input", "hidden"), ("hidden", "output"), ("input", "output")]:
        expected = expected - numpy.einsum("ni,ij,nj->n", states[a], weights[f"{a}-{b}"], states[b])
    s, within = states["hidden"], weights["hidden-hidden"]
    numpy.testing.assert_array_equal(within, within.T)
    assert within[0, 1] != 0 and within[0, 2] == 0
    expected = expected - numpy.einsum("ni,ij,nj->n", s, within, s) / 2
    numpy.testing.assert_allclose(network.energy(states), expected, rtol=1e-5)


def test_an_equilibrium_is_a_fixed_point(network, data):
    found = network.equilibrium({"input": data[0]}, damping=0.3)
    outcome, s, w = found.outcome, found.states, network.weights()
    assert outcome.converged.all() and (outcome.residual <= 1e-6).all()
    assert (outcome.iterations > 1).all() and outcome.iterations.shape == (6,)
    drive = s["input"] @ w["input-output"] + s["hidden"] @ w["hidden-output"] + w["output bias"]
    expected = 1 / (1 + numpy.exp(-2 * drive))
    numpy.testing.assert_allclose(s["output"], expected, atol=1e-5)
    early = network.equilibrium({"input": data[0]}, sweeps=1).outcome
    assert not early.converged.any() and (early.iterations == 1).all()


def cost(network, x, y):
    states = network.equilibrium({"input": x}, damping=0.3, tolerance=1e-7, sweeps=500).states
    return ((states["output"].astype("f8") - y) ** 2).sum(1) / 2


def test_gradients_are_those_of_finite_differences(network, data):
    x, y = data
    free = network.equilibrium({"input": x}, damping=0.3)
    found = network.gradients(free, {"output": free.states["output"] - y})
    assert found["outcome"].converged.shape == (12,) and found["beta"] > 0
    weights, step = network.weights(), 1e-2
    assert set(found["weights"]) == set(weights)
    for name, place in [
        ("input-hidden", (2, 3)),
        ("hidden-output", (1, 2)),
        ("input-output", (0, 1)),
        ("hidden bias", (4,)),
        ("output bias", (1,)),
        ("hidden-hidden", (0, 1)),
    ]:
        costs = []
        for sign in [1, -1]:
            changed = weights[name].copy()
            changed[place] += sign * step
            if name == "hidden-hidden":
                changed[place[::-1]] += sign * step
            network.set_weights({name: changed})
            costs.append(cost(network, x, y).mean())
            network.set_weights(weights)
        slope = (costs[0] - costs[1]) / (2 * step)
        gradient = found["weights"][name][place] * (2 if name == "hidden-hidden" else 1)
        assert abs(gradient - slope) < 1e-2 * abs(slope) + 2e-5, name
    moved = x.copy()
    moved[:, 1] += step
    other = x.copy()
    other[:, 1] -= step
    slope = (cost(network, moved, y) - cost(network, other, y)) / (2 * step)
    numpy.testing.assert_allclose(found["inputs"]["input"][:, 1], slope, rtol=2e-2, atol=1e-4)


def test_gradients_lower_a_cost(network, data):
    x, y = data
    before = cost(network, x, y).mean()
    for _ in range(20):
        free = network.equilibrium({"input": x}, damping=0.3)
        found = network.gradients(free, {"output": free.states["output"] - y}, nudging="positive")
        weights = network.weights()
        network.set_weights({k: weights[k] - 0.5 * g for k, g in found["weights"].items()})
    assert cost(network, x, y).mean() < 0.6 * before


def test_mistakes_in_networks_are_named(network, data):
    x, y = data
    free = network.equilibrium({"input": x})
    build = hvae.HopfieldNetwork
    for use, part in [
        (lambda: build([{"name": "a", "units": 2, "activations": "tanh"}], []), "activations"),
        (lambda: build([{"name": "a", "units": 2, "activation": "gelu"}], []), "gelu"),
        (lambda: build([{"name": "a", "units": 2, "shape": (2, 2)}], []), "does not have 2 units"),
        (lambda: build(LAYERS, [("input", "nowhere")]), "no layer \"nowhere\""),
        (lambda: build(LAYERS + LAYERS[:1], []), "two layers are named"),
        (lambda: build(LAYERS, COUPLINGS[:1] * 2), "given twice"),
        (lambda: network.energy({"input": x}), "1 states for 3 layers"),
        (lambda: network.equilibrium({}), "needs a clamped layer"),
        (lambda: network.equilibrium({"input": y}), r"\[N, 5\]"),
        (lambda: network.equilibrium({"input": x * numpy.inf}), "row 0 is not a finite"),
        (lambda: network.equilibrium({"input": x}, damping=1.0), "damping"),
        (lambda: network.equilibrium({"input": x}, tolerance=-1.0), "rtol"),
        (lambda: network.gradients(free, {"input": x}), "does not relax"),
        (lambda: network.gradients(free, {"output": y[:2]}), "shape"),
        (lambda: network.gradients(free, {"output": y}, nudge=0.0), "nudge"),
        (lambda: network.gradients(free, {"output": y}, nudging="up"), "nudging"),
        (lambda: network.set_weights({"a-b": x}), "no parameter"),
        (lambda: network.set_weights({"input-hidden": numpy.zeros((4, 12))}), r"\[5, 12\]"),
        (lambda: network.set_weights({"hidden bias": numpy.zeros(4)}), r"\[N, 12\]"),
        (lambda: network.set_weights({"hidden-hidden": numpy.ones((12, 12))}), "not symmetric"),
    ]:
        with pytest.raises(ValueError, match=part):
            use()


def test_patterns_are_retrieved():
    patterns = numpy.eye(4, 6, dtype="f4") * 3
    network = hvae.ModernHopfield(patterns)
    start = patterns + 0.3 * numpy.random.default_rng(3).normal(size=patterns.shape)
    found, outcome = network.retrieve(start, 2.0)
    assert outcome.converged.all()
    numpy.testing.assert_allclose(found, patterns, atol=1e-2)
    melted, _ = network.retrieve(start, [0.01] * 4)
    numpy.testing.assert_allclose(melted, numpy.tile(patterns.mean(0), (4, 1)), atol=1e-3)
    x, beta = start.astype("f8"), 2.0
    energy = -numpy.log(numpy.exp(beta * x @ patterns.T).sum(1)) / beta + (x**2).sum(1) / 2
    energy += numpy.log(4) / beta + 9 / 2
    numpy.testing.assert_allclose(network.energy(start, beta), energy, atol=1e-4)


def test_thresholds_are_in_units_of_beta():
    patterns = numpy.eye(3, dtype="f4") * 2
    found = hvae.ModernHopfield(patterns).thresholds()
    # D^2 = 8, so beta_eff = 4 beta; the values for three patterns are known.
    numpy.testing.assert_allclose(
        [found[b] * 4 for b in ("b1", "b2", "b3")], [2.7456, 2.7726, 3.0], atol=1e-4
    )
    assert hvae.ModernHopfield(patterns[:1]).thresholds() is None


def test_the_density_of_a_modern_network_is_a_mixture():
    patterns = numpy.array([[1.0, 0.0], [0.0, 2.0]], "f4")
    network, beta = hvae.ModernHopfield(patterns), 1.5
    x = numpy.random.default_rng(1).normal(size=(5, 2))
    weights = numpy.exp(beta * (patterns**2).sum(1) / 2)
    weights /= weights.sum()
    squares = ((x[:, None] - patterns) ** 2).sum(2)
    density = (weights * numpy.exp(-beta * squares / 2)).sum(1) * beta / (2 * numpy.pi)
    numpy.testing.assert_allclose(network.log_density(x, beta), numpy.log(density), atol=1e-4)
    samples = network.sample(20000, beta, seed=1)
    numpy.testing.assert_allclose(samples.mean(0), weights @ patterns, atol=0.05)
    numpy.testing.assert_array_equal(samples, network.sample(20000, beta, seed=1))
    with pytest.raises(ValueError, match="beta"):
        network.log_density(x, 0.0)
    with pytest.raises(ValueError, match="2 values of beta for 5 states"):
        network.energy(x, [1.0, 2.0])
    with pytest.raises(ValueError, match="not a finite number"):
        hvae.ModernHopfield(patterns * numpy.nan)


@pytest.mark.parametrize("method", ["anderson", "damped", "picard"])
def test_fixed_points_of_a_function_are_found(method):
    targets = numpy.linspace(0.2, 1.1, 12).reshape(4, 3).astype("f4")
    found, outcome = hvae.solve(lambda x: targets * numpy.cos(x), numpy.zeros((4, 3)), method)
    numpy.testing.assert_allclose(targets * numpy.cos(found), found, atol=1e-5)
    assert outcome.converged.all() and (outcome.residual <= 1e-6).all()


def test_not_converging_is_an_outcome_of_its_sample():
    growth = numpy.array([[0.5], [2.0]], "f4")
    x0 = numpy.ones((2, 1))
    _, outcome = hvae.solve(lambda x: growth * x + 1, x0, "picard", max_iterations=60)
    assert outcome.converged.tolist() == [True, False]
    assert outcome.iterations.tolist()[1] == 60
    shape = (2, 3, 4)
    found, _ = hvae.solve(lambda x: 0.5 * x + 1, numpy.zeros(shape))
    assert found.shape == shape


def test_mistakes_in_a_function_are_raised():
    def broken(x):
        raise KeyError("mine")

    x0 = numpy.zeros((2, 3))
    with pytest.raises(KeyError, match="mine"):
        hvae.solve(broken, x0)
    with pytest.raises(ValueError, match=r"shape \[2, 2\] for an argument of \[2, 3\]"):
        hvae.solve(lambda x: x[:, :2], x0)
    with pytest.raises(TypeError, match="not numbers"):
        hvae.solve(lambda x: x.astype(str), x0)
    with pytest.raises(ValueError, match="anderson, damped or picard"):
        hvae.solve(lambda x: x, x0, "newton")
    with pytest.raises(ValueError, match="memory"):
        hvae.solve(lambda x: x, x0, memory=0)
    with pytest.raises(ValueError, match=r"\[N, ...\]"):
        hvae.solve(lambda x: x, numpy.zeros(3))
