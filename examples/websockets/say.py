"""Says its arguments in the room and prints what it hears.  TOKEN=… python say.py hello /leave"""

import os
import sys

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

url = os.environ.get("ROOM", "ws://127.0.0.1:8080/socket")
headers = {"Authorization": f"Bearer {os.environ['TOKEN']}"}

with connect(url, additional_headers=headers, max_size=16 * 1024 * 1024) as socket:
    print(socket.recv())
    for text in sys.argv[1:]:
        try:
            socket.send(text)
            print(socket.recv())
        except ConnectionClosed:
            print(f"closed: {socket.close_code} {socket.close_reason}")
            break
