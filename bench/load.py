"""Load, and whether it was answered as it should: wrk, single requests, the upstream's own counter."""

import http.client
import json
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from processes import HOST, Trouble

SUMMARY = Path(__file__).with_name("summary.lua")


@dataclass
class Load:
    """What wrk saw. Times are seconds."""

    requests: int
    per_second: float
    p50: float
    p99: float
    faults: str


def wrk(port, path, headers, connections, seconds, threads):
    """Keeps so many connections busy for a while."""
    command = ["wrk", f"-t{min(threads, connections)}", f"-c{connections}", f"-d{seconds}s"]
    command += ["--timeout", "10s", "-s", str(SUMMARY)]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    command.append(f"http://{HOST}:{port}{path}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
    summary = re.search(r"^SUMMARY (.*)$", done.stdout, re.MULTILINE)
    if done.returncode != 0 or not summary:
        said = " ".join((done.stderr or done.stdout).split())
        raise Trouble(f"wrk failed: {said[:200]}")
    seen = json.loads(summary[1])
    faults = [
        f"{seen[key]} {words}"
        for key, words in [
            ("not_ok", "answers were not 200"),
            ("broken", "connections broke"),
            ("late", "answers took over 10 s"),
        ]
        if seen[key]
    ]
    return Load(
        requests=seen["requests"],
        per_second=seen["requests"] / (seen["micros"] / 1e6),
        p50=seen["p50"] / 1e6,
        p99=seen["p99"] / 1e6,
        faults=", ".join(faults),
    )


def fetch(port, path, headers=None, method="GET", body=None):
    """One request: (status, headers, body)."""
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


class Counter:
    """nginx's own count of the requests it was sent (`stub_status`), without those for the count."""

    def __init__(self, port):
        self.port = port
        self.reads = 0

    def read(self):
        """The count, once it stands still: what was under way when wrk stopped has arrived then."""
        last = None
        for _ in range(100):
            now = self._read_once()
            if now == last:
                return now
            last = now
            time.sleep(0.03)
        raise Trouble("requests still arrive at the upstream")

    def _read_once(self):
        status, _, body = fetch(self.port, "/")
        if status != 200:
            raise Trouble(f"the upstream's counter answers {status}")
        self.reads += 1
        return int(body.decode().splitlines()[2].split()[2]) - self.reads
