"""How a call becomes bytes: addresses, MessagePack, retries and tokens are known here and nowhere else."""

import gzip
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar, cast
from urllib.parse import quote, urlencode, urlsplit

import msgspec
import urllib3

from larder.contract import errors, runs
from larder.contract.endpoint import Bytes, Endpoint, Nothing, Problem

Body = TypeVar("Body")
Result = TypeVar("Result")

MSGPACK = "application/msgpack"
Send = Callable[[str, str, dict[str, str], bytes | None], tuple[int, Mapping[str, str], bytes]]
"""An in-process server: method, path with query, headers and body in; status, headers and body out."""

_BUSY = (502, 503, 504)
_CHUNK = 1 << 20
_WORTH_PACKING = 1 << 14
_encode = msgspec.msgpack.Encoder().encode


class Transport:
    """Calls endpoints of one server. Safe to share between threads; not between processes.

    A call is tried again after a lost connection or an answer of 502 to 504 when doing it twice does no harm:
    GET, PUT, DELETE, and the journal, which the server stores once by its offset.
    """

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        send: Send | None = None,
        retries: int = 3,
        timeout: float = 60.0,
        connect_timeout: float = 5.0,
    ) -> None:
        self.url = url.rstrip("/")
        # over a network bytes cost more than time; over the loopback it is the other way round
        self._far = urlsplit(self.url).hostname not in ("127.0.0.1", "localhost", "::1")
        self.token = token
        self._send = send
        self._retries = retries
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._pool: urllib3.PoolManager | None = None

    def copy(self, *, retries: int, timeout: float) -> "Transport":
        """Another one to the same server, with connections of its own."""
        return Transport(
            self.url,
            self.token,
            send=self._send,
            retries=retries,
            timeout=timeout,
            connect_timeout=min(timeout, self._connect_timeout),
        )

    def call(self, endpoint: Endpoint[Body, Result], body: Body | None = None, **path: object) -> Result:
        """Does what the endpoint says and answers its result; a refusal is raised as its class in the contract."""
        target, payload = _address(endpoint, body, path)
        headers = {"Content-Type": MSGPACK} if payload is not None else {}
        if payload is not None and self._far and len(payload) >= _WORTH_PACKING:
            payload = gzip.compress(payload, compresslevel=1)
            headers["Content-Encoding"] = "gzip"
        answer = self._exchange(endpoint, target, headers, payload, wait=float(getattr(body, "wait", 0.0) or 0.0))
        return _result(endpoint, answer)

    def upload(
        self,
        endpoint: Endpoint[type[Bytes], Result] | Endpoint[Any, Result],
        source: "str | os.PathLike[str] | bytes",
        progress: Callable[[int], None] | None = None,
        **path: object,
    ) -> Result:
        """Sends the bytes of a file (or `bytes`) as the body; `progress` hears how many have left."""
        target, _ = _address(endpoint, None, path)
        headers = {"Content-Type": "application/octet-stream"}
        if isinstance(source, bytes):
            return _result(endpoint, self._exchange(endpoint, target, headers, source))
        return _result(endpoint, self._exchange(endpoint, target, headers, Path(source), progress=progress))

    def download(
        self, endpoint: Endpoint[Body, Any], body: Body | None, to: "str | os.PathLike[str]", **path: object
    ) -> Path:
        """Writes the bytes of the answer to `to`, which appears only when all of them are there."""
        place = Path(to)
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_name(f".{place.name}.{os.getpid()}.part")
        try:
            with draft.open("wb") as file:
                for piece in self.stream(endpoint, body, **path):
                    file.write(piece)
            os.replace(draft, place)
        finally:
            draft.unlink(missing_ok=True)
        return place

    def stream(self, endpoint: Endpoint[Body, Any], body: Body | None = None, **path: object) -> Iterator[bytes]:
        """The bytes of the answer, piece by piece."""
        target, payload = _address(endpoint, body, path)
        headers = self._headers({"Content-Type": MSGPACK} if payload is not None else {})
        if self._send is not None:
            yield _succeeded(self._send(endpoint.method, target, headers, payload)).body
            return
        try:
            response = self._http().request(
                endpoint.method,
                self.url + target,
                body=payload,
                headers=headers,
                preload_content=False,
                redirect=False,
                retries=False,
                timeout=self._limits(0.0),
            )
            if response.status >= 300:
                _succeeded(_Answer(response.status, response.headers, response.data))
            expected = response.headers.get("Content-Length")
            received = 0
            for piece in response.stream(_CHUNK):
                received += len(piece)
                yield piece
            response.release_conn()
            if expected is not None and "Content-Encoding" not in response.headers and received != int(expected):
                raise errors.Unavailable(f"{self.url} ended an answer after {received} of {expected} bytes")
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from error

    def read_from(self, url: str, begin: int, end: int) -> bytes:
        """Bytes `begin` to `end` (not included) of what lies at a whole address elsewhere, which sees no token of ours."""
        headers = {"Range": f"bytes={begin}-{end - 1}", "User-Agent": "larder-python"}
        try:
            answer = self._http().request("GET", url, headers=headers, retries=False, timeout=self._limits(0.0))
        except (urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
            raise errors.Unavailable(f"{_place(url)} cannot be reached ({_short(error)})") from error
        if answer.status == 404:
            raise errors.NotFound(f"{_place(url)} is not there")
        if answer.status not in (200, 206):
            raise errors.Unavailable(f"{_place(url)} answers {answer.status}")
        # Who does not know ranges answers all.
        return answer.data if answer.status == 206 else answer.data[begin:end]

    def stream_from(self, url: str) -> Iterator[bytes]:
        """All bytes of what lies at a whole address elsewhere, piece by piece; it sees no token of ours."""
        try:
            answer = self._http().request(
                "GET",
                url,
                headers={"User-Agent": "larder-python"},
                preload_content=False,
                retries=urllib3.Retry(3, redirect=5, status=0),
                timeout=self._limits(0.0),
            )
            if answer.status == 404:
                raise errors.NotFound(f"{_place(url)} is not there")
            if answer.status != 200:
                raise errors.Unavailable(f"{_place(url)} answers {answer.status}")
            yield from answer.stream(_CHUNK)
            answer.release_conn()
        except (urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
            raise errors.Unavailable(f"{_place(url)} cannot be reached ({_short(error)})") from error

    def close(self) -> None:
        """Closes idle connections."""
        if self._pool is not None:
            self._pool.clear()

    def _exchange(
        self,
        endpoint: Endpoint[Any, Any],
        target: str,
        headers: dict[str, str],
        payload: bytes | Path | None,
        *,
        wait: float = 0.0,
        progress: Callable[[int], None] | None = None,
    ) -> "_Answer":
        harmless = endpoint.method in ("GET", "PUT", "DELETE") or endpoint is runs.APPEND
        attempts = 1 + (self._retries if harmless else 0)
        headers = self._headers(headers)
        for attempt in range(attempts):
            if attempt:
                time.sleep(min(0.1 * 2**attempt, 2.0) * (0.5 + random.random()))
            try:
                answer = self._once(endpoint.method, target, headers, payload, wait, progress)
            except errors.Unavailable:
                if attempt + 1 == attempts:
                    raise
                continue
            if answer.status not in _BUSY or attempt + 1 == attempts:
                return _succeeded(answer)
        raise AssertionError("a call ends with an answer or an error")

    def _once(
        self,
        method: str,
        target: str,
        headers: dict[str, str],
        payload: bytes | Path | None,
        wait: float,
        progress: Callable[[int], None] | None,
    ) -> "_Answer":
        if self._send is not None:
            content = payload.read_bytes() if isinstance(payload, Path) else payload
            return _Answer(*self._send(method, target, headers, content))
        file: IO[bytes] | None = None
        body: Any = payload
        try:
            if isinstance(payload, Path):
                file = payload.open("rb")
                headers = {**headers, "Content-Length": str(os.fstat(file.fileno()).st_size)}
                body = _Watched(file, progress) if progress else file
            response = self._http().request(
                method,
                self.url + target,
                body=body,
                headers=headers,
                redirect=False,
                retries=False,
                timeout=self._limits(wait),
            )
            return _Answer(response.status, response.headers, response.data)
        except (urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
            raise self._unreachable(error) from error
        finally:
            if file is not None:
                file.close()

    def _headers(self, headers: dict[str, str]) -> dict[str, str]:
        shared = {"Accept": MSGPACK, "User-Agent": "larder-python"}
        if self.token:
            shared["Authorization"] = f"Bearer {self.token}"
        return shared | headers

    def _http(self) -> urllib3.PoolManager:
        if self._pool is None:
            self._pool = urllib3.PoolManager(num_pools=4, maxsize=8, blocksize=_CHUNK)
        return self._pool

    def _limits(self, wait: float) -> urllib3.Timeout:
        return urllib3.Timeout(connect=self._connect_timeout, read=self._timeout + wait)

    def _unreachable(self, error: BaseException) -> errors.Unavailable:
        why = getattr(error, "reason", None) or error
        return errors.Unavailable(
            f"{self.url} cannot be reached ({_short(why)})",
            hint="Start a server with `larder up`, or name one in LARDER_URL or with `larder login`.",
        )


class _Answer:
    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body


class _Watched:
    """A file that tells how far it has been read."""

    def __init__(self, file: IO[bytes], progress: Callable[[int], None]) -> None:
        self._file = file
        self._progress = progress

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self._progress(len(piece))
        return piece

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)


def _address(endpoint: Endpoint[Any, Any], body: Any, path: dict[str, object]) -> tuple[str, bytes | None]:
    target = endpoint.path.format(**{name: quote(str(value), safe="") for name, value in path.items()})
    if endpoint.body is Nothing or endpoint.body is Bytes or body is None:
        return target, None
    if endpoint.method == "GET":
        query = urlencode([(name, value) for name, value in _query(body)])
        return f"{target}?{query}" if query else target, None
    return target, _encode(body)


def _query(body: object) -> Iterator[tuple[str, str]]:
    for name, value in msgspec.to_builtins(body).items():
        if value is None:
            continue
        if isinstance(value, list):
            yield from ((name, each if isinstance(each, str) else msgspec.json.encode(each).decode()) for each in value)
            continue
        yield name, value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _succeeded(answer: "_Answer | tuple[int, Mapping[str, str], bytes]") -> "_Answer":
    if isinstance(answer, tuple):
        answer = _Answer(*answer)
    if 200 <= answer.status < 300:
        return answer
    problem = _problem(answer)
    kind = errors.BY_CODE.get(problem.code) or _by_status(answer.status)
    raise kind(problem.message, hint=problem.hint, field=problem.field, position=problem.position)


def _problem(answer: _Answer) -> Problem:
    decode = msgspec.msgpack.decode if "msgpack" in answer.headers.get("content-type", "") else msgspec.json.decode
    try:
        return decode(answer.body, type=Problem)
    except (msgspec.DecodeError, ValueError):
        # A proxy or a server of another kind answered; its page is not worth showing whole.
        text = " ".join(answer.body[:200].decode("utf-8", "replace").split())
        return Problem(code="", message=f"The server answered {answer.status}{f': {text}' if text else ''}")


def _by_status(status: int) -> type[errors.LarderError]:
    if status in _BUSY or status == 429:
        return errors.Unavailable
    for kind in errors.BY_CODE.values():
        if kind.status == status:
            return kind
    return errors.Invalid if 400 <= status < 500 else errors.Unavailable


def _result(endpoint: Endpoint[Any, Result], answer: _Answer) -> Result:
    kind: Any = endpoint.result
    if kind is Bytes:
        return cast(Result, answer.body)
    if kind is Nothing:
        return cast(Result, Nothing())
    try:
        if "msgpack" in answer.headers.get("content-type", ""):
            return msgspec.msgpack.decode(answer.body, type=endpoint.result)
        return msgspec.json.decode(answer.body, type=endpoint.result)
    except msgspec.DecodeError as error:
        raise errors.Unavailable(
            f"The answer to {endpoint.method} {endpoint.path} makes no sense: {error}",
            hint="Is the address that of a Larder server, and of the same version?",
        ) from error


def _place(url: str) -> str:
    """An address as it may be shown: what is behind the question mark may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"


def _short(error: object) -> str:
    text = str(error).rsplit(": ", 1)[-1].strip("'\"()")
    return re.sub(r"^\[Errno \d+\] ", "", text) or type(error).__name__
