"""Bounds that are no comparison of proxies: memory, readiness, matching."""

import itertools
import json
import socket
import statistics
import subprocess
import time
from dataclasses import dataclass

import gateway
from processes import HOST, Program, Trouble
from subjects import BODY
from tools import ROOT

PEOPLE = 100_000
MEGABYTE = 1_000_000
# By then a gateway has given back what starting took.
SETTLED = 10


@dataclass
class Bound:
    """A figure, what it must not exceed, and how it came about."""

    what: str
    figure: str
    limit: str
    holds: bool
    how: str


def idle_memory(setting, behind):
    """What a gateway holds that was just started."""
    fresh = gateway.build(setting, behind, "portcullis-idle")
    with fresh.start() as program:
        time.sleep(SETTLED)
        resident = program.resident()
    return Bound(
        "Resident memory, idle",
        f"{resident / MEGABYTE:.1f} MB",
        "40 MB",
        resident <= 40 * MEGABYTE,
        f"RSS {SETTLED} s after the start, before any request",
    )


def crowd_memory(crowd):
    """What a hundred thousand cached sessions add."""
    with crowd.gateway.start() as program:
        time.sleep(SETTLED)
        idle = program.resident()
        began = time.monotonic()
        _use_each(crowd)
        seconds = time.monotonic() - began
        time.sleep(1)
        cached = crowd.gateway.metrics()["portcullis_cached_sessions"]
        # moka counts behind: what it was given last may not be in the number.
        if cached < PEOPLE * 0.99:
            raise Trouble(f"{cached:.0f} sessions are cached, not {PEOPLE}")
        more = program.resident() - idle
    return Bound(
        f"Resident memory, {PEOPLE:,} cached sessions",
        f"{more / MEGABYTE:.1f} MB more",
        "150 MB more",
        more <= 150 * MEGABYTE,
        f"as many people with two roles each, every session used once ({PEOPLE / seconds:,.0f} a"
        " second, each loaded from the database); RSS after less RSS before",
    )


def _use_each(crowd, connections=8, at_once=25):
    """One request with each cookie. Several travel on a connection before the first is answered."""
    links = [socket.create_connection((HOST, crowd.gateway.port)) for _ in range(connections)]
    cookies = iter(crowd.cookies)
    while True:
        shares = [list(itertools.islice(cookies, at_once)) for _ in links]
        for link, share in zip(links, shares):
            link.sendall(
                b"".join(
                    f"GET /role/page HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\n\r\n".encode()
                    for cookie in share
                )
            )
        for link, share in zip(links, shares):
            _expect_pages(link, len(share))
        if not shares[-1]:
            break
    for link in links:
        link.close()


def _expect_pages(link, count):
    """Reads so many answers; only good ones carry the upstream's body."""
    body, received = BODY.encode(), b""
    link.settimeout(10)
    try:
        while received.count(body) < count:
            piece = link.recv(65536)
            received += piece
            if not piece:
                raise Trouble(f"a connection was closed after {received[-500:]!r}")
    except TimeoutError:
        raise Trouble(f"a session was answered {received[-500:]!r}") from None


def readiness(crowd, starts=10):
    """How long a gateway takes from exec to its first good answer about itself."""
    taken = []
    for _ in range(starts):
        began = time.monotonic()
        program = Program(crowd.gateway.command, crowd.gateway.directory)
        try:
            _wait_until_ready(crowd.gateway.management, program, began + 10)
            taken.append(time.monotonic() - began)
        finally:
            program.stop()
    middle, worst = statistics.median(taken), max(taken)
    return Bound(
        "Ready after exec",
        f"{middle * 1e3:.0f} ms (slowest of {starts}: {worst * 1e3:.0f} ms)",
        "100 ms",
        middle <= 0.1,
        f"an existing database with {PEOPLE:,} people and sessions; `/health/ready` is asked every"
        " millisecond; the median counts",
    )


def _wait_until_ready(port, program, deadline):
    ask = f"GET /health/ready HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((HOST, port), timeout=5) as link:
                link.sendall(ask)
                if link.recv(64).startswith(b"HTTP/1.1 200 "):
                    return
        except OSError:
            pass
        time.sleep(0.001)
    raise Trouble(f"the gateway is not ready: {program.output.read_text()[-2000:]}")


def matching():
    """What finding a request's route costs in a large table, as criterion measures it."""
    command = ["cargo", "bench", "--locked", "--bench", "matching", "--", "--noplot"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Trouble(f"cargo bench failed: {done.stderr[-2000:]}")
    small, large = (
        json.loads((ROOT / f"target/criterion/matching/{routes}/new/estimates.json").read_text())
        ["median"]["point_estimate"]
        for routes in (10, 10_000)
    )
    return Bound(
        "Matching against 10,000 routes",
        f"{large / small:.2f}× ({large:.0f} ns against {small:.0f} ns)",
        "3× matching against 10",
        large <= 3 * small,
        "criterion, `bench/matching.rs`",
    )
