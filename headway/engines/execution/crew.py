"""The workers of one run, as the run sees them: it starts the fork server, asks keepers for workers, and calls them."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import msgspec

from headway.engines.execution.endings import Stopped, TimedOut, WorkerLost
from headway.engines.execution.forks import COLD, END, FORK, GONE, KEEP, READY, REPORT
from headway.engines.execution.output import StepOutput
from headway.engines.execution.wire import Answer, Ask, Call, Done, Failed, Line, Opening
from headway.engines.pipelines import scratch
from headway.errors import Unavailable
from headway.lifecycle.runs.limits import StepLimits

_TICK_S = 0.25
_ATTEMPTS, _AGAIN_S = 5, 0.1
_PATIENCE_S = 30.0
_OUTPUT_BYTES = 64 * 1024


class Crew:
    """`command` starts a fork server, with the number of a socket behind it; `serve` answers what steps ask of the
    platform. The fork server is started with the first worker, and once more whenever it is gone."""

    def __init__(
        self, command: Sequence[str], opening: Opening, serve: Callable[[Ask], Answer],
        env: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self._command, self._opening, self.serve, self._env = tuple(command), opening, serve, env
        self._starting = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def keeper(self) -> socket.socket:
        """The line to a new keeper."""
        with self._starting:
            for _ in range(2):
                ours, theirs = socket.socketpair()
                try:
                    control = self._server()
                    socket.send_fds(control, [KEEP], [theirs.fileno()])
                except OSError:
                    self._gone()
                    ours.close()
                else:
                    return ours
                finally:
                    theirs.close()
        raise Unavailable("the fork server of steps does not start; `--in-process` does without it")

    def close(self) -> None:
        """End the fork server; keepers and workers end with it."""
        with self._starting:
            self._gone()

    def _server(self) -> socket.socket:
        if self._control is not None:
            return self._control
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [*self._command, str(theirs.fileno())], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                start_new_session=True, env=dict(self._env) if self._env is not None else None,
            )  # fmt: skip
        self._control = ours
        line = Line(ours)
        line.send(self._opening)
        said = ours.recv(1)
        if said == COLD:
            line.send(msgspec.structs.replace(self._opening, cold=True))
            said = ours.recv(1)
        if said != READY:
            raise OSError("the fork server ended while it started")
        return ours

    def _gone(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
            scratch.sweep()  # what workers have left that were killed


class StopSignal:
    """A descriptor that can be read from the first `send` on."""

    def __init__(self) -> None:
        self.descriptor, self._write = os.pipe()
        self._sent = False

    def send(self) -> None:
        if not self._sent:
            self._sent = True
            os.write(self._write, b"x")

    def close(self) -> None:
        os.close(self.descriptor)
        os.close(self._write)
        self._sent = True


class StepWorker:
    """A keeper with a worker, for one thread of the run. Both come with the first call and whenever they are gone.
    After `stop` it ends what it is at, and raises `Stopped`."""

    def __init__(self, crew: Crew, stop: StopSignal) -> None:
        self._crew, self._stop = crew, stop.descriptor
        self._keeper: socket.socket | None = None
        self._calls: Line | None = None
        self._relay: Line | None = None
        self._output = -1
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stop, selectors.EVENT_READ)

    def perform(self, call: Call, output: StepOutput, limits: StepLimits) -> Done | Failed:
        """What the step gives. Raises `WorkerLost`, `TimedOut` and `Stopped`."""
        self._hand_over(call, output)
        deadline = time.monotonic() + limits.timeout_s if limits.timeout_s else None
        try:
            answer = self._listen(output, deadline)
        except OSError:
            answer = None
        if answer is None:
            raise WorkerLost(self._how_it_ended(output))
        self._drain(output)
        if call.memory_mb or call.gpus is not None or (isinstance(answer, Done) and answer.retire):
            self.end()
        return answer

    def _hand_over(self, call: Call, output: StepOutput) -> None:
        """Send the call to a worker. One that is gone before it has it costs the step nothing: another is asked for."""
        for left in range(_ATTEMPTS - 1, -1, -1):
            try:
                self._begin()
                assert self._calls
                self._calls.send(call)
                return
            except OSError:
                why = self._how_it_ended(output)
            except WorkerLost as error:
                why = str(error)
            if left:
                time.sleep(_AGAIN_S)
        raise WorkerLost(why)

    def _listen(self, output: StepOutput, deadline: float | None) -> Done | Failed | None:
        """None when the worker is gone."""
        assert self._calls
        assert self._relay
        while True:
            left = _TICK_S if deadline is None else min(_TICK_S, deadline - time.monotonic())
            if left <= 0:
                self.end(output)
                raise TimedOut
            ready = {key.fd for key, _ in self._selector.select(left)}
            if self._stop in ready:
                self.end(output)
                raise Stopped
            if self._output in ready:
                self._read(output)
            if self._relay.fileno() in ready:
                self._answer()
            if self._calls.fileno() in ready:
                for message in self._calls.arrived():
                    if isinstance(message, Done | Failed):
                        return message
                if not self._calls.open:
                    return None
            output.tick()

    def _answer(self) -> None:
        assert self._relay
        for message in self._relay.arrived():
            if isinstance(message, Ask):
                self._relay.send(self._crew.serve(message))
        if not self._relay.open:
            self._unregister(self._relay)

    def _unregister(self, watched: Line | int) -> None:
        with suppress(KeyError):
            self._selector.unregister(watched)

    def _read(self, output: StepOutput) -> bool:
        try:
            data = os.read(self._output, _OUTPUT_BYTES)
        except BlockingIOError:
            return False
        if data:
            output.feed(data)
        else:  # nobody can write any more
            self._unregister(self._output)
        return bool(data)

    def _drain(self, output: StepOutput) -> None:
        while self._read(output):
            pass

    def _begin(self) -> None:
        if self._calls is not None:
            return
        if self._keeper is None:
            self._keeper = self._crew.keeper()
        calls, their_calls = socket.socketpair()
        relay, their_relay = socket.socketpair()
        self._output, their_output = os.pipe()
        os.set_blocking(self._output, False)
        given = [their_calls.fileno(), their_relay.fileno(), their_output]
        try:
            socket.send_fds(self._keeper, [FORK], given)
        except OSError as error:
            self._forget()
            raise WorkerLost("its keeper is gone") from error
        finally:
            their_calls.close()
            their_relay.close()
            os.close(their_output)
        self._calls, self._relay = Line(calls), Line(relay)
        for each in (self._calls, self._relay, self._output):
            self._selector.register(each, selectors.EVENT_READ)
        if self._report(FORK) is None:
            self._forget()
            raise WorkerLost("its keeper is gone")

    def _report(self, *wanted: bytes) -> tuple[bytes, int, int] | None:
        """The next thing that the keeper says and is one of `wanted`; None when it is gone."""
        assert self._keeper
        self._keeper.settimeout(_PATIENCE_S)
        while True:
            try:
                data = self._keeper.recv(REPORT.size, socket.MSG_WAITALL)
            except OSError:
                return None
            if len(data) < REPORT.size:
                return None
            said = REPORT.unpack(data)
            if said[0] in wanted:
                return said[0], said[1], said[2]

    def _how_it_ended(self, output: StepOutput) -> str:
        with suppress(OSError):
            self._drain(output)
        report = self._report(GONE) if self._keeper else None
        if report is None:
            self._forget()
            return "its worker and the worker's keeper were killed"
        self._close_worker()
        status = report[2]
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            hint = "; was there too little memory?" if number in (signal.SIGKILL, signal.SIGABRT) else ""
            return f"its worker was ended by signal {number} ({signal.Signals(number).name}){hint}"
        return f"its worker ended with exit code {os.WEXITSTATUS(status)}"

    def end(self, output: StepOutput | None = None) -> None:
        """End the worker and all that it has started; the keeper stays."""
        if self._keeper is None or self._calls is None:
            return
        try:
            self._keeper.sendall(END)
        except OSError:
            self._forget()
            return
        if self._report(END) is None:
            self._forget()
            return
        if output is not None:
            self._drain(output)
        self._close_worker()

    def _close_worker(self) -> None:
        if self._calls is None or self._relay is None:
            return
        for each in (self._calls, self._relay, self._output):
            self._unregister(each)
        self._calls.close()
        self._relay.close()
        os.close(self._output)
        self._calls = self._relay = None

    def _forget(self) -> None:
        self._close_worker()
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    def close(self) -> None:
        """Let go of both; the keeper ends the worker."""
        self._forget()
        self._selector.close()
