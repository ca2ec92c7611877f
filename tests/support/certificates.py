"""A certificate authority with a server's and a client's certificate, as files and as a context."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme

from support import faults


class Certificates:
    """``cert`` and ``key`` are the client's; ``both`` is one file that has the two."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca, self.server, self.cert, self.key, self.both = (
            str(folder / f"{name}.pem") for name in ("ca", "server", "cert", "key", "both")
        )
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.ca)
        server = authority.issue_cert("127.0.0.1", "gateway.example")
        server.private_key_and_cert_chain_pem.write_to_path(self.server)
        client = authority.issue_cert("client.example")
        client.cert_chain_pems[0].write_to_path(self.cert)
        client.private_key_pem.write_to_path(self.key)
        client.private_key_and_cert_chain_pem.write_to_path(self.both)

    def context(self, *, client_certificate: bool = False) -> ssl.SSLContext:
        """The server's."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.ca)
        context.load_cert_chain(self.server)
        context.verify_mode = ssl.CERT_REQUIRED if client_certificate else ssl.CERT_NONE
        return context

    def script(self, *, client_certificate: bool = False) -> faults.Script:
        """A server that accepts every request."""
        context = self.context(client_certificate=client_certificate)
        return faults.over_tls(context, faults.accept)
