"""Programs that are measured: starting and stopping them, their processor time and their memory."""

import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
HOST = "127.0.0.1"


class Trouble(Exception):
    """What keeps a measurement from counting, in words."""


class Ports:
    """Hands out ports nobody listens on, counting up."""

    def __init__(self, first):
        self.next = first

    def take(self):
        for port in range(self.next, self.next + 1000):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((HOST, port))
                except OSError:
                    continue
            self.next = port + 1
            return port
        raise Trouble("no free port")


class Program:
    """A running program with all its child processes."""

    def __init__(self, command, directory, environment=None):
        self.output = Path(directory, "output.txt")
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    def wait_for_port(self, port, patience=10):
        """Returns once the port takes connections."""
        deadline = time.monotonic() + patience
        while True:
            if self.process.poll() is not None:
                said = " ".join(self.output.read_text().split())[-500:]
                raise Trouble(f"{self.process.args[0]} ended: {said}")
            try:
                socket.create_connection((HOST, port), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise Trouble(f"{self.process.args[0]} does not listen on {port}") from None
                time.sleep(0.005)

    def pids(self):
        """The process and its descendants."""
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit() and (fields := _stat(int(entry))):
                parents[int(entry)] = int(fields[1])
        found = [self.process.pid]
        for pid in found:
            found.extend(child for child, parent in parents.items() if parent == pid)
        return found

    def cpu_seconds(self):
        """User and system time so far, of every thread of every process."""
        stats = filter(None, map(_stat, self.pids()))
        return sum(int(fields[11]) + int(fields[12]) for fields in stats) / TICKS

    def memory(self):
        """Resident bytes. What processes share counts once: each has its share (PSS)."""
        return sum(_rollup(pid, "Pss:") for pid in self.pids())

    def resident(self):
        """Resident bytes of the one process (RSS), what it shares with others included."""
        return _rollup(self.process.pid, "Rss:")

    def priorities(self, name):
        """(niceness, scheduling policy) of each thread of that name that is there just now."""
        found = []
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                is_named = (task / "comm").read_text().strip() == name
            except OSError:
                continue
            if is_named and (fields := _stat(self.process.pid, task.name)):
                found.append((int(fields[16]), int(fields[38])))
        return found

    def stop(self):
        """Ends the program, at once if it does not end by itself soon."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


def _stat(pid, task=None):
    """The fields of /proc/PID/stat from the third on: the second, the name, may hold anything."""
    where = f"/proc/{pid}/task/{task}/stat" if task else f"/proc/{pid}/stat"
    try:
        return Path(where).read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _rollup(pid, field):
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field)), 0)


@contextmanager
def running(command, directory, port, environment=None):
    """A program that listens on a port, for the length of a block."""
    program = Program(command, directory, environment)
    try:
        program.wait_for_port(port)
        yield program
    finally:
        program.stop()
