"""Tables of what was measured, for a terminal and for RESULTS.md."""

from datetime import datetime, timezone

from bounds import Bound
from subjects import BODY
from throughput import CONNECTIONS, WARM_UP

ROLE_RULE = "Portcullis, cookie under a role rule"

METHOD = """\
wrk, proxy and upstream run on one machine and share its processors, so requests a second are
those of all three together; what compares proxies is the processor time of each. Every proxy runs
with as many workers or threads as there are processors, keeps connections to both sides alive
without end, and sets `Host`, `X-Forwarded-For` and `X-Forwarded-Proto`. Portcullis is at its
defaults: timers, header hygiene, request ids and metrics are on.

* **Upstream**: nginx that answers everything with the same {body} bytes.
* **nginx**: a plain reverse proxy, everybody may pass. **nginx `auth_request`** and **Caddy
  `forward_auth`** ask an endpoint of the upstream nginx about every request, which compares one
  cookie and answers 204 with the user's id: as cheap as such a service can be, and what it spends
  is in no figure. The proxy passes the id on.
* **HAProxy** checks algorithm, signature (HS256) and end of a bearer token with the claims of
  Portcullis's own, and passes its `sub` on.
* **Portcullis** forwards on a public route; with the cookie of a session under `roles: [staff]`;
  with an access token of a session under `permissions: ["dashboard:read"]`. Where somebody is
  known it sends the whole set of identity headers. Both sessions were opened by signing in.
* A **run** is {warm_up} s of warming up and {seconds} s of wrk with 64 or 1,000 connections,
  against a proxy just started. It counts only if every answer was 200, no connection broke, and
  the upstream's own counter (`stub_status`) rose by as many requests as were answered (two each
  where the endpoint is asked as well), and at most one more for each connection that wrk cut.
  Without the credential, every guarded address answered 401. With an access log on, its lines
  were counted.
* **CPU** is user and system time of all the proxy's processes and threads, from `/proc`, over the
  run, divided by the answers. **Memory** is resident after the run; what several processes share
  counts once.
* In each of {rounds} **rounds** every proxy has its turn once with each number of connections,
  and each round begins elsewhere. Figures are medians of the rounds (CPU with least and
  greatest); ratios are medians of the ratios within each round.
* **Access log**: nginx writes its `combined` format to a file, each line by itself or through a
  buffer of 64 KiB that is written out every second; Portcullis writes its own line, which says
  more, and a thread writes them out ten times a second. Ratios are to nginx with the buffer.
  Every answer had its line."""


def throughput_tables(rows):
    """The tables of the proxies, as (title, lines)."""
    for title, with_log in [("Access logs off", False), ("Access logs on", True)]:
        for connections in CONNECTIONS:
            found = [
                row
                for row in rows
                if row.connections == connections and (row.subject.log is not None) == with_log
            ]
            if found:
                yield f"{title}, {connections:,} connections", _table(found)


def _table(rows):
    plain = next((row for row in rows if row.subject.word in ("nginx", "nginx+buffered")), None)
    yield "| | requests/s | p50 ms | p99 ms | CPU µs/request | × nginx | memory MB |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for row in rows:
        if row.failure or not row.samples:
            yield f"| {row.subject.name} | **failed** | | | | | |"
            continue
        least, greatest = row.range("cpu")
        ratio = row.ratio(plain)
        cells = [
            row.subject.name,
            f"{row.median('per_second'):,.0f}",
            f"{row.median('p50') * 1e3:.2f}",
            f"{row.median('p99') * 1e3:.2f}",
            f"{row.median('cpu') * 1e6:.2f} ({least * 1e6:.2f}–{greatest * 1e6:.2f})",
            "–" if ratio is None else f"{ratio:.2f}",
            f"{row.median('memory') / 1e6:.1f}",
        ]
        yield f"| {' | '.join(cells)} |"


def ratio_bounds(rows):
    """What the tables must show."""
    found = {(row.subject.word, row.connections): row for row in rows if row.samples}
    limits = [("nginx", "nginx", 1.25), ("nginx-auth", "nginx `auth_request`", 0.8)]
    for other, name, most in limits:
        for connections in CONNECTIONS:
            cookie = found.get(("cookie", connections))
            ratio = cookie.ratio(found.get((other, connections))) if cookie else None
            if ratio is None:
                continue
            yield Bound(
                f"CPU per request, {ROLE_RULE}, {connections:,} connections",
                f"{ratio:.2f}×",
                f"{most}× {name}",
                ratio <= most,
                "from the tables",
            )


def bounds_table(bounds):
    """The bounds, one a line."""
    yield "| | measured | at most | holds | how |"
    yield "|---|---|---|---|---|"
    for bound in bounds:
        holds = "yes" if bound.holds else "**no**"
        yield f"| {bound.what} | {bound.figure} | {bound.limit} | {holds} | {bound.how} |"


def document(setting, rows, bounds, failures, machine, command):
    """RESULTS.md."""
    today = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    yield "# What it costs"
    yield ""
    yield f"Measured on {today} by `{command}`, which writes this file."
    yield "What each step of the work on speed gained: [GAINS.md](GAINS.md)."
    if machine.busy > 0.1:
        yield ""
        busy = f"Something else kept {machine.busy:.0%} of the processors busy"
        yield f"**{busy}: these figures prove nothing.**"
    yield ""
    yield "## Bounds"
    yield ""
    yield from bounds_table(bounds)
    for title, lines in throughput_tables(rows):
        yield ""
        yield f"## {title}"
        yield ""
        yield from lines
    if failures:
        yield ""
        yield "## Failed"
        yield ""
        for failure in failures:
            yield f"* {failure}"
    yield ""
    yield "## Method"
    yield ""
    yield METHOD.format(
        body=len(BODY),
        warm_up=WARM_UP,
        seconds=setting.seconds,
        rounds=setting.rounds,
    )
    yield ""
    yield "## Machine"
    yield ""
    yield "| | |"
    yield "|---|---|"
    for name, value in machine.facts.items():
        yield f"| {name} | {value} |"
