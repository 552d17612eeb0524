"""Own the shape of a pasted RSA private key: label, base64 and length. Whether it is a key, the vault service decides.

Line breaks inside a PEM mean nothing: it is read however they were pasted. No message here may hold a part of it.
"""

import base64
import re
from typing import Final

from pydantic_core import PydanticCustomError

MARK: Final = "-----BEGIN"
LIMIT: Final = 4096  # 4096 bits take about 3,300 characters
PASTED_LIMIT: Final = 8192  # the same with all the white space that can come between
LINE: Final = 64
_BLOCK: Final = re.compile(r"-----BEGIN ([A-Z0-9\s]+)-----(.*)-----END ([A-Z0-9\s]+)-----", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\r\\n|\\[nr]")  # line breaks that came as two letters each, from JSON or a .env file
_KEYS: Final = frozenset(["PRIVATE KEY", "RSA PRIVATE KEY"])
_OTHERS: Final = {
    "ENCRYPTED PRIVATE KEY": "pem_encrypted",
    "PUBLIC KEY": "pem_public_key",
    "RSA PUBLIC KEY": "pem_public_key",
    "CERTIFICATE": "pem_certificate",
}


def canonical(text: str) -> str:
    """Return the key in the one way we write it; raise PydanticCustomError for what is no RSA key by its shape."""
    block = _BLOCK.fullmatch(_ESCAPED.sub("\n", text).strip()) if len(text) <= PASTED_LIMIT else None
    if block is None:
        raise PydanticCustomError("not_pem", "no PEM")
    label, content, end = " ".join(block[1].split()), "".join(block[2].split()), " ".join(block[3].split())
    if label != end or MARK in block[2]:
        raise PydanticCustomError("not_pem", "not one block")
    if label not in _KEYS:
        raise PydanticCustomError(_OTHERS.get(label, "pem_not_rsa"), "another label")
    if "4,ENCRYPTED" in content:  # the older way of encrypting says so in a header
        raise PydanticCustomError("pem_encrypted", "encrypted")
    return _written(label, content)


def _written(label: str, content: str) -> str:
    try:
        code = base64.b64encode(base64.b64decode(content, validate=True)).decode()
    except ValueError:
        raise PydanticCustomError("pem_damaged", "no base64") from None
    lines = [code[start : start + LINE] for start in range(0, len(code), LINE)]
    pem = "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])
    if not lines or len(pem) > LIMIT:
        raise PydanticCustomError("pem_length", "wrong length")
    return pem
