"""Answers with what the server under it makes of a request's path: PATH_INFO, in hexadecimal."""


def application(environ, start_response):
    path = environ["PATH_INFO"].encode("latin-1").hex().encode()
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(path)))]
    start_response("200 OK", headers)
    return [path]
