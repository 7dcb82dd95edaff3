"""A mail server on 127.0.0.1 that does what a file says: mail.py PORT DIRECTORY [OPTION...]

The file DIRECTORY/mode holds one of: accept; a refusal of the recipient such as "rcpt 450 later"; "drop": the
connection is cut in the middle of the message; "hang": no greeting; "hang-for ADDRESS": no answer to that
recipient; "hang-data": no answer to the message;
"keep-silent": the message is kept, and that is not said. Each message becomes DIRECTORY/N.json. DIRECTORY/seen
gets a line for each connection and for each mode at which something happened.

Options: --starttls or --tls with a certificate and its key in DIRECTORY/chain.pem; --user NAME:PASSWORD.
"""

import asyncio
import email
import email.policy
import json
import pathlib
import ssl
import sys
import warnings

from aiosmtpd.smtp import SMTP, AuthResult

port, directory, options = int(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]
user = options[options.index("--user") + 1] if "--user" in options else None
open_now, most_open, count = 0, 0, 0
# Who sends on each connection that is open, and how many different ones did at the same time at most.
senders, most_senders = {}, 0


def mode():
    return (directory / "mode").read_text().strip()


def note(line):
    with (directory / "seen").open("a") as seen:
        seen.write(line + "\n")


async def for_ever():
    await asyncio.sleep(3600)


class Handler:
    async def handle_MAIL(self, server, session, envelope, address, options):
        global most_senders
        senders[server] = address
        most_senders = max(most_senders, len(set(senders.values())))
        envelope.mail_from = address
        return "250 fine"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if mode() == f"hang-for {address}":
            note(mode())
            await for_ever()
        if mode().startswith("rcpt "):
            note(mode())
            return mode().removeprefix("rcpt ")
        envelope.rcpt_tos.append(address)
        return "250 fine"

    async def handle_DATA(self, server, session, envelope):
        if mode() == "hang-data":
            note("hang-data")
            await for_ever()
        keep(server, session, envelope)
        if mode() == "keep-silent":
            note("keep-silent")
            await for_ever()
        return "250 kept"


def keep(server, session, envelope):
    global count
    message = email.message_from_bytes(envelope.content, policy=email.policy.default)
    part = lambda kind: message.get_body([kind]).get_content().replace("\r\n", "\n")
    kept = {
        "from": envelope.mail_from,
        "to": envelope.rcpt_tos,
        "headers": {name.lower(): str(value) for name, value in message.items()},
        "names": [name.lower() for name in message.keys()],
        "parts": [part.get_content_type() for part in message.walk()],
        "text": part("plain"),
        "html": part("html"),
        "is_tls": session.ssl is not None or server.transport.get_extra_info("ssl_object") is not None,
        "user": session.auth_data.decode() if session.auth_data else None,
        "most_open": most_open,
        "most_senders": most_senders,
    }
    half = directory / "half"
    half.write_text(json.dumps(kept))
    half.rename(directory / f"{count}.json")
    count += 1


class Server(SMTP):
    is_open = False

    def connection_made(self, transport):
        global open_now, most_open
        if not self.is_open:
            self.is_open = True
            open_now += 1
            most_open = max(most_open, open_now)
            note("connection")
        super().connection_made(transport)

    def connection_lost(self, error):
        global open_now
        if self.is_open:
            self.is_open = False
            open_now -= 1
            senders.pop(self, None)
        super().connection_lost(error)

    async def _handle_client(self):
        if mode() == "hang":
            note("hang")
            await for_ever()
        await super()._handle_client()

    async def smtp_DATA(self, argument):
        if mode() == "drop":
            await self.push("354 go on")
            await self._reader.readuntil(b"\r\n")
            note("drop")
            self.transport.abort()
            return
        await super().smtp_DATA(argument)


def authenticate(server, session, envelope, mechanism, data):
    note("password")
    is_right = f"{data.login.decode()}:{data.password.decode()}" == user
    return AuthResult(success=is_right, handled=is_right, auth_data=data.login if is_right else None)


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(directory / "chain.pem")
    return made


async def main():
    warnings.simplefilter("ignore")
    starttls = context() if "--starttls" in options else None
    settings = dict(
        tls_context=starttls,
        require_starttls=starttls is not None,
        authenticator=authenticate if user else None,
        auth_required=user is not None,
        auth_require_tls=starttls is not None,
    )
    loop = asyncio.get_running_loop()
    await loop.create_server(
        lambda: Server(Handler(), **settings),
        "127.0.0.1",
        port,
        ssl=context() if "--tls" in options else None,
    )
    note("ready")
    await for_ever()


asyncio.run(main())
