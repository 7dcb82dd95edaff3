"""The tables: every proxy asked the same, one after another, round after round.

In each round every proxy has its turn once with each number of connections, and the next round
begins with another one, so that what drifts in the machine hits all alike. A figure is the median of
the rounds; a ratio is the median of the ratios within each round.
"""

import statistics
from dataclasses import dataclass, field

import gateway
import subjects
from load import Counter, fetch, wrk
from processes import Trouble

CONNECTIONS = (64, 1000)
WARM_UP = 1


@dataclass
class Sample:
    """One run of one proxy."""

    per_second: float
    p50: float
    p99: float
    cpu: float
    memory: int


@dataclass
class Row:
    """One proxy with one number of connections: a sample of each round, or why there is none."""

    subject: subjects.Subject
    connections: int
    samples: list = field(default_factory=list)
    failure: str = ""

    def median(self, figure):
        """The median of one figure over the rounds."""
        return statistics.median(getattr(sample, figure) for sample in self.samples)

    def range(self, figure):
        """The least and the greatest of one figure."""
        found = [getattr(sample, figure) for sample in self.samples]
        return min(found), max(found)

    def ratio(self, other, figure="cpu"):
        """How this compares with another row, round by round; None where either failed."""
        if other is None or self.failure or other.failure:
            return None
        pairs = zip(self.samples, other.samples, strict=True)
        return statistics.median(getattr(a, figure) / getattr(b, figure) for a, b in pairs)


def proxies(setting, behind):
    """What there is to measure, in the order of the tables."""
    return [
        subjects.nginx_plain(setting, behind),
        subjects.nginx_auth_request(setting, behind),
        subjects.haproxy_jwt(setting, behind),
        subjects.caddy_forward_auth(setting, behind),
        *gateway.subjects(setting, behind),
        subjects.nginx_plain(setting, behind, log="buffered"),
        subjects.nginx_plain(setting, behind, log="plain"),
        subjects.nginx_auth_request(setting, behind, log="buffered"),
        *gateway.subjects(setting, behind, with_log=True),
    ]


def words():
    """What `--only` may name."""
    quiet = ["nginx", "nginx-auth", "haproxy", "caddy", "public", "cookie", "bearer"]
    logging = ["nginx+log", "nginx+buffered", "nginx-auth+buffered"]
    return quiet + logging + ["public+log", "cookie+log", "bearer+log"]


def measure(setting, behind, chosen):
    """Every row, measured."""
    found = [subject for subject in proxies(setting, behind) if subject.word in chosen]
    rows = [Row(subject, connections) for connections in CONNECTIONS for subject in found]
    counter = Counter(behind.counter)
    for subject in found:
        try:
            _check(subject)
        except Trouble as trouble:
            for row in rows:
                if row.subject is subject:
                    row.failure = str(trouble)
    total, done = len(rows) * setting.rounds, 0
    for number in range(setting.rounds):
        first = number * len(rows) // setting.rounds
        for row in rows[first:] + rows[:first]:
            done += 1
            if row.failure:
                continue
            label = f"[{done}/{total}] {row.subject.word}, {row.connections} connections:"
            try:
                sample = _run(setting, row, counter)
            except Trouble as trouble:
                row.failure = str(trouble)
                print(f"{label} FAILED: {trouble}", flush=True)
                continue
            row.samples.append(sample)
            print(
                f"{label} {sample.per_second:,.0f}/s, p99 {sample.p99 * 1e3:.1f} ms, "
                f"{sample.cpu * 1e6:.2f} µs a request, {sample.memory / 1e6:.1f} MB",
                flush=True,
            )
    return rows


def _check(subject):
    """A proxy that answers at all answers rightly, and one that guards guards."""
    with subject.start():
        status, _, body = fetch(subject.port, subject.path, subject.headers)
        if (status, body.decode()) != (200, subjects.BODY):
            raise Trouble(f"it answers {status} {body[:60]!r}")
        if subject.is_guarded:
            status, _, _ = fetch(subject.port, subject.path)
            if status != 401:
                raise Trouble(f"it answers {status} to somebody unknown, not 401")


def _run(setting, row, counter):
    subject = row.subject
    try:
        with subject.start() as program:
            ask = (subject.port, subject.path, subject.headers, row.connections)
            warm_up = wrk(*ask, WARM_UP, setting.cores)
            before, spent = counter.read(), program.cpu_seconds()
            load = wrk(*ask, setting.seconds, setting.cores)
            spent = program.cpu_seconds() - spent
            _account(subject, row.connections, load, counter.read() - before)
            memory = program.memory()
        if subject.log:
            _count_lines(subject, warm_up.requests + load.requests)
    finally:
        if subject.log:
            subject.log.unlink(missing_ok=True)
    return Sample(load.per_second, load.p50, load.p99, spent / load.requests, memory)


def _account(subject, connections, load, arrived):
    """Whether every answer was 200 and came from the upstream. What was under way when wrk stopped
    has arrived there too, at most one request a connection."""
    if load.faults:
        raise Trouble(load.faults)
    if load.requests == 0:
        raise Trouble("no answers")
    expected = load.requests * subject.upstream_requests
    most = expected + connections * subject.upstream_requests
    if not expected <= arrived <= most:
        raise Trouble(f"{expected} answers need as many requests, the upstream saw {arrived}")


def _count_lines(subject, answers):
    """Whether the access log has a line for every answer, now that the program has ended."""
    with open(subject.log, "rb") as file:
        lines = sum(1 for _ in file)
    if lines < answers:
        raise Trouble(f"{lines} access lines for {answers} answers")
