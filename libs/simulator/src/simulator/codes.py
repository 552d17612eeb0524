"""Bitget's refusals as the simulator gives them: code, text and HTTP status. Authentication errors are 400, not 401
(docs/bitget.md 3)."""

from typing import Final

OK: Final = "00000"

_OF_CALLS: Final = {
    "40002": "ACCESS_SIGN cannot be empty",
    "40005": "Invalid ACCESS_TIMESTAMP",
    "40006": "Invalid ACCESS_KEY",
    "40007": "Invalid Content_Type",
    "40008": "Request timestamp expired",
    "40009": "sign signature error",
    "40011": "ACCESS_PASSPHRASE cannot be empty",
    "40012": "apikey/password is incorrect",
    "40014": "Incorrect permissions, need {} permissions",
    "40017": "Parameter verification failed {}",
    "40018": "Invalid IP, current request ip {}",
    "40019": "Parameter {} cannot be empty",
    "40020": "Parameter {} error",
    "40034": "Parameter {} does not exist",
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

# What it refuses an order or a transfer for: v2 has codes of its own for spot and futures, v3 one list for all.
_OF_TRADES: Final = {
    "22001": "No order to cancel",
    "22002": "No position to close",
    "25100": "Trading pair {} does not exist",
    "25107": "There is currently a position, please close the position",
    "25200": "{} validation error",
    "25202": "Insufficient balance",
    "25203": "Insufficient margin",
    "25204": "Order does not exist",
    "25207": "{} trading quantity cannot be less than the minimum",
    "25212": "Duplicate clientOid",
    "25223": "Exceeds Max. leverage",
    "25227": "No position available to close",
    "25231": "Close quantity cannot exceed the held position quantity",
    "25236": "Incorrect position open type",
    "25241": "Bulk orders cannot exceed the corresponding maximum order value.",
    "25244": "Price should be a multiple of {}",
    "25610": "Order amount does not meet precision requirements",
    "40109": "The data of the order cannot be found, please confirm the order number",
    "40306": "Batch processing orders can only process up to {}",
    "40757": "Not enough position is available",
    "40762": "The order amount exceeds the balance",
    "40768": "Order does not exist",
    "40774": "The order type for unilateral position must also be the unilateral position type.",
    "40786": "Duplicate clientOid",
    "40797": "Exceeded the maximum settable leverage",
    "40808": "Parameter verification exception {}",
    "40920": "Position or order exists, the position mode cannot be switched",
    "43001": "The order does not exist",
    "43011": "The parameter does not meet the specification {}",
    "43012": "Insufficient balance",
    "43114": "Withdrawal is less than the minimum withdrawal count {}",
    "43117": "Exceeds the maximum amount that can be transferred",
    "43118": "clientOrderId duplicate",
    "45110": "less than the minimum amount {}",
    "45117": "Currently holding positions or orders, the margin mode cannot be adjusted",
}

# What the exchange refuses an account for, however good its key is (docs/bitget.md 3.2), by a name to say it with.
STATES: Final[dict[str, tuple[str, str]]] = {
    "region": ("40000", "Bitget is providing services to many countries and regions, except yours"),
    "abnormal": ("40013", "User status is abnormal"),
    "phone": ("40016", "The user must bind the phone or Google"),
    "restricted": ("40022", "The account's business has been restricted"),
    "api_restricted": ("40023", "The account cannot use the API service"),
    "frozen": ("40024", "Account is frozen"),
    "disabled": ("40026", "User is disabled"),
    "kyc": ("40027", "The kyc of the account must be completed"),
    "cancelled": ("40031", "The account has been cancelled and cannot be used again"),
    "kyc_withdraw": ("40035", "Judging from your login information, you are required to complete KYC first"),
    "wrong_passphrase": ("40036", "passphrase is error"),
    "ip_not_listed": ("40038", "The current ip is not in the apikey ip whitelist"),
    "no_permission": ("40040", "The user has no permission for this API key"),
    "key_unknown": ("40041", "User's ApiKey does not exist"),
    "loan_sub_account": ("40042", "Restricted for sub-accounts of institutional loans"),
    "main_key_only": ("40048", "The call needs the API key of the main account"),
    "sub_not_allowed": ("40061", "Sub-accounts may not use this call"),
    "key_missing": ("40065", "The API key does not exist"),
    "main_account_only": ("40068", "Only the main account may use this call"),
    "vip_domain": ("40086", "The account has no access to the VIP domain"),
    "kyc_level": ("40100", "Identity verification is required"),
    "kyc_identity": ("40101", "Please complete identity verification first"),
    "region_account": ("40103", "Your region is not served"),
    "region_ip": ("40104", "Your IP location is not served"),
    "kyc_again": ("40111", "Identity verification has to be repeated"),
    "lead_trader": ("40199", "Lead traders cannot use the API for this"),
    "not_obtained": ("40301", "Permission has not been obtained yet"),
    "ip_list_required": ("22010", "Please bind an IP whitelist address first"),
    "irregular": ("25006", "The account is irregular"),
    "irregular_api": ("25007", "The API of the account is irregular"),
}
ELITE_TRADER: Final = "elite_trader"  # works on v3; a v2 call is answered 40731

_STATUSES: Final = {"40404": 404, "405": 405, "413": 413, "429": 429}


TEXTS: Final = {
    **_OF_CALLS,
    **_OF_TRADES,
    **dict(STATES.values()),
    "40731": "The product does not support copy trading",
}


class Refusal(Exception):
    """One negative answer; `subject` fills the blank in the text of codes that have one."""

    def __init__(self, code: str, subject: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.status = _STATUSES.get(code, 400)
        self.text = TEXTS[code].format(subject)
