"""RSA keys as they are pasted: what is read as one, what is reported, and what is refused with which remedy."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from strongroom.types.v1 import binding_pb2 as pb

KEY = rsa.generate_private_key(65537, 2048)
PKCS1 = PrivateFormat.TraditionalOpenSSL


def pem(key, form=PrivateFormat.PKCS8, passphrase=b""):
    covered = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, form, covered).decode()


GOOD = pem(KEY)
FIRST, *INNER, LAST = GOOD.splitlines()


@pytest.fixture
def paste(client, body):
    """Bind with a pasted text as the RSA key."""

    def post(text, **changes):
        credential = {**body["credential"], "key_type": "rsa", "secret_key": text, **changes}
        return client.post("/v1/bindings", json={**body, "credential": credential})

    return post


PASTED = {
    "as the file has it": GOOD,
    "without the last line end": GOOD.rstrip(),
    "with Windows line ends": GOOD.replace("\n", "\r\n"),
    "with old Macintosh line ends": GOOD.replace("\n", "\r"),
    "on one line": FIRST + "".join(INNER) + LAST,
    "with spaces for line breaks": " ".join(GOOD.split("\n")).rstrip(),
    "with escaped line breaks": GOOD.replace("\n", "\\n"),
    "with escaped Windows line breaks": GOOD.replace("\n", "\\r\\n"),
    "with other line lengths": "\n".join([FIRST, *("".join(INNER)[at : at + 76] for at in range(0, 1624, 76)), LAST]),
    "indented": FIRST + "\n" + "".join(f"    {line}\n" for line in INNER) + LAST,
    "with empty lines between": GOOD.replace("\n", "\n\n").rstrip(),
}


@pytest.mark.parametrize("how", PASTED)
def test_line_breaks_inside_mean_nothing_and_are_not_reported(paste, world, tenant, how):
    answer = paste(PASTED[how])
    assert answer.status_code == 202, answer.text
    shown = answer.json()
    stored = world.binds[tenant, shown["id"]].credential
    assert (stored.secret_key, stored.key_type) == (GOOD, pb.KEY_TYPE_RSA)
    assert (shown["credential"]["key_type"], shown["findings"]) == ("rsa", [])


@pytest.mark.parametrize("around", [" {}", "{}\n\n", "\ufeff{}", "\t{}\u00a0", "\n{}", "{} "])
def test_white_space_outside_is_removed_and_reported(paste, world, tenant, around):
    shown = paste(around.format(GOOD)).json()
    stored = world.binds[tenant, shown["id"]]
    assert (stored.credential.secret_key, list(stored.whitespace_removed)) == (GOOD, ["secret_key"])
    assert [one["code"] for one in shown["findings"]] == ["whitespace_removed"]


@pytest.mark.parametrize("bits", [2048, 4096])
def test_both_forms_are_taken_in_each_size(paste, world, tenant, bits):
    key = rsa.generate_private_key(65537, bits)
    for form in (PrivateFormat.PKCS8, PKCS1):
        answer = paste(pem(key, form), api_key=f"bg_{bits}_{form is PKCS1}")
        assert answer.status_code == 202, answer.text
        assert world.binds[tenant, answer.json()["id"]].credential.secret_key == pem(key, form)


CERTIFICATE = GOOD.replace("PRIVATE KEY", "CERTIFICATE")
REFUSED = {
    "encrypted": (pem(KEY, passphrase=b"words"), "pem_encrypted"),
    "encrypted in the older way": (pem(KEY, PKCS1, passphrase=b"words"), "pem_encrypted"),
    "encrypted in the older way on one line": (
        pem(KEY, PKCS1, passphrase=b"words").replace("\n", " ").strip(),
        "pem_encrypted",
    ),
    "a public key": (
        KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
        "pem_public_key",
    ),
    "a public key in the older form": (
        KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1).decode(),
        "pem_public_key",
    ),
    "a certificate": (CERTIFICATE, "pem_certificate"),
    "an elliptic key": (pem(ec.generate_private_key(ec.SECP256R1()), PKCS1), "pem_not_rsa"),
    "an OpenSSH key": (pem(KEY, PrivateFormat.OpenSSH), "pem_not_rsa"),
    "two keys": (GOOD + GOOD, "not_pem"),
    "a key and a certificate": (GOOD + CERTIFICATE, "not_pem"),
    "words before it": ("Bag Attributes\n" + GOOD, "not_pem"),
    "words behind it": (GOOD + "mine", "not_pem"),
    "two labels": (GOOD.replace("BEGIN PRIVATE", "BEGIN RSA PRIVATE"), "not_pem"),
    "no last line": ("\n".join([FIRST, *INNER]), "not_pem"),
    "no first line": ("\n".join([*INNER, LAST]), "not_pem"),
    "no lines around": ("".join(INNER), "not_pem"),
    "a system-generated secret": ("5f4dcc3b5aa765d61d8327deb882cf99" * 2, "not_pem"),
    "a letter lost": (GOOD.replace(INNER[3], INNER[3][1:]), "pem_damaged"),
    "a letter of another alphabet": (GOOD.replace(INNER[3], "ß" + INNER[3][1:]), "pem_damaged"),
    "nothing inside": (f"{FIRST}\n{LAST}\n", "pem_length"),
    "far too long": (pem(KEY).replace(INNER[3], INNER[3] * 60), "pem_length"),
    "endless": (FIRST + "A" * 20_000 + LAST, "not_pem"),
    "white space only": (" \n\u200b", "empty"),
    "no text": (7, "not_a_text"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_rsa_private_key_is_refused_with_a_remedy_and_never_repeated(paste, what):
    text, code = REFUSED[what]
    answer = paste(text)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    (fault,) = answer.json()["errors"]
    assert (fault["field"], fault["code"]) == ("credential.secret_key", code)
    parts = [part for part in str(text).split() if len(part) > 20]
    assert not [part for part in parts if part[:20] in answer.text]


@pytest.mark.parametrize("how", ["with the key type hmac", "without a key type", "on one line"])
def test_a_pem_is_never_taken_for_an_hmac_secret(client, body, how):
    text = PASTED["on one line"] if how == "on one line" else GOOD
    body["credential"] |= {"secret_key": text} | ({"key_type": "hmac"} if how == "with the key type hmac" else {})
    answer = client.post("/v1/bindings", json=body)
    (fault,) = answer.json()["errors"]
    assert (answer.status_code, fault["field"], fault["code"]) == (422, "credential.secret_key", "pem_as_hmac")
    assert "key_type rsa" in fault["message"]


def test_a_wrong_key_type_is_the_only_fault_told(paste):
    answer = paste(GOOD, key_type="dsa")
    (fault,) = answer.json()["errors"]
    assert (answer.status_code, fault["field"], fault["code"]) == (422, "credential.key_type", "not_a_choice")
