"""A chat room over WebSockets, on the library `websockets`, that leaves signing in to the gateway.

It knows nothing of passwords, sessions or origins. Who has come in stands in the headers of the
handshake, which only the gateway can set; that a page of another site cannot open a socket in
somebody's name is the gateway's business too. The application must therefore be reachable through the
gateway alone, here by listening on 127.0.0.1.
"""

import asyncio
import logging
import os
from http import HTTPStatus
from pathlib import Path

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

PAGE = Path(__file__).with_name("room.html").read_text()
LARGEST_MESSAGE = 16 * 1024 * 1024

#: What the room says when it shows somebody out. Codes from 4000 on are the application's own.
SHOWN_OUT = 4002

log = logging.getLogger("room")
room: set[ServerConnection] = set()


def visitor(request: Request) -> str:
    """Who the gateway says it is."""
    return request.headers.get("X-Auth-Email", "somebody")


def greet(websocket: ServerConnection, request: Request) -> Response | None:
    """Answers what is no WebSocket handshake with the page."""
    log.info("%s asks for %s", visitor(request), request.path)
    if request.headers.get("Upgrade", "").lower() == "websocket":
        return None
    response = websocket.respond(HTTPStatus.OK, PAGE)
    response.headers["Content-Type"] = "text/html; charset=utf-8"
    return response


async def answer(websocket: ServerConnection, name: str) -> None:
    """Takes one message after the other until the connection ends."""
    while True:
        fragments = [fragment async for fragment in websocket.recv_streaming()]
        if isinstance(fragments[0], bytes):
            # A file: sent back as it came, fragment by fragment.
            await websocket.send(fragments)
            continue
        text = "".join(fragments)
        if text == "/ping":
            seconds = await (await websocket.ping(b"are you there?"))
            await websocket.send(f"You answered within {seconds * 1000:.0f} ms.")
        elif text == "/leave":
            await websocket.close(SHOWN_OUT, "good bye")
        else:
            broadcast(room, f"{name}: {text}")


async def visit(websocket: ServerConnection) -> None:
    """One visit, from the welcome to the words on who has left, and how."""
    name = visitor(websocket.request)
    roles = websocket.request.headers.get("X-Auth-Roles", "")
    await websocket.send(f"Welcome, {name}. Your roles: {roles or 'none'}.")
    room.add(websocket)
    try:
        await answer(websocket, name)
    except ConnectionClosed:
        pass
    finally:
        room.discard(websocket)
        # 1006: the connection was cut without a word.
        farewell = f"{name} has left ({websocket.close_code} {websocket.close_reason or ''})"
        log.info("%s", farewell)
        broadcast(room, farewell)


async def main() -> None:
    port = int(os.environ.get("APP_PORT", "8000"))
    async with serve(visit, "127.0.0.1", port, process_request=greet, max_size=LARGEST_MESSAGE) as server:
        await server.serve_forever()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    log.setLevel(logging.INFO)
    asyncio.run(main())
