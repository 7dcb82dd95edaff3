"""The bound on hashing: what sign-ins do to everybody else's requests."""

import itertools
import os
import statistics
import subprocess
import sys
import threading
import time
from urllib.parse import urlencode

from bounds import Bound
from load import fetch, wrk
from processes import Trouble

AT_ONCE = 32
ROUNDS = 3


class SignIns:
    """Attempts with wrong passwords, more at a time than the hashing pool takes."""

    def __init__(self, crowd, numbers):
        self.crowd = crowd
        self.numbers = numbers
        self.statuses = {}
        self.ending = threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._attempt) for _ in range(AT_ONCE)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join()

    def _attempt(self):
        while not self.ending.is_set():
            with self.lock:
                number = next(self.numbers)
            address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
            form = urlencode({"username": self.crowd.email(number), "password": "not the password"})
            headers = {
                "Content-Type": "application/x-www-form-urlencoded",
                "X-Forwarded-For": address,
            }
            status, _, _ = fetch(self.crowd.gateway.port, "/auth/jwt/login", headers, "POST", form)
            with self.lock:
                self.statuses[status] = self.statuses.get(status, 0) + 1


class Watch:
    """Looks at the hashing pool while a load runs: how much of the time it was full, with attempts
    waiting, and how many verifications it made."""

    def __init__(self, at):
        self.gateway = at
        self.looks = []
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._look)

    def __enter__(self):
        self.before = self.gateway.metrics()["portcullis_hash_verifications_total"]
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()
        after = self.gateway.metrics()["portcullis_hash_verifications_total"]
        self.verified = after - self.before

    def _look(self):
        while not self.ending.wait(0.1):
            seen = self.gateway.metrics()
            waiting = seen["portcullis_hash_queue_depth"]
            self.looks.append(seen["portcullis_hash_running"] if waiting else 0)

    def saturation(self, concurrent):
        """The share of looks that found every place of the pool taken and somebody waiting."""
        full = sum(1 for running in self.looks if running >= concurrent)
        return full / len(self.looks) if self.looks else 0


def hashing(setting, crowd):
    """The slowest hundredth of requests beside sign-ins, and beside any process as busy."""
    concurrent = max(1, setting.cores - 1)
    alone, beside_spinning, beside_hashing, verified = [], [], [], 0
    numbers = itertools.count()
    with crowd.gateway.start() as program:
        _p99(setting, crowd)
        for _ in range(ROUNDS):
            alone.append(_p99(setting, crowd))
            with SignIns(crowd, numbers) as attempts:
                time.sleep(0.5)
                with Watch(crowd.gateway) as watch:
                    beside_hashing.append(_p99(setting, crowd))
                priority = _priority_of_hashing(program)
            verified += watch.verified
            if set(attempts.statuses) != {400}:
                raise Trouble(f"attempts to sign in were answered {attempts.statuses}")
            saturation = watch.saturation(concurrent)
            if saturation < 0.9:
                raise Trouble(f"the hashing pool was full for {saturation:.0%} of the time only")
            with Spinning(concurrent, priority):
                beside_spinning.append(_p99(setting, crowd))
    ratio = statistics.median(a / b for a, b in zip(beside_hashing, beside_spinning, strict=True))
    quiet, busy, spinning = (
        f"{statistics.median(found) * 1e3:.1f} ms"
        for found in (alone, beside_hashing, beside_spinning)
    )
    rate = verified / (ROUNDS * setting.seconds)
    return Bound(
        "p99 beside sign-ins that saturate hashing",
        f"{ratio:.2f}× ({busy} against {spinning})",
        "2× that beside spinning",
        ratio <= 2,
        f"cookie under a role rule, 64 connections; {quiet} with neither. {AT_ONCE} sign-ins at a time"
        " with wrong passwords, each for another person from another address:"
        f" {rate:.0f} verifications a second. Spinning: {concurrent} process(es) in an endless loop,"
        f" scheduled as the hashing threads are (niceness {priority[0]})",
    )


def _p99(setting, crowd):
    cookie = {"Cookie": crowd.credentials["Cookie"]}
    load = wrk(crowd.gateway.port, "/role/page", cookie, 64, setting.seconds, setting.cores)
    if load.faults:
        raise Trouble(load.faults)
    return load.p99


def _priority_of_hashing(program):
    """Niceness and policy of a thread that hashes. Each lives for one password, so it is caught."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if found := program.priorities("hashing"):
            # A thread starts as its parent is scheduled, and gives way first of all.
            return max(found)
    raise Trouble("no thread that hashes was seen")


class Spinning:
    """Processes that do nothing, as fast as they can."""

    def __init__(self, count, priority):
        self.count = count
        self.nice, self.policy = priority

    def _give_way(self):
        os.nice(self.nice)
        if self.policy in (os.SCHED_BATCH, os.SCHED_IDLE):
            os.sched_setscheduler(0, self.policy, os.sched_param(0))

    def __enter__(self):
        command = [sys.executable, "-c", "while True: pass"]
        self.processes = [
            subprocess.Popen(command, preexec_fn=self._give_way) for _ in range(self.count)
        ]

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()
