"""Workers on a Ray cluster, each with an engine of one process.

Each worker takes the next piece of work when it is free. What a dead worker had not answered is asked again of others.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray.exceptions import RayActorError, RayTaskError

from rft_pipeline.engines.settings import EngineRuntime, WorkerRuntime
from rft_pipeline.errors import EngineError, ModelError, RftError
from rft_pipeline.models.installed import hash_with_base

if TYPE_CHECKING:
    import torch

MOST_DEATHS = 3
"""Workers that may die with the same piece, and workers in a row that may die while they start."""
START_SECONDS = 600.0
"""How long to wait while no worker is there."""

Arrays = dict[str, tuple[str, tuple[int, ...], Any]]
"""Format, shape and bytes of each tensor."""


class Worker:
    """An actor with one engine."""

    def __init__(self, runtime: WorkerRuntime) -> None:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[name] = str(runtime.cpus)
        if not runtime.gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        self.runtime = runtime
        self.engine: Any = None

    def load(self, folder: Path, rewards: bool, weights: Arrays | None) -> tuple[str, int]:
        """Load the engine; the hash of its folder, and the engine's context."""
        from rft_pipeline.engines import load

        self.engine = (load.load_reward_model if rewards else load.load_engine)(folder, self.runtime)
        if weights is not None:
            self.take_weights(weights)
        return hash_with_base(folder), getattr(self.engine, "context", 0)

    def take_weights(self, weights: Arrays) -> None:
        self.engine.take_weights(_tensors(weights))

    def answer(self, method: str, requests: list[Any], how: tuple[Any, ...]) -> Iterator[Any]:
        """Yield what the engine's method yields or returns."""
        found = getattr(self.engine, method)(requests, *how)
        if method == "generate":
            yield from found
        else:
            yield found

    def pid(self) -> int:
        return os.getpid()


@dataclass
class Piece:
    """Requests for one worker."""

    method: str
    requests: list[Any]
    how: tuple[Any, ...] = ()
    places: tuple[int, list[int]] = (0, [])
    """The part that it belongs to, and the places of its requests there."""
    answers: "deque[tuple[Piece, Any]]" = field(default_factory=deque)
    deaths: int = 0


class Pool:
    """The workers of one model."""

    def __init__(self, folder: Path, runtime: EngineRuntime, rewards: bool = False) -> None:
        self.folder, self.runtime, self.rewards = folder.resolve(), runtime.worker, rewards
        self.size = runtime.workers
        self.content = hash_with_base(folder)
        self.reserves_cpus = _connect(self.runtime)
        self.weights: Any = None
        self.context = 0
        self.idle: list[Any] = []
        self.starting: dict[Any, Any] = {}
        self.running: dict[Any, tuple[Any, Piece]] = {}
        self.waiting: deque[Piece] = deque()
        self.failed_starts = 0
        for _ in range(self.size):
            self._start()
        try:
            while not self.idle:
                self._step()
        except BaseException:
            self.close()
            raise

    @property
    def workers(self) -> list[Any]:
        return [*self.idle, *self.starting.values(), *(worker for worker, _ in self.running.values())]

    def run(self, pieces: Iterable[Piece]) -> Iterator[tuple[Piece, Any]]:
        """What the workers answer to each piece, as it arrives."""
        answers: deque[tuple[Piece, Any]] = deque()
        rest, more = iter(pieces), True
        while True:
            while more and len(self.waiting) < self.size:
                if (piece := next(rest, None)) is None:
                    more = False
                else:
                    piece.answers = answers
                    self.waiting.append(piece)
            self._hand_out()
            while answers:
                yield answers.popleft()
            under_way = [*self.waiting, *(piece for _, piece in self.running.values())]
            if any(piece.answers is answers for piece in under_way):
                self._step()
            elif not more:
                return

    def take_weights(self, weights: Iterable[tuple[str, "torch.Tensor"]]) -> None:
        """Hand the weights to all workers through the object store, and keep them for workers that start later."""
        while self.running or self.starting:
            self._step()
        self.weights = ray.put(_arrays(weights))
        taken = {worker.take_weights.remote(self.weights): worker for worker in self.idle}
        for ref, worker in taken.items():
            try:
                ray.get(ref)
            except RayActorError:
                self.idle.remove(worker)
                self._start()
            except RayTaskError as error:
                raise _cause(error) from None

    def close(self) -> None:
        for worker in self.workers:
            ray.kill(worker)
        self.idle, self.starting, self.running, self.waiting = [], {}, {}, deque()

    def _start(self) -> None:
        how = {"num_cpus": self.runtime.cpus if self.reserves_cpus else 0, "num_gpus": self.runtime.gpus}
        worker = ray.remote(Worker).options(**how).remote(self.runtime)
        self.starting[worker.load.remote(self.folder, self.rewards, self.weights)] = worker

    def _hand_out(self) -> None:
        while self.waiting and self.idle:
            piece, worker = self.waiting.popleft(), self.idle.pop()
            answer = worker.answer.options(num_returns="streaming")
            self.running[answer.remote(piece.method, piece.requests, piece.how)] = worker, piece

    def _step(self) -> None:
        """Wait until a worker has started, answered or died."""
        ready, _ = ray.wait([*self.running, *self.starting], timeout=None if self.running else START_SECONDS)
        if not ready:
            raise EngineError(
                f"no Ray worker started within {START_SECONDS:g} s: each needs {self.runtime.cpus} CPUs and "
                f"{self.runtime.gpus:g} GPUs; the cluster has {_resources()}"
            )
        try:
            if ready[0] in self.starting:
                self._started(ready[0])
            else:
                self._answered(ready[0])
        except RayTaskError as error:
            raise _cause(error) from None
        self._hand_out()

    def _started(self, ref: Any) -> None:
        worker = self.starting.pop(ref)
        try:
            content, self.context = ray.get(ref)
        except RayActorError as error:
            self.failed_starts += 1
            if self.failed_starts < MOST_DEATHS:
                self._start()
            elif not self.workers:
                raise EngineError(f"Ray workers die while they start: {_line(error)}") from None
            return
        if content != self.content:
            ray.kill(worker)
            raise ModelError(
                f"{self.folder}: a Ray worker found other weights there; nothing may change them meanwhile"
            )
        self.failed_starts = 0
        self.idle.append(worker)

    def _answered(self, stream: Any) -> None:
        worker, piece = self.running[stream]
        try:
            answer = ray.get(next(stream))
        except StopIteration:
            del self.running[stream]
            self.idle.append(worker)
        except RayActorError as error:
            del self.running[stream]
            self._died(piece, error)
        else:
            piece.answers.append((piece, answer))
            if piece.method == "generate":
                done = {each.request_id for each in answer}
                piece.requests = [each for each in piece.requests if each.request_id not in done]

    def _died(self, piece: Piece, error: RayActorError) -> None:
        self._start()
        piece.deaths += 1
        if piece.deaths == MOST_DEATHS:
            raise EngineError(
                f"{MOST_DEATHS} Ray workers died with the same {len(piece.requests)} requests: {_line(error)}"
            )
        if piece.requests:
            self.waiting.appendleft(piece)


def _connect(runtime: WorkerRuntime) -> bool:
    """Join the cluster of `RAY_ADDRESS`, or start a local one; whether workers reserve CPU cores."""
    address = os.environ.get("RAY_ADDRESS")
    if not ray.is_initialized():
        main = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGTERM) if main else None
        plain: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        local = {"num_cpus": 1, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        try:
            ray.init(address=address or "local", **plain, **({} if address else local))
        except (ConnectionError, RuntimeError, ValueError) as error:
            token = "; if the cluster asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN" if address else ""
            raise EngineError(f"Ray does not start (RAY_ADDRESS {address or 'is not set'}): {error}{token}") from error
        finally:
            if before is not None:
                signal.signal(signal.SIGTERM, before)  # Ray sets its own
    if not address and ray.cluster_resources().get("GPU", 0) < runtime.gpus:
        raise EngineError(f"runtime.worker.gpus: {runtime.gpus:g}, but this machine has {_resources()}; lower it")
    return bool(address)


def _resources() -> str:
    found = ray.cluster_resources()
    return f"{found.get('CPU', 0):g} CPUs and {found.get('GPU', 0):g} GPUs"


def _arrays(weights: Iterable[tuple[str, "torch.Tensor"]]) -> Arrays:
    import torch

    found: Arrays = {}
    for name, tensor in weights:
        here = tensor.detach().cpu().contiguous()
        found[name] = str(here.dtype).removeprefix("torch."), tuple(here.shape), here.view(-1).view(torch.uint8).numpy()
    return found


def _tensors(arrays: Arrays) -> Iterator[tuple[str, "torch.Tensor"]]:
    import torch

    for name, (kind, shape, data) in arrays.items():
        yield name, torch.from_numpy(data.copy()).view(getattr(torch, kind)).view(shape)


def _cause(error: RayTaskError) -> RftError:
    cause = error.cause
    return cause if isinstance(cause, RftError) else EngineError(f"a Ray worker failed: {_line(cause)}")


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]
