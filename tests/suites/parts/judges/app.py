"""What Python's servers read: app.py SERVER PORT, where SERVER is waitress, uvicorn-h11, uvicorn-httptools or hypercorn."""
import asyncio
import hashlib
import sys


def read(method, body):
    return f"{method}:{len(body)}:{hashlib.sha1(body).hexdigest()[:12]}"


def wsgi(environ, start):
    said = read(environ["REQUEST_METHOD"], environ["wsgi.input"].read())
    start("200 OK", [("X-Read", said), ("Content-Length", "0")])
    return [b""]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    fields = [(b"x-read", read(scope["method"], body).encode()), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": b""})


def main(server, port):
    if server == "waitress":
        import waitress
        waitress.serve(wsgi, host="127.0.0.1", port=port, threads=4, max_request_header_size=1 << 20)
    elif server.startswith("uvicorn-"):
        import uvicorn
        uvicorn.run(asgi, host="127.0.0.1", port=port, http=server.removeprefix("uvicorn-"), ws="none", lifespan="off",
                    log_level="critical", h11_max_incomplete_event_size=1 << 20, timeout_keep_alive=60)
    else:
        from hypercorn.asyncio import serve
        from hypercorn.config import Config
        config = Config()
        config.bind, config.h11_max_incomplete_size, config.loglevel = [f"127.0.0.1:{port}"], 1 << 20, "CRITICAL"
        asyncio.run(serve(asgi, config))


main(sys.argv[1], int(sys.argv[2]))
