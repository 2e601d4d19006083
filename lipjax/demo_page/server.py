# SPDX-License-Identifier: Apache-2.0
"""Serves the page until it is ended, on this machine alone unless told otherwise."""

import contextlib
import ipaddress
import logging
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

from lipjax.demo_page import microphone
from lipjax.demo_page.ending import Ending
from lipjax.demo_page.layout import CSS, FONTS
from lipjax.errors import ConfigError

PORT = 7860
"""Taken where it is free and no other is asked for."""
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "media-src 'self' data: blob:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "frame-ancestors 'self'"
)
"""The browser fetches nothing from, and sends nothing to, any other place than this server."""
PATIENCE = 2
"""Seconds that open connections are given when the server ends."""


def is_local(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def warning(host: str) -> str:
    """Returns what to tell whoever opens the page to others; empty for an address of one's own."""
    if is_local(host):
        return ""
    return (
        f"warning: with --host {host}, everybody who can reach this machine can use the page, its "
        "model and its processor; there is no password"
    )


def listen(host: str, port: int | None) -> socket.socket:
    """Opens the socket of the page.

    Args:
        host: address or name.
        port: number; 0 takes any that is free, None 7860 if that is free, else any.

    Raises:
        ConfigError: it cannot be had.
    """
    for wanted in (PORT, 0) if port is None else (port,):
        try:
            family, *_, address = socket.getaddrinfo(
                host, wanted, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            return socket.create_server(address[:2], family=family)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            failed = ConfigError(
                f"{host}:{wanted}: the page cannot be served there ({reason}); give another "
                "--port or --host"
            )
    raise failed


def address_of(opened: socket.socket) -> str:
    """Returns the page's address for a browser on this machine."""
    host, port = opened.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    page: Any, opened: socket.socket, ending: Ending, *, max_mb: int, ready: Callable[[], None]
) -> None:
    """Serves the page until a signal ends it.

    Args:
        page: gradio's Blocks.
        opened: result of `listen`.
        ending: which has taken the signals.
        max_mb: a file that is uploaded may have so many megabytes (of 1024 x 1024 bytes).
        ready: called once the page can be opened.
    """
    import fastapi
    import gradio as gr
    import uvicorn
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    host = opened.getsockname()[0]
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    if host == "127.0.0.1":
        # A web site whose name is made to lead here must not talk to the page.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    app.add_middleware(_Policy)
    gr.mount_gradio_app(
        app,
        page,
        path="",
        server_name=host,
        server_port=opened.getsockname()[1],
        footer_links=[],
        max_file_size=max_mb * 1024**2,
        ssr_mode=False,
        show_error=False,
        theme=gr.themes.Soft(font=FONTS, font_mono=["monospace"]),
        css=CSS,
        head=microphone.script(),
    )

    class Server(uvicorn.Server):
        def capture_signals(self):
            return contextlib.nullcontext()  # `ending` has them

        async def startup(self, sockets=None):
            await super().startup(sockets)
            if self.started:
                ready()

        async def shutdown(self, sockets=None):
            # Browsers hold a connection open as long as a tab is; that it is cut is no error.
            logging.getLogger("uvicorn.error").disabled = True
            await super().shutdown(sockets)

    ending.check()
    server = Server(
        uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=PATIENCE, ws="none")
    )
    ending.begin(server)
    try:
        server.run(sockets=[opened])
    finally:
        ending.server = None


class _Policy:
    """Adds the policy to what is sent."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope, receive, send) -> None:
        async def sending(message):
            if message["type"] == "http.response.start":
                more = [
                    (b"content-security-policy", POLICY.encode()),
                    (b"referrer-policy", b"no-referrer"),
                    (b"x-content-type-options", b"nosniff"),
                ]
                message = {**message, "headers": [*message.get("headers", []), *more]}
            await send(message)

        await self._app(scope, receive, sending)


def can_open_browser() -> bool:
    """Whether there is a screen on which somebody at this machine would see a page."""
    if not sys.stdout.isatty():
        return False
    shows = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return sys.platform in ("darwin", "win32") or bool(shows)
