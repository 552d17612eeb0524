"""Own the signing service over gRPC, for services that trade or sign much: needs the extra `grpc`.

What is signed and handed out holds API key and passphrase: no `repr` and no error shows it. Nothing is repeated here.
"""

import json
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import grpc
import httpx
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from strongroom_client.execution import Answer
from strongroom_client.proxy import TokenProvider, fresh
from strongroom_client.signing_errors import of_refusal, of_rpc

Body = bytes | Mapping[str, Any] | list[Any] | None
SERVICE: Final = "strongroom.signing.v1.SigningService"
TIMEOUT_S: Final = 20.0
STREAM_S: Final = 600.0
# The server's limit for an answer of the exchange is 4 MiB, in pieces; one message is never larger.
OPTIONS: Final = (("grpc.enable_retries", 0), ("grpc.keepalive_time_ms", 30_000))


@dataclass(frozen=True, slots=True)
class Asked:
    """One request to be signed; amounts are texts. A body that is no bytes is written as JSON without white space."""

    binding_id: str
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Body = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Signed:
    """The exact bytes to send to the exchange, within 30 seconds of `stamped_at_ms` (Unix time in ms)."""

    method: str
    target: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    stamped_at_ms: int


@dataclass(frozen=True, slots=True)
class WebSocketLogin:
    """What logs a private WebSocket in, for 30 seconds."""

    api_key: str = field(repr=False)
    passphrase: str = field(repr=False)
    timestamp: str
    sign: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request of a stream: its place in it, and either what was signed or why it was not."""

    number: int
    signed: Signed | None
    error: Exception | None


class Signing:
    """One tenant's way to the signing service by mutual TLS; an asynchronous context manager.

    The certificate's files are read when it is entered: enter anew after they were replaced.
    """

    def __init__(
        self,
        target: str,
        token: str | TokenProvider,
        *,
        cert_file: str | Path,
        key_file: str | Path,
        ca_file: str | Path,
        server: str = "verifier",
        timeout: float = TIMEOUT_S,
    ) -> None:
        self._target, self._server, self._timeout = target, server, timeout
        self._token: TokenProvider = (lambda: token) if isinstance(token, str) else token
        self._files = (Path(ca_file), Path(key_file), Path(cert_file))
        self._messages = _messages()
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> Self:
        """Read the certificate; raise OSError for a file that is missing. The connection is made when needed."""
        ca, key, cert = (file.read_bytes() for file in self._files)
        options = [*OPTIONS, ("grpc.ssl_target_name_override", self._server)]
        credentials = grpc.ssl_channel_credentials(ca, key, cert)
        self._channel = grpc.aio.secure_channel(self._target, credentials, options=options)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        if self._channel is not None:
            await self._channel.close()

    async def execute(self, asked: Asked, *, idempotency_key: str = "") -> Answer:
        """Have a request signed and sent once, and return the exchange's answer, whatever its status.

        Raises PolicyRefused and Throttled (nothing was sent), and OutcomeUnknown when it may have been done.
        """
        message = self._messages["ExecuteRequest"](
            binding_id=asked.binding_id, request=self._request(asked), idempotency_key=idempotency_key
        )
        call = self._method("Execute", "unary_stream")(message, timeout=self._timeout, metadata=await self._metadata())
        head, content = None, b""
        try:
            async for piece in call:
                head = piece.head if piece.HasField("head") else head
                content += piece.body
        except grpc.aio.AioRpcError as failure:
            raise of_rpc(failure, sent=asked.method.upper() != "GET") from None
        if head is None:
            raise of_rpc(None, sent=asked.method.upper() != "GET")
        headers = httpx.Headers([(one.name, one.value) for one in head.headers])
        return Answer(head.status, head.reason, "exchange", headers, content)

    async def sign(self, asked: Asked) -> Signed:
        """Return a signed request for the caller to send."""
        message = self._messages["SignRequest"](binding_id=asked.binding_id, request=self._request(asked))
        return _signed(await self._call("Sign", message))

    async def sign_websocket_login(self, binding_id: str) -> WebSocketLogin:
        """Return what logs a private WebSocket in; whoever has it may do there whatever the key may."""
        message = self._messages["SignWebSocketLoginRequest"](binding_id=binding_id)
        login = (await self._call("SignWebSocketLogin", message)).login
        return WebSocketLogin(login.api_key, login.passphrase, login.timestamp, login.sign)

    async def sign_stream(
        self, asked: AsyncIterable[Asked] | Iterable[Asked], *, longest: float = STREAM_S
    ) -> AsyncIterator[Outcome]:
        """Have many signed over one stream of at most `longest` seconds; yield outcomes as they come, in any order.

        A refused one is an outcome with an error, and the others go on. Raises ApiError when the stream itself fails.
        """
        made = self._messages["SignStreamRequest"]

        async def messages() -> AsyncIterator[Any]:
            number = 0
            async for one in _each(asked):
                yield made(id=number, binding_id=one.binding_id, request=self._request(one))
                number += 1

        method = self._method("SignStream", "stream_stream")
        call = method(messages(), timeout=longest, metadata=await self._metadata())
        try:
            async for answer in call:
                if answer.WhichOneof("outcome") == "signed":
                    yield Outcome(answer.id, _signed(answer.signed), None)
                else:
                    yield Outcome(answer.id, None, of_refusal(answer.refusal))
        except grpc.aio.AioRpcError as failure:
            raise of_rpc(failure, sent=False) from None
        finally:
            call.cancel()

    async def _call(self, name: str, message: Any) -> Any:
        try:
            method = self._method(name, "unary_unary")
            return await method(message, timeout=self._timeout, metadata=await self._metadata())
        except grpc.aio.AioRpcError as failure:
            raise of_rpc(failure, sent=False) from None

    def _method(self, name: str, kind: str) -> Any:
        if self._channel is None:
            raise RuntimeError("Signing is an asynchronous context manager: enter it first.")
        answer = self._messages[f"{name}Response"]
        return getattr(self._channel, kind)(
            f"/{SERVICE}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )

    async def _metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {await fresh(self._token)}"),)

    def _request(self, asked: Asked) -> Any:
        parameters = [{"name": name, "value": value} for name, value in asked.query.items()]
        body = asked.body
        if not isinstance(body, bytes):
            body = b"" if body is None else json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
        return self._messages["ExchangeRequest"](method=asked.method, path=asked.path, query=parameters, body=body)


def _signed(answer: Any) -> Signed:
    one = answer.signed
    headers = {header.name: header.value for header in one.headers}
    return Signed(one.method, one.target, headers, one.body, answer.stamped_at_ms)


async def _each(asked: AsyncIterable[Asked] | Iterable[Asked]) -> AsyncIterator[Asked]:
    if isinstance(asked, AsyncIterable):
        async for one in asked:
            yield one
        return
    for one in asked:
        yield one


def _messages() -> dict[str, Any]:
    """Return the messages by their short names, of a pool of their own: a program may have the same protos itself."""
    data = resources.files("strongroom_client").joinpath("signing.binpb").read_bytes()
    files = descriptor_pb2.FileDescriptorSet.FromString(data).file
    pool = descriptor_pool.DescriptorPool()
    for file in files:
        pool.AddSerializedFile(file.SerializeToString())
    found = message_factory.GetMessageClassesForFiles([file.name for file in files], pool)
    return {name.rpartition(".")[2]: made for name, made in found.items()}
