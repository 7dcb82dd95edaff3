"""Has what a measurement needs: builds it, installs it, and says what it is."""

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from processes import Trouble

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "target" / "bench"
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/sbin"])
BUILT = ROOT / "target" / "release" / "portcullis"
POLICY = Path("/usr/sbin/policy-rc.d")
# Debian's packages by the program they are wanted for.
PACKAGES = {
    "nginx": ["nginx-light"],
    "haproxy": ["haproxy"],
    "wrk": ["wrk"],
    "cc": ["gcc", "libc6-dev"],
}


@dataclass
class Tools:
    """Where each program is."""

    portcullis: Path
    nginx: str
    haproxy: str
    caddy: str
    wrk: str


def find(program):
    """The program's path, also from where root alone looks."""
    return shutil.which(program, path=PATH)


def prepare(binary, install, with_matching):
    """Installs and builds. `binary`: measure this one instead of building it."""
    missing = [name for tool, names in PACKAGES.items() if not find(tool) for name in names]
    if not _can_make_environments():
        missing.append("python3-venv")
    if missing:
        is_debian_root = os.geteuid() == 0 and Path("/etc/debian_version").exists()
        if not (install or is_debian_root) or not find("apt-get"):
            wanted = " ".join(missing)
            raise Trouble(f"missing (Debian's names): {wanted}; or run bench/run --install")
        _apt_install(missing)
    caddy = _caddy()
    if binary is None:
        if not find("cargo"):
            raise Trouble("cargo is missing: install Rust from https://rustup.rs")
        _run(["cargo", "build", "--release", "--locked"])
        binary = BUILT
    if with_matching:
        _run(["cargo", "bench", "--locked", "--bench", "matching", "--no-run"])
    return Tools(
        portcullis=Path(binary).resolve(),
        nginx=find("nginx"),
        haproxy=find("haproxy"),
        caddy=str(caddy),
        wrk=find("wrk"),
    )


def _run(command, **options):
    print(f"$ {' '.join(map(str, command))}", flush=True)
    if subprocess.run(command, cwd=ROOT, check=False, **options).returncode != 0:
        raise Trouble(f"failed: {' '.join(map(str, command))}")


def _can_make_environments():
    command = [sys.executable, "-c", "import venv, ensurepip"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _apt_install(packages):
    """apt-get, with a policy that keeps the packages' services from being started."""
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    is_ours = not POLICY.exists()
    if is_ours:
        text = b"#!/bin/sh\nexit 101\n"
        subprocess.run([*as_root, "tee", POLICY], input=text, check=True, capture_output=True)
        subprocess.run([*as_root, "chmod", "755", POLICY], check=True)
    try:
        _run([*as_root, "apt-get", "-qq", "update"])
        quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-y", "install"]
        _run([*as_root, *quiet, "--no-install-recommends", *packages])
    finally:
        if is_ours:
            subprocess.run([*as_root, "rm", "-f", POLICY], check=True)


def _caddy():
    """Caddy from PyPI, in an environment of its own."""
    environment, wanted = WORK / "venv", ROOT / "bench" / "requirements.txt"
    caddy, had = environment / "bin" / "caddy", environment / "requirements.txt"
    if caddy.exists() and had.exists() and had.read_bytes() == wanted.read_bytes():
        return caddy
    shutil.rmtree(environment, ignore_errors=True)
    _run([sys.executable, "-m", "venv", environment])
    pip = [environment / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
    for attempt in range(4):
        # A registry that does not answer now may answer in a moment.
        try:
            _run([*pip, "--requirement", wanted])
            break
        except Trouble:
            if attempt == 3:
                raise
            time.sleep(10 * (attempt + 1))
    shutil.copy(wanted, had)
    return caddy


def cores():
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


@dataclass
class Machine:
    """What it was measured on, by name, and how much of its processors was in use before."""

    facts: dict
    busy: float


def machine(tools):
    """This machine."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    release = re.search(r'PRETTY_NAME="?([^"\n]*)', Path("/etc/os-release").read_text())
    facts = {
        "Processor": f"{cores()} × {cpu[1] if cpu else platform.machine()}",
        "Memory": f"{int(memory[1]) / 2**20:.0f} GiB",
        "System": f"{release[1] if release else platform.system()}, Linux {platform.release()}",
        "Portcullis": _portcullis(tools),
        "nginx": _said([tools.nginx, "-v"], r"[0-9.]+"),
        "HAProxy": _said([tools.haproxy, "-v"], r"[0-9]\S*"),
        "Caddy": _said([tools.caddy, "version"], r"[0-9.]+"),
        "wrk": _said([tools.wrk, "-v"], r"[0-9]\S*"),
        "Python": platform.python_version(),
    }
    return Machine(facts, _busy())


def _portcullis(tools):
    version = _said([tools.portcullis, "--version"], r"[0-9]\S*")
    if tools.portcullis != BUILT:
        return f"{version}, {tools.portcullis}"
    compiler = _said(["rustc", "--version"], r"rustc [0-9.]+")
    return f"{version}, {_commit()}, {compiler}, release profile"


def _busy(seconds=1):
    """How much of its processors the machine uses while nothing is measured."""

    def look():
        fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    (total, idle), _ = look(), time.sleep(seconds)
    total, idle = (after - before for after, before in zip(look(), (total, idle), strict=True))
    return 1 - idle / total


def _said(command, pattern):
    """What a program says of its version. wrk says it and fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return "unknown"
    found = re.search(pattern, done.stdout + done.stderr)
    return found[0] if found else "unknown"


def _commit():
    def git(*arguments):
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = ", changed" if git("status", "--porcelain", "src", "Cargo.lock") else ""
        return f"commit {git('rev-parse', '--short', 'HEAD')}{changed}"
    except (OSError, subprocess.CalledProcessError):
        return "commit unknown"
