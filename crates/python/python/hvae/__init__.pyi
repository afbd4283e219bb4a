from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Settings = Mapping[str, Any]
Subject = ArrayLike | str | PathLike[str]
Parts = ArrayLike | tuple[ArrayLike, ArrayLike | None]

__all__: list[str]
__version__: str

class Outcome:
    @property
    def converged(self) -> NDArray[np.bool_]: ...
    @property
    def iterations(self) -> NDArray[np.int64]: ...
    @property
    def residual(self) -> Doubles: ...

class Run:
    def __init__(
        self,
        path: str | PathLike[str],
        checkpoint: str = "latest",
        device: str = "cpu",
    ) -> None: ...
    @property
    def path(self) -> PathLike[str]: ...
    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def latent(self) -> int: ...
    @property
    def config(self) -> dict[str, dict[str, Any]]: ...
    def encode(self, x: ArrayLike) -> tuple[Floats, Floats]: ...
    def decode(self, z: ArrayLike) -> Floats: ...
    def sample(
        self,
        n: int,
        seed: int = 0,
        source: Literal["prior", "mixture"] = "prior",
        data_dir: str | PathLike[str] | None = None,
    ) -> Floats: ...
    def reconstruct(self, x: ArrayLike) -> Floats: ...
    def elbo(self, x: ArrayLike, k: int = 200, seed: int = 0) -> Doubles: ...
    def nll(self, x: ArrayLike, k: int = 200, seed: int = 0) -> Doubles: ...
    def free_energy(self, x: ArrayLike) -> Floats: ...
    def relax(
        self, z: ArrayLike, sweeps: int = 40, damping: float = 0.0, seed: int = 0
    ) -> dict[str, Floats]: ...
    def weights(self) -> dict[str, Floats]: ...
    def gradcheck(
        self, x: ArrayLike, nudge: float | None = None, sweeps: int = 60
    ) -> dict[str, tuple[float, float]]: ...
    def close(self) -> None: ...
    def __enter__(self) -> Run: ...
    def __exit__(self, *_exception: object) -> None: ...

class Equilibrium:
    @property
    def states(self) -> dict[str, Floats]: ...
    @property
    def outcome(self) -> Outcome: ...

class HopfieldNetwork:
    def __init__(
        self,
        layers: Sequence[Settings],
        couplings: Sequence[tuple[str, str] | tuple[str, str, int]],
        seed: int = 0,
        device: str = "cpu",
    ) -> None: ...
    @property
    def layers(self) -> list[tuple[str, int]]: ...
    def energy(self, states: Mapping[str, ArrayLike]) -> Floats: ...
    def equilibrium(
        self,
        clamped: Mapping[str, ArrayLike],
        tolerance: float = 1e-6,
        sweeps: int = 200,
        damping: float = 0.0,
    ) -> Equilibrium: ...
    def gradients(
        self,
        equilibrium: Equilibrium,
        forces: Mapping[str, ArrayLike],
        nudge: float = 1e-3,
        nudging: Literal["centred", "positive", "negative"] = "centred",
    ) -> dict[str, Any]: ...
    def weights(self) -> dict[str, Floats]: ...
    def set_weights(self, weights: Mapping[str, ArrayLike]) -> None: ...

class ModernHopfield:
    def __init__(self, patterns: ArrayLike, device: str = "cpu") -> None: ...
    def retrieve(
        self,
        x: ArrayLike,
        beta: float | Sequence[float],
        tolerance: float = 1e-6,
        max_iterations: int = 1000,
    ) -> tuple[Floats, Outcome]: ...
    def energy(self, x: ArrayLike, beta: float | Sequence[float]) -> Floats: ...
    def thresholds(self) -> dict[str, float] | None: ...
    def log_density(self, x: ArrayLike, beta: float) -> Doubles: ...
    def sample(self, n: int, beta: float, seed: int = 0) -> Floats: ...

def train(
    config: str | PathLike[str] | Mapping[str, Settings] | None = None,
    *,
    training: Settings | None = None,
    data: Settings | None = None,
    model: Settings | None = None,
    ep: Settings | None = None,
    images: Parts | None = None,
    labels: Parts | None = None,
    runs: str | PathLike[str] = "checkpoints",
    name: str | None = None,
    resume: str | PathLike[str] | None = None,
    epochs: int | None = None,
    device: str = "cpu",
    data_dir: str | PathLike[str] | None = None,
    callback: Callable[[dict[str, Any]], object] | None = None,
) -> Run: ...
def fid(a: Subject, b: Subject, **settings: Any) -> float: ...
def kid(a: Subject, b: Subject, **settings: Any) -> dict[str, Any]: ...
def prdc(a: Subject, b: Subject, **settings: Any) -> dict[str, Any]: ...
def solve(
    f: Callable[[Floats], ArrayLike],
    x0: ArrayLike,
    method: Literal["anderson", "damped", "picard"] = "anderson",
    *,
    tolerance: float = 1e-6,
    max_iterations: int = 200,
    memory: int = 5,
    mixing: float = 1.0,
    damping: float = 0.0,
) -> tuple[Floats, Outcome]: ...
