"""Own when a certificate ends, read from its bytes: the gateway has no library that knows more of them. Pure."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

BEGIN: Final = "-----BEGIN CERTIFICATE-----"
END: Final = "-----END CERTIFICATE-----"
VERSION: Final = 0xA0  # the optional first field of what is signed (RFC 5280, 4.1)
VALIDITY: Final = 3  # after serial number, signature algorithm and issuer
UTC_TIME: Final = 0x17  # two digits of the year, until 2049; what comes later has four


def ends(pem: bytes) -> float:
    """Return when the first certificate of a chain ends, in Unix seconds; raise ValueError for what is none."""
    text = pem.decode("ascii")
    start, stop = text.find(BEGIN), text.find(END)
    if not 0 <= start < stop:
        raise ValueError("no certificate")
    [(_, whole)] = _parts(ssl.PEM_cert_to_DER_cert(text[start : stop + len(END)]))
    _, signed = next(_parts(whole))
    fields = [content for tag, content in _parts(signed) if tag != VERSION]
    _, (tag, raw) = _parts(fields[VALIDITY])
    told = raw.decode("ascii")
    if tag == UTC_TIME:
        told = ("20" if told[:2] < "50" else "19") + told
    return datetime.strptime(told, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _parts(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each element of a DER sequence's content."""
    while raw:
        tag, length, begin = raw[0], raw[1], 2
        if length & 0x80:
            begin += length & 0x7F
            length = int.from_bytes(raw[2:begin], "big")
        if len(raw) < begin + length:
            raise ValueError("cut short")
        yield tag, raw[begin : begin + length]
        raw = raw[begin + length :]
