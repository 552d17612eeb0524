"""Own the mTLS credentials of a process. Nothing here can switch verification off."""

from dataclasses import dataclass
from pathlib import Path

import grpc

from common.config import ServiceSettings


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
        """Return credentials that demand a client certificate of our authority."""
        pair = (self.key_file.read_bytes(), self.cert_file.read_bytes())
        return grpc.ssl_server_credentials([pair], self.ca_file.read_bytes(), require_client_auth=True)

    def channel(self) -> grpc.ChannelCredentials:
        """Return credentials that show our certificate and trust our authority only."""
        return grpc.ssl_channel_credentials(
            self.ca_file.read_bytes(), self.key_file.read_bytes(), self.cert_file.read_bytes()
        )
