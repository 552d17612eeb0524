"""Own the mTLS credentials of a process, read anew when their files change. Nothing here switches verification off."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from common import metrics
from common.config import ServiceSettings
from common.rpc import certificate

CERTIFICATE_ENDS: Final = metrics.gauge(
    "strongroom_certificate_expires_timestamp_seconds", "When the certificate that this process shows ends"
)


@dataclass(frozen=True, slots=True)
class Pem:
    """What the files of one identity held at one moment: a certificate chain, its own key, the authority."""

    cert: bytes
    key: bytes
    ca: bytes

    def channel(self) -> grpc.ChannelCredentials:
        """Return credentials that show our certificate and trust our authority only."""
        return grpc.ssl_channel_credentials(self.ca, self.key, self.cert)

    def served(self) -> grpc.ServerCertificateConfiguration:
        """Return what a server shows and whom it believes."""
        return grpc.ssl_server_certificate_configuration([(self.key, self.cert)], self.ca)


@dataclass(frozen=True, slots=True)
class Identity:
    """The files of one workload's certificate, its key and the authority it trusts (PEM)."""

    cert_file: Path
    key_file: Path
    ca_file: Path

    @classmethod
    def of(cls, settings: ServiceSettings) -> "Identity":
        """Return the identity that the settings name."""
        return cls(settings.tls_cert_file, settings.tls_key_file, settings.tls_ca_file)

    def server(self) -> grpc.ServerCredentials:
        """Return credentials, for one port, that demand a client certificate of our authority.

        Each handshake has the newest files.
        """
        files = Files(self)
        fetcher: Any = Fetcher(files)  # types-grpcio does not know that None says: no change
        return grpc.dynamic_ssl_server_credentials(files.pem().served(), fetcher, True)

    def read(self) -> Pem:
        """Return what the files hold; raise OSError when they cannot be read or do not belong together."""
        checked = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        checked.load_cert_chain(self.cert_file, self.key_file)  # a key of another certificate raises
        checked.load_verify_locations(self.ca_file)
        return Pem(self.cert_file.read_bytes(), self.key_file.read_bytes(), self.ca_file.read_bytes())

    def stamp(self) -> tuple[tuple[int, int, int], ...]:
        """Return what tells whether a file was replaced; raise OSError for one that is missing."""
        found = (file.stat() for file in (self.cert_file, self.key_file, self.ca_file))
        return tuple((one.st_mtime_ns, one.st_ino, one.st_size) for one in found)


class Files:
    """The files of an identity as they were when they last belonged together.

    While they are replaced one by one, and when what comes is no identity, what was there goes on being used.
    """

    def __init__(self, identity: Identity) -> None:
        """Read the files; raises OSError when they are no identity."""
        self._identity = identity
        self._stamp = identity.stamp()
        self._pem = identity.read()
        CERTIFICATE_ENDS.set_function(lambda: certificate.ends(self.pem().cert))

    def pem(self) -> Pem:
        """Return the same object as long as no file has changed; safe to call from any thread."""
        try:
            stamp = self._identity.stamp()
            if stamp != self._stamp:
                fresh = self._identity.read()
                if stamp == self._identity.stamp():  # nothing was replaced while it was read
                    self._stamp, self._pem = stamp, fresh
        except OSError:
            pass  # the next look comes with the next call
        return self._pem


class Fetcher:
    """What gRPC asks before each handshake, one at a time: what the server is to show from now on, None for no change.

    It must not be told what it has. gRPC 1.85 takes whatever it is told in place of what a handshake beside it may just
    be using, and dies of that within some hundred handshakes; told once for each change, it did not in 900 of them.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._told = files.pem()

    def __call__(self) -> grpc.ServerCertificateConfiguration | None:
        """Return what has changed."""
        pem = self._files.pem()
        if pem is self._told:
            return None
        self._told = pem
        return pem.served()
