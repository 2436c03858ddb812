"""Connections between the processes of a job, which tell each when another one ends.

JAX aborts what is left of a broken job in C++: immediately if process 0 ended, else after minutes.
Here process 0 serves the coordinator's address, and JAX's own coordination runs through the same
port. JAX therefore sees no closed connection before this module has said which process ended.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

from matting_jax.common_step import PATIENCE, CommonStep

WAIT = 300.0  # seconds until all processes must have joined
RETRY = 0.2  # seconds between tries to reach process 0
# Seconds within which the report of an ended process reaches all others.
SETTLE = 2.0
LIMIT = 1 << 20  # bytes that are passed on at a time
AGAIN = (
    "start all processes again with the same command, which resumes training from the last saved "
    "step"
)


class Peers:
    """One process of a job of `count`; process 0 at `address` (host:port) watches all others."""

    def __init__(self, address: str, index: int, count: int, wait: float = WAIT):
        self.host, port = address.rsplit(":", 1)
        self.host = self.host.strip("[]")
        self.port = int(port)
        self.address, self.index, self.count, self.wait = address, index, count, wait
        self.joined: Future[int] = Future()
        self.connections: dict[int, asyncio.StreamWriter] = {}
        self.finished: set[int] = set()
        self.failed = False
        self.common_step = CommonStep()
        self.steps: dict[int, int] = {}  # of the processes that are held
        self.agreeing = False

    def join(self, bind: str | None = None) -> int:
        """Waits for all processes; returns the local port through which JAX reaches process 0.

        In process 0 JAX's coordinator must listen at that port. `bind` is the address at which
        process 0 listens, by default all of the machine. Raises OSError if it is in use. A process
        in which others are missing after `wait` seconds ends with an error message.
        """
        self.bind = bind.rsplit(":", 1) if bind else [None, self.port]
        threading.Thread(target=self.run, daemon=True).start()
        port = self.joined.result()
        atexit.register(self.leave)
        return port

    def run(self) -> None:
        """Runs this process's side until the process ends."""
        self.loop = asyncio.new_event_loop()
        try:
            self.loop.run_until_complete(self.lead() if self.index == 0 else self.follow())
        except Exception as error:
            if self.joined.done():
                self.end(f"the connection to the other processes broke: {error}; {AGAIN}")
            self.joined.set_exception(error)

    async def lead(self) -> None:
        """Waits for the other processes, and then passes JAX's coordination on to this one."""
        self.local = free_port()
        host, port = self.bind
        host = host.strip("[]") if host else None
        server = await asyncio.start_server(self.accept, None if host == "::" else host, int(port))
        deadline = time.monotonic() + self.wait
        while len(self.connections) < self.count - 1:
            if time.monotonic() > deadline:
                missing = sorted({*range(1, self.count)} - set(self.connections))
                names = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
                await self.end_all(
                    f"{self.count - len(missing)} of {self.count} processes joined within "
                    f"{self.wait:.0f} s, without {names}: see the output of those, and {AGAIN}"
                )
            await asyncio.sleep(RETRY / 4)
        await self.tell_all(b"start\n")
        self.joined.set_result(self.local)
        async with server:
            await server.serve_forever()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection of another process: to be watched by, or for JAX."""
        with suppress(OSError, ValueError):
            words = (await reader.readline()).split()
            if words == [b"data"]:
                service = await connect("127.0.0.1", self.local, self.wait)
                await join_streams(reader, writer, *service)
            elif len(words) == 3 and words[0] == b"process":
                keep_alive(writer)
                await self.watch(int(words[1]), int(words[2]), reader, writer)
        writer.close()

    async def watch(
        self, index: int, count: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Watches process `index`, and ends the job if it ends without having said so."""
        if count != self.count or not 0 < index < count or index in self.connections:
            reason = "twice" if index in self.connections else f"in a job of {self.count}"
            writer.write(f"end process {index} of {count} joined {reason}\n".encode())
            return
        self.connections[index] = writer
        with suppress(OSError):
            while line := await reader.readline():
                if line == b"finished\n":
                    self.finished.add(index)
                elif line == b"stop\n":
                    self.agreement = asyncio.ensure_future(self.agree())
                elif line.startswith(b"at "):
                    self.steps[index] = int(line[3:])
        if index not in self.finished:
            await self.end_all(ended(index, self.count))

    def ask_to_stop(self) -> None:
        """Asks all processes to stop after a common step; a handler of signals may call it."""

        async def ask() -> None:
            if self.index == 0:
                await self.agree()
            else:
                self.connections[0].write(b"stop\n")

        asyncio.run_coroutine_threadsafe(ask(), self.loop)

    async def agree(self) -> None:
        """Lets all processes agree on the step to stop after, once; `CommonStep` says how."""
        if self.agreeing:
            return
        self.agreeing = True
        self.steps = {0: self.common_step.hold()}
        await self.tell_all(b"hold\n")
        deadline = time.monotonic() + PATIENCE / 2
        while len(self.steps) < self.count and time.monotonic() < deadline:
            await asyncio.sleep(RETRY / 20)
        self.agreeing = len(self.steps) == self.count  # else another signal may try again
        last = max(self.steps.values()) + 1 if self.agreeing else 0
        await self.tell_all(f"release {last}\n".encode())
        self.common_step.release(last or None)

    async def tell_all(self, line: bytes) -> None:
        """Sends a line to all other processes."""
        for writer in self.connections.values():
            with suppress(OSError):
                writer.write(line)
                await asyncio.wait_for(writer.drain(), SETTLE)

    async def end_all(self, message: str) -> None:
        """Ends all processes with an error message."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.tell_all(f"end {message}\n".encode()), SETTLE)
        self.end(message)

    async def follow(self) -> None:
        """Joins process 0, passes JAX's coordination on to it, and ends if it ends."""
        try:
            reader, writer = await connect(self.host, self.port, self.wait)
        except OSError as error:
            self.end(
                f"process 0 of {self.count} was not reached at {self.address} within "
                f"{self.wait:.0f} s ({error}): see its output, check the address, and {AGAIN}"
            )
        self.connections[0] = writer
        keep_alive(writer)
        with suppress(OSError):
            writer.write(f"process {self.index} {self.count}\n".encode())
            while line := await reader.readline():
                if line == b"start\n":
                    server = await asyncio.start_server(self.relay, "127.0.0.1", 0)
                    self.joined.set_result(server.sockets[0].getsockname()[1])
                elif line == b"finished\n":
                    self.finished.add(0)
                elif line == b"hold\n":
                    writer.write(f"at {self.common_step.hold()}\n".encode())
                elif line.startswith(b"release "):
                    self.common_step.release(int(line[8:]) or None)
                elif line.startswith(b"end "):
                    self.end(line[4:].decode().strip())
        if 0 not in self.finished:
            self.end(ended(0, self.count))
        await asyncio.Event().wait()

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes one connection of JAX on to process 0.

        Its end is passed back late, so that `follow` reports the end of process 0 before JAX does.
        """
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(self.host, self.port)
            far_writer.write(b"data\n")
            await join_streams(reader, writer, far_reader, far_writer, self.settle)
        writer.close()

    async def settle(self) -> None:
        """Waits until the end of process 0 must have been noticed, unless it ended in order."""
        if 0 not in self.finished:
            await asyncio.sleep(SETTLE)

    def leave(self) -> None:
        """Tells the others that this process ends in order; after an error ends it here."""
        if self.failed or getattr(sys, "last_value", None) is not None:
            self.failed = True
            end_failed(1)
        with suppress(Exception):
            future = asyncio.run_coroutine_threadsafe(self.tell_all(b"finished\n"), self.loop)
            future.result(SETTLE)

    def end(self, message: str) -> None:
        """Ends the process with an error message."""
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os.write(2, f"\n{Path(sys.argv[0]).name}: {message}\n".encode())
        os._exit(1)


current: Peers | None = None


def join(address: str, index: int, count: int, bind: str | None = None, wait: float = WAIT) -> int:
    """Joins the other processes of a job, as process `index` of `count`.

    Args:
        address: host:port of process 0.
        index: number of this process, from 0.
        count: number of processes.
        bind: host:port where process 0 listens, by default all addresses of its machine.
        wait: seconds until all must have joined.

    Returns:
        The local port where JAX reaches its coordinator, and where process 0 has to start it.
    """
    global current
    current = Peers(address, index, count, wait)
    return current.join(bind)


def fail(settle: float = SETTLE) -> None:
    """Records that this process ends by an error; the others then end as soon as it has.

    Waits for `settle` seconds, because the error may result from the end of another process, which
    is then reported instead.
    """
    if current:
        current.failed = True
        time.sleep(settle)


def end_failed(code: int) -> None:
    """Ends a process of a job after an error, without waiting for the others as JAX would."""
    if current and current.failed:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(index: int, count: int) -> str:
    """Returns the error message for a process that ended too early."""
    return f"process {index} of {count} ended before the others: see its output, and {AGAIN}"


def free_port() -> int:
    """Returns a local port that is free."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def keep_alive(writer: asyncio.StreamWriter) -> None:
    """Lets the connection break within half a minute if the other machine is gone."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def connect(
    host: str, port: int, wait: float
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connects, and retries for `wait` seconds; raises OSError if that fails."""
    deadline = time.monotonic() + wait
    while True:
        try:
            return await asyncio.wait_for(
                asyncio.open_connection(host, port), max(deadline - time.monotonic(), RETRY)
            )
        except OSError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(RETRY)


async def join_streams(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    far_reader: asyncio.StreamReader,
    far_writer: asyncio.StreamWriter,
    settle: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Passes bytes on in both directions; an end of the far side only after `settle`."""

    async def forward() -> None:
        await copy(reader, far_writer)
        far_writer.close()

    async def back() -> None:
        await copy(far_reader, writer)
        if settle:
            await settle()
        writer.close()

    await asyncio.gather(forward(), back())


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Passes bytes on until one of both sides ends."""
    with suppress(OSError):
        while data := await reader.read(LIMIT):
            writer.write(data)
            await writer.drain()
