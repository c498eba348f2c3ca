"""Throw-away containers for the tests of images: no network, what compose/ grants and no more, always
removed."""

import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from osbox import run, waiting
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.engine.info import State
from osbox.errors import Error
from osbox.images.runspec import RunSpec

LABEL = "io.osbox.test"
RUN_SECONDS = 180  # on a busy machine; loading all programs of a project takes seconds
HEALTHY_SECONDS = 120
TURN_SECONDS = 60  # until an illness is told, or a recovery; both take seconds, but on a busy machine
POLL_SECONDS = 0.5


class Sandbox:
    """Containers of one test run; a label of its own finds them all."""

    def __init__(self, engine: Engine, scratch: Path) -> None:
        self.engine = engine
        self.scratch = scratch
        self._label = f"{LABEL}={os.getpid()}"
        self._numbers = itertools.count()

    def __enter__(self) -> "Sandbox":
        self.scratch.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Remove what is left; raises Error when the engine does not, unless the block raised."""
        why = self._remove_all()
        if why and kind is None:
            raise Error(
                "the engine does not remove containers of the tests",
                evidence=why,
                hint=f"find them by the label {self._label}",
            )

    def _remove_all(self) -> str:
        """Remove the containers of this run; returns "" or what the engine said.

        It refuses a removal while another one of the same container goes on, which a busy disk draws out.
        """
        refusal = ""

        def gone() -> bool:
            nonlocal refusal
            if names := self._containers():
                result = docker.docker(self.engine, "rm", "--force", "--volumes", *names, check=False)
                refusal = result.err.strip()
                return not refusal and not self._containers()
            return True

        if waiting.happens(gone, TURN_SECONDS, poll=POLL_SECONDS):
            return ""
        return refusal or f"still there: {' '.join(self._containers())}"

    def _containers(self) -> list[str]:
        return docker.ids(self.engine, "container", f"label={self._label}")

    def run(self, tag: str, spec: RunSpec, command: list[str], *options: str, text: str = "") -> run.Result:
        """Run an image to its end; text is its standard input."""
        argv = self.engine.argv(
            "docker",
            "run",
            "--rm",
            "--interactive",
            *self._identity(tag, options),
            *spec.options(),
            *options,
            tag,
            *command,
        )
        with docker.direct(self.engine, self.scratch) as env:
            return run.run(argv, input=text, check=False, timeout=RUN_SECONDS, env=env)

    @contextmanager
    def started(self, tag: str, spec: RunSpec, *options: str) -> Iterator[str]:
        """A container of the image with its own command, with quick health checks, for the time of the
        block."""
        # One failure is told at once, after it was well for the first time; until then, none counts.
        quick = [
            "--health-interval=1s",
            "--health-start-interval=1s",
            "--health-timeout=4s",
            "--health-retries=1",
        ]
        quick += [f"--health-start-period={HEALTHY_SECONDS}s"]
        argv = ["run", "--detach", *self._identity(tag, options), *quick, *spec.options(), *options, tag]
        with docker.direct(self.engine, self.scratch) as env:
            name = docker.docker(self.engine, *argv, env=env).out.strip()
        try:
            yield name
        finally:
            docker.docker(self.engine, "rm", "--force", "--volumes", name, check=False)

    def until_healthy(self, name: str) -> str:
        """Wait for a container's health; returns "" or why it is not healthy."""
        state = self._settled(name, lambda state: state.health in ("healthy", ""), HEALTHY_SECONDS)
        if state.health == "healthy":
            return ""
        if not state.running:
            return f"it ended with exit code {state.exit_code}: {self._last_line(name)}"
        if not state.health:
            return "and nothing says whether it is well"
        return (
            f"not healthy within {HEALTHY_SECONDS} s: {_last_check(state)}; its log: {self._last_line(name)}"
        )

    def until(self, name: str, health: str) -> bool:
        """Wait for a container's health (healthy, unhealthy); False if it did not come, or the container
        ended."""
        return self._settled(name, lambda state: state.health == health, TURN_SECONDS).health == health

    def _settled(self, name: str, settled: Callable[[State], bool], seconds: float) -> State:
        """The state of a container as soon as it is settled or the container has ended; the last one that was
        seen when the time is over."""
        state = self._state(name)

        def look() -> bool:
            nonlocal state
            state = self._state(name)
            return settled(state) or not state.running

        waiting.happens(look, seconds, poll=POLL_SECONDS)
        return state

    @contextmanager
    def standing_still(self, name: str) -> Iterator[None]:
        """Stop all processes of a container for the time of the block.

        Its first one takes such signals from outside only.
        """
        try:
            self._signal_all(name, "STOP")
            docker.docker(self.engine, "kill", "--signal=STOP", name)
            yield
        finally:
            docker.docker(self.engine, "kill", "--signal=CONT", name, check=False)
            self._signal_all(name, "CONT")

    def _signal_all(self, name: str, signal: str) -> None:
        """Signal all but the first process; there may be no other."""
        docker.docker(
            self.engine, "exec", name, "sh", "-c", f"kill -{signal} -1", check=False, timeout=RUN_SECONDS
        )

    def end(self, name: str, grace: int) -> tuple[int, float]:
        """Ask a container to end, and kill it after its grace period (seconds); returns its exit code and the
        seconds it took.

        Raises Error when it had ended before.
        """
        state = self._state(name)
        if not state.running:
            raise Error(f"it ended with exit code {state.exit_code}: {self._last_line(name)}")
        begin = time.monotonic()
        docker.docker(self.engine, "stop", f"--time={grace}", name, timeout=grace + RUN_SECONDS)
        return self._state(name).exit_code, time.monotonic() - begin

    def _state(self, name: str) -> State:
        """How a container is; raises Error when somebody has removed it."""
        found = docker.container(self.engine, name)
        if not found:
            raise Error(f"the test's container {name[:12]} was removed")
        return found.state

    def _last_line(self, name: str) -> str:
        result = docker.ask(self.engine, "logs", "--tail", "1", name, check=False)
        return run.tail(result.out + result.err, 1)

    def _identity(self, tag: str, options: Sequence[str]) -> list[str]:
        image = tag.partition(":")[0]
        name = f"osbox-test-{image}-{os.getpid()}-{next(self._numbers)}"
        joins = any(
            option.startswith("--network=") for option in options
        )  # another container, whose name and addresses it has
        return [
            "--name",
            name,
            "--label",
            self._label,
            *([] if joins else ["--network=none", "--hostname", image.removeprefix("os-")]),
        ]


def secrets(scratch: Path, names: set[str]) -> list[str]:
    """Make up secrets; returns the options that mount them where images look for them."""
    directory = scratch / "secrets"
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        file = directory / name
        if not file.exists():
            file.write_text(os.urandom(12).hex() + "\n")
    return [f"--volume={directory}:/run/secrets:ro"]


def require(result: run.Result, what: str) -> str:
    """The output of a container that must have ended well; raises Error otherwise."""
    if result.code != 0:
        raise Error(f"{what} ended with exit code {result.code}: {run.tail(result.err or result.out, 1)}")
    return result.out


def _last_check(state: State) -> str:
    return (state.health_log or ("no check ran",))[-1].strip()[-200:]
