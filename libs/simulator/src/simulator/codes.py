"""Bitget's refusals as the simulator gives them: code, text and HTTP status. Authentication errors are 400, not 401
(docs/bitget.md 3)."""

from typing import Final

OK: Final = "00000"

TEXTS: Final[dict[str, str]] = {
    "40002": "ACCESS_SIGN cannot be empty",
    "40005": "Invalid ACCESS_TIMESTAMP",
    "40006": "Invalid ACCESS_KEY",
    "40007": "Invalid Content_Type",
    "40008": "Request timestamp expired",
    "40009": "sign signature error",
    "40011": "ACCESS_PASSPHRASE cannot be empty",
    "40012": "apikey/password is incorrect",
    "40014": "Incorrect permissions, need {} permissions",
    "40018": "Invalid IP, current request ip {}",
    "40019": "Parameter {} cannot be empty",
    "40020": "Parameter {} error",
    "40037": "Apikey does not exist",
    "40084": "The account is in classic mode and cannot use the unified account API",
    "40085": "The account is in unified mode and cannot use the classic account API",
    "40099": "exchange environment is incorrect",
    "40725": "service return an error",
    "30032": "V1 API has been decommissioned, please use the V2 API",
    "40404": "Request URL NOT FOUND",
    "405": "Request method is not supported",
    "413": "Request body is too large",
    "429": "Too Many Requests",
}

_STATUSES: Final = {"40404": 404, "405": 405, "413": 413, "429": 429}


class Refusal(Exception):
    """One negative answer; `subject` fills the blank in the text of codes that have one."""

    def __init__(self, code: str, subject: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.status = _STATUSES.get(code, 400)
        self.text = TEXTS[code].format(subject)
