"""Reads request heads, one a line in hexadecimal, by two parsers that know nothing of each other:
`http.server` of the standard library and h11. Writes one JSON object a line: parser -> [method, target,
[[name, value], ...]], or the parser's complaint as a string."""

import http.server
import io
import json
import sys

import h11


class Handler(http.server.BaseHTTPRequestHandler):
    """A request handler without a socket."""

    def __init__(self, head):
        self.rfile, self.wfile = io.BytesIO(head), io.BytesIO()
        self.error = None

    def send_error(self, code, message=None, explain=None):
        self.error = f"{code} {message}"


def by_http_server(head):
    handler = Handler(head)
    handler.raw_requestline = handler.rfile.readline(65537)
    if not handler.parse_request():
        return handler.error or "refused"
    # `path` has leading slashes merged; the words of the line are as they came.
    target = handler.requestline.split()[1]
    return [handler.command, target, [[n.lower(), v] for n, v in handler.headers.items()]]


def by_h11(head):
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        return str(error)
    text = lambda value: bytes(value).decode("latin-1")
    headers = [[text(name), text(value)] for name, value in event.headers]
    return [text(event.method), text(event.target), headers]


for line in sys.stdin:
    head = bytes.fromhex(line)
    print(json.dumps({"http.server": by_http_server(head), "h11": by_h11(head)}))
