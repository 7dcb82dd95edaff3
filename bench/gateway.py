"""Portcullis: its configuration, its people, and a database full of them."""

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import sqlite3
import struct
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from load import fetch
from processes import Trouble, running
from subjects import Subject

PASSWORD = "seven lanterns on the quay"
EMAIL = "ann@example.com"

# Everything that is not named here is at its default: timers, header hygiene, request ids and
# metrics are on. What is named: addresses, the roles and routes that are measured, the level of the
# log, and where access lines go.
CONFIGURATION = """
listen: "127.0.0.1:{port}"
management: "127.0.0.1:{management}"
secret: "{secret}"
telemetry: {{ level: warn, access_log: {log} }}
roles:
  staff: {{ description: "Works here" }}
  reader: {{ permissions: ["dashboard:read"] }}
upstreams: {{ application: "http://127.0.0.1:{upstream}" }}
routes:
  - {{ path: "/**",            upstream: application, allow: authenticated }}
  - {{ path: "/public/**",     upstream: application, allow: public }}
  - {{ path: "/role/**",       upstream: application, allow: {{ roles: [staff] }} }}
  - {{ path: "/permission/**", upstream: application, allow: {{ permissions: ["dashboard:read"] }} }}
{more}
"""

# The subjects: word, name, path, the header that says who asks.
ROWS = [
    ("public", "Portcullis, public route", "/public/page", None),
    ("cookie", "Portcullis, cookie, role rule", "/role/page", "Cookie"),
    ("bearer", "Portcullis, bearer, permission rule", "/permission/page", "Authorization"),
]


@dataclass
class Gateway:
    """A gateway's directory, with its database and one person in it. Not running."""

    command: list
    directory: Path
    port: int
    management: int
    secret: str

    def start(self):
        """Runs it, as a context manager."""
        return running(self.command, self.directory, self.port)

    def metrics(self):
        """Every figure of /metrics without labels, by name."""
        text = fetch(self.management, "/metrics")[2].decode()
        lines = re.findall(r"^(portcullis_\w+) (\S+)$", text, re.MULTILINE)
        return {name: float(value) for name, value in lines}

    def credentials(self):
        """Signs Ann in with a cookie and with a token: the header of each."""
        form = urlencode({"username": EMAIL, "password": PASSWORD})
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        with self.start():
            status, headers, _ = fetch(self.port, "/auth/cookie/login", kind, "POST", form)
            cookie = (headers["Set-Cookie"] or "").partition(";")[0]
            status_of_token, _, body = fetch(self.port, "/auth/jwt/login", kind, "POST", form)
        if (status, status_of_token) != (204, 200):
            raise Trouble(f"signing in was answered {status} and {status_of_token}")
        return {"Cookie": cookie, "Authorization": f"Bearer {json.loads(body)['access_token']}"}


def build(setting, behind, name, log="off", more=""):
    """Writes a configuration and makes an account that may go everywhere."""
    directory = setting.directory(name)
    port, management = setting.ports.take(), setting.ports.take()
    secret = secrets.token_urlsafe(36)
    file = directory / "portcullis.yaml"
    file.write_text(
        CONFIGURATION.format(
            port=port,
            management=management,
            secret=secret,
            log=log,
            upstream=behind.application,
            more=more,
        )
    )
    binary = setting.tools.portcullis
    create = [binary, "user", "create", EMAIL, "--password-stdin", "--role", "staff"]
    create += ["--role", "reader", "--first-name", "Ann", "--last-name", "Bell", "-c", file]
    done = subprocess.run(
        create, input=PASSWORD, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode != 0:
        raise Trouble(f"user create failed: {done.stderr}")
    return Gateway([binary, "serve", "-c", file], directory, port, management, secret)


def subjects(setting, behind, with_log=False):
    """The rows of the tables that are Portcullis."""
    name = "portcullis-log" if with_log else "portcullis"
    file = setting.directory(name) / "access.log" if with_log else None
    gateway = build(setting, behind, name, log=file or "off")
    credentials = gateway.credentials()
    mark = "+log" if with_log else ""
    return [
        Subject(
            word + mark,
            name,
            gateway.command,
            gateway.directory,
            gateway.port,
            path=path,
            headers={header: credentials[header]} if header else {},
            is_guarded=header is not None,
            log=file,
        )
        for word, name, path, header in ROWS
    ]


class Crowd:
    """A hundred thousand people, each signed in once, written straight into the database."""

    def __init__(self, setting, behind, people):
        # Behind a trusted proxy every attempt to sign in can have its own address, so the limits on
        # failed sign-ins do not end the attempts that saturate the hashing pool. The cache holds a
        # few more entries than there are sessions, so none is pushed out while they are counted.
        more = (
            'trusted_proxies: ["127.0.0.1/32"]\n'
            f"sessions: {{ cache: {{ entries: {people + people // 10} }} }}"
        )
        self.gateway = build(setting, behind, "portcullis-crowd", more=more)
        self.credentials = self.gateway.credentials()
        self.cookies = self._fill(people)

    @staticmethod
    def email(number):
        """The e-mail of one of them."""
        return f"person{number}@example.com"

    def _fill(self, people):
        now = int(time.time() * 1e6)
        key = _derive(self.gateway.secret, "portcullis/v1/cookie-tag")[:16]
        users, grants, sessions, cookies = [], [], [], []
        for number in range(people):
            user, random = uuid.uuid4().bytes, os.urandom(32)
            email = self.email(number)
            users.append((user, email, email, "Person", str(number), now))
            grants += [(user, "staff"), (user, "reader")]
            session = hashlib.sha256(random).digest()
            sessions.append((session, user, now, now, 7200 * 10**6, now + 43200 * 10**6))
            value = random + struct.pack("<Q", _siphash(key, random))
            cookies.append(base64.urlsafe_b64encode(value).rstrip(b"=").decode())
        database = sqlite3.connect(self.gateway.directory / "portcullis.db")
        with database:
            # Everybody has Ann's password.
            password = database.execute(
                "SELECT password_hash, password_kind FROM users WHERE email_folded = ?", [EMAIL]
            ).fetchone()
            database.executemany(
                "INSERT INTO users (id, email, email_folded, first_name, last_name, created_at,"
                " password_hash, password_kind, is_active, is_superuser, is_verified)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, 0, 1)",
                [(*user, *password) for user in users],
            )
            database.executemany("INSERT INTO user_roles (user_id, role) VALUES (?, ?)", grants)
            database.executemany(
                "INSERT INTO sessions (id, user_id, method, kind, created_at, last_seen, idle,"
                " expires_at, address, network, agent) VALUES (?, ?, 'password', 'cookie', ?, ?, ?, ?,"
                " '192.0.2.7', '192.0.2.7', 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0')",
                sessions,
            )
        database.close()
        name = self.credentials["Cookie"].partition("=")[0]
        return [f"{name}={value}" for value in cookies]


def _derive(secret, info):
    """HKDF-SHA256 (RFC 5869) with an empty salt, one block."""
    pseudorandom = hmac.new(bytes(32), secret.encode(), hashlib.sha256).digest()
    return hmac.new(pseudorandom, info.encode() + b"\x01", hashlib.sha256).digest()


def _siphash(key, message):
    """SipHash-2-4 of a message whose length is a multiple of eight."""
    mask = 2**64 - 1
    k0, k1 = struct.unpack("<QQ", key)
    a, b = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D
    c, d = k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573

    def rounds(count):
        nonlocal a, b, c, d
        for _ in range(count):
            a = (a + b) & mask
            b = ((b << 13 | b >> 51) & mask) ^ a
            a = (a << 32 | a >> 32) & mask
            c = (c + d) & mask
            d = ((d << 16 | d >> 48) & mask) ^ c
            a = (a + d) & mask
            d = ((d << 21 | d >> 43) & mask) ^ a
            c = (c + b) & mask
            b = ((b << 17 | b >> 47) & mask) ^ c
            c = (c << 32 | c >> 32) & mask

    words = struct.unpack(f"<{len(message) // 8}Q", message)
    for word in (*words, (len(message) & 0xFF) << 56):
        d ^= word
        rounds(2)
        a ^= word
    c ^= 0xFF
    rounds(4)
    return a ^ b ^ c ^ d
