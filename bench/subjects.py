"""What is measured: the proxies with their configurations, and the upstream behind them all.

Every proxy keeps connections to client and upstream alive without end, uses every core, and sets
`Host`, `X-Forwarded-For` and `X-Forwarded-Proto`; those that know who is asking tell the upstream.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from processes import HOST, running

BODY = "Behind the gateway there is a small page, as short as most answers of an interface are.\n"
PERSON = "0b9f3a52-7f4e-4a61-9d57-3a1f6e2c8d10"


@dataclass
class Subject:
    """One row of a table: a program and the request it is asked."""

    word: str
    name: str
    command: list
    directory: Path
    port: int
    path: str = "/page"
    headers: dict = field(default_factory=dict)
    environment: dict = field(default_factory=dict)
    is_guarded: bool = True
    upstream_requests: int = 1
    log: Path | None = None

    def start(self):
        """Runs it, as a context manager."""
        return running(self.command, self.directory, self.port, self.environment)


@dataclass
class Upstream:
    """Where the application, the authentication endpoint and the counter are."""

    command: list
    directory: Path
    application: int
    authentication: int
    counter: int
    cookie: str

    def start(self):
        """Runs it, as a context manager."""
        return running(self.command, self.directory, self.application)


def upstream(setting):
    """The application: an nginx that answers everything with the same small body. Beside it, an
    authentication endpoint as cheap as there can be: nginx too, 204 with a user's name if the one
    right cookie is there, else 401. It stands for a service that looks a session up; what such a
    service would spend itself is in no figure, since only the proxies' processes are measured."""
    application, authentication, counter = (setting.ports.take() for _ in range(3))
    cookie = secrets.token_urlsafe(40)
    servers = f"""
        server {{
            listen {HOST}:{application} backlog=4096;
            location / {{ default_type text/plain; return 200 "{BODY}"; }}
        }}
        server {{
            listen {HOST}:{authentication} backlog=4096;
            location / {{
                add_header X-Auth-User-Id {PERSON};
                if ($cookie_session = "{cookie}") {{ return 204; }}
                return 401;
            }}
        }}
        server {{
            listen {HOST}:{counter};
            location / {{ stub_status; }}
        }}"""
    directory, command = _nginx(setting, "upstream", servers, log="off")
    return Upstream(command, directory, application, authentication, counter, cookie)


def _nginx(setting, name, servers, log):
    directory = setting.directory(name)
    temporary = "\n".join(
        f"        {kind}_temp_path {directory}/{kind};"
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    )
    # Started by root, nginx would look for a user and a group that Debian does not have.
    user = "user root;" if os.geteuid() == 0 else ""
    file = directory / "nginx.conf"
    file.write_text(f"""
    {user}
    daemon off;
    worker_processes {setting.cores};
    worker_rlimit_nofile 16384;
    pid {directory}/pid;
    error_log stderr error;
    events {{ worker_connections 8192; }}
    http {{
        access_log {log};
{temporary}
        keepalive_requests 1000000000;
{servers}
    }}
    """)
    return directory, [setting.tools.nginx, "-e", "stderr", "-p", directory, "-c", file]


def _nginx_log(setting, name, log):
    """The `access_log` value, the file, and what is said of it."""
    if log is None:
        return "off", None, "", ""
    file = setting.directory(name) / "access.log"
    if log == "buffered":
        return f"{file} combined buffer=64k flush=1s", file, "+buffered", ""
    return f"{file} combined", file, "+log", ", unbuffered"


def _nginx_pool(name, port):
    return f"""
        upstream {name} {{
            server {HOST}:{port};
            keepalive 1024;
            keepalive_requests 1000000000;
            keepalive_time 1d;
        }}"""


FORWARD = """
                proxy_http_version 1.1;
                proxy_set_header Connection "";
                proxy_set_header Host $http_host;
                proxy_set_header X-Forwarded-For $remote_addr;
                proxy_set_header X-Forwarded-Proto $scheme;"""


def nginx_plain(setting, behind, log=None):
    """nginx as a reverse proxy that lets everybody pass."""
    name = f"nginx-{log or 'quiet'}"
    access, file, mark, words = _nginx_log(setting, name, log)
    port = setting.ports.take()
    servers = f"""{_nginx_pool("application", behind.application)}
        server {{
            listen {HOST}:{port} backlog=4096;
            location / {{
                proxy_pass http://application;{FORWARD}
            }}
        }}"""
    directory, command = _nginx(setting, name, servers, access)
    return Subject(
        f"nginx{mark}", f"nginx{words}", command, directory, port, is_guarded=False, log=file
    )


def nginx_auth_request(setting, behind, log=None):
    """nginx that asks the authentication endpoint about every request."""
    name = f"nginx-auth-{log or 'quiet'}"
    access, file, mark, words = _nginx_log(setting, name, log)
    port = setting.ports.take()
    servers = f"""{_nginx_pool("application", behind.application)}
{_nginx_pool("authentication", behind.authentication)}
        server {{
            listen {HOST}:{port} backlog=4096;
            location / {{
                auth_request /authenticate;
                auth_request_set $user $upstream_http_x_auth_user_id;
                proxy_pass http://application;{FORWARD}
                proxy_set_header X-Auth-User-Id $user;
            }}
            location = /authenticate {{
                internal;
                proxy_pass http://authentication;{FORWARD}
                proxy_pass_request_body off;
                proxy_set_header Content-Length "";
                proxy_set_header X-Original-URI $request_uri;
            }}
        }}"""
    directory, command = _nginx(setting, name, servers, access)
    return Subject(
        f"nginx-auth{mark}",
        f"nginx `auth_request`{words}",
        command,
        directory,
        port,
        headers={"Cookie": f"session={behind.cookie}"},
        upstream_requests=2,
        log=file,
    )


def haproxy_jwt(setting, behind):
    """HAProxy that checks algorithm, signature and end of a bearer token."""
    directory, port = setting.directory("haproxy"), setting.ports.take()
    secret = secrets.token_hex(32)
    (directory / "haproxy.cfg").write_text(f"""
global
    maxconn 8192
    nbthread {setting.cores}

defaults
    mode http
    http-reuse always
    timeout connect 2s
    timeout client 75s
    timeout server 60s

frontend gateway
    bind {HOST}:{port} backlog 4096
    http-request set-var(txn.token) http_auth_bearer
    http-request set-var(txn.algorithm) var(txn.token),jwt_header_query('$.alg')
    http-request set-var(txn.end) var(txn.token),jwt_payload_query('$.exp','int')
    http-request set-var(txn.now) date()
    http-request deny deny_status 401 unless {{ var(txn.algorithm) -m str HS256 }}
    http-request deny deny_status 401 unless {{ var(txn.token),jwt_verify(txn.algorithm,"{secret}") -m int 1 }}
    http-request deny deny_status 401 if {{ var(txn.end),sub(txn.now) lt 0 }}
    http-request set-header X-Auth-User-Id %[var(txn.token),jwt_payload_query('$.sub')]
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto http
    default_backend application

backend application
    server application {HOST}:{behind.application}
""")
    return Subject(
        "haproxy",
        "HAProxy `jwt_verify`",
        [setting.tools.haproxy, "-db", "-f", directory / "haproxy.cfg"],
        directory,
        port,
        headers={"Authorization": f"Bearer {_token(secret)}"},
    )


def _token(secret):
    """A token of the shape Portcullis issues."""
    now = int(time.time())
    claims = {
        "iss": f"http://{HOST}",
        "sub": PERSON,
        "aud": ["fastapi-users:auth"],
        "exp": now + 86400,
        "nbf": now,
        "iat": now,
        "jti": str(uuid.uuid4()),
        "sid": secrets.token_urlsafe(32),
    }
    header = {"typ": "at+jwt", "alg": "HS256", "kid": "pc-benchmark"}
    signed = ".".join(_encode(json.dumps(part).encode()) for part in (header, claims))
    tag = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_encode(tag)}"


def _encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def caddy_forward_auth(setting, behind):
    """Caddy that asks the authentication endpoint about every request."""
    directory, port = setting.directory("caddy"), setting.ports.take()
    transport = "transport http {\n\t\t\tkeepalive_idle_conns_per_host 1024\n\t\t}"
    (directory / "Caddyfile").write_text(f"""{{
	admin off
	auto_https off
	persist_config off
	log default {{
		level ERROR
	}}
}}

http://{HOST}:{port} {{
	bind {HOST}
	forward_auth http://{HOST}:{behind.authentication} {{
		uri /authenticate
		copy_headers X-Auth-User-Id
		{transport}
	}}
	reverse_proxy http://{HOST}:{behind.application} {{
		{transport}
	}}
}}
""")
    return Subject(
        "caddy",
        "Caddy `forward_auth`",
        [setting.tools.caddy, "run", "--config", directory / "Caddyfile", "--adapter", "caddyfile"],
        directory,
        port,
        headers={"Cookie": f"session={behind.cookie}"},
        environment={"HOME": str(directory), "XDG_DATA_HOME": str(directory)},
        upstream_requests=2,
    )
