"""Read a file from a web server without ever waiting long.

Looking up a name, shaking hands and reading from a socket cannot be interrupted, so a
thread does these, and the caller hears from it several times a second. A caller that
goes away leaves the thread to its next time-out; it writes no file.
"""

from __future__ import annotations

import http.client
import queue
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE = 1 << 18
# The longest time without a word from the caller's side, and from the server's.
WAIT_SECONDS = 0.2
POLL_SECONDS = 0.05
STALL_SECONDS = 20.0


class Cut(Exception):
    """The connection could not be made or broke off; says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server says before the content.

    Parameters
    ----------
    start : int
        The byte at which its answer begins.
    total : int
        Bytes of the whole file; 0 where it does not say.
    """

    start: int
    total: int


class Fetch:
    """The content of a URL as an iterator.

    Iterating gives an `Answer`, then pieces of bytes; empty ones while nothing comes.

    Parameters
    ----------
    url : str
        Of the kind http or https.
    start : int
        The first byte wanted. A server may begin at 0 all the same.

    Raises
    ------
    Cut
        While iterating, when the connection fails or the file ends early.
    ValueError
        When the URL is of another kind, or the server has no such file.
    """

    def __init__(self, url: str, start: int = 0) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"the address must begin with http:// or https://: {url}")
        headers = {"Range": f"bytes={start}-"} if start else {}
        self._request = urllib.request.Request(url, headers=headers)  # noqa: S310
        # Bounded, so that a fast network does not fill the memory.
        self._pieces: queue.Queue[Answer | bytes | Exception | None]
        self._pieces = queue.Queue(maxsize=8)
        self._closed = threading.Event()
        threading.Thread(target=self._run, daemon=True, name="download").start()

    def __iter__(self) -> Iterator[Answer | bytes]:
        """Give what comes, and an empty piece where nothing does."""
        while True:
            try:
                piece = self._pieces.get_nowait()
            except queue.Empty:
                # Not a `get` that waits: Ctrl-C inside of one can break its lock.
                time.sleep(POLL_SECONDS)
                yield b""
                continue
            if piece is None:
                return
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def close(self) -> None:
        """Ask for no more."""
        self._closed.set()

    def _run(self) -> None:
        try:
            self._read()
        except urllib.error.HTTPError as error:
            self._put(_refusal(self._request.full_url, error))
        except urllib.error.URLError as error:
            self._put(Cut(_reason(error.reason)))
        except (OSError, http.client.HTTPException) as error:
            self._put(Cut(_reason(error)))
        except ValueError as error:
            self._put(error)

    def _read(self) -> None:
        with urllib.request.urlopen(  # noqa: S310
            self._request, timeout=STALL_SECONDS
        ) as reply:
            answer = _answer(reply)
            self._put(answer)
            done = answer.start
            while (piece := reply.read1(PIECE)) and not self._closed.is_set():
                self._put(piece)
                done += len(piece)
        if done < answer.total:
            self._put(Cut("the connection was closed"))
        self._put(None)

    def _put(self, piece: Answer | bytes | Exception | None) -> None:
        while not self._closed.is_set():
            try:
                self._pieces.put(piece, timeout=WAIT_SECONDS)
            except queue.Full:
                continue
            return


def _answer(reply: http.client.HTTPResponse) -> Answer:
    length = int(reply.headers.get("Content-Length") or 0)
    # "bytes 100-199/200"
    start, _, _ = (
        (reply.headers.get("Content-Range") or "").removeprefix("bytes ").partition("-")
    )
    if reply.status != http.client.PARTIAL_CONTENT or not start.isdigit():
        return Answer(0, length)
    return Answer(int(start), int(start) + length if length else 0)


def _refusal(url: str, error: urllib.error.HTTPError) -> Exception:
    with error:
        text = f"{error.code} {error.reason}"
    # These may pass; any other answer will be the same the next time.
    if error.code in {408, 429, 500, 502, 503, 504}:
        return Cut(text)
    return ValueError(f"the server has no {url} ({text})")


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {STALL_SECONDS:g} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
