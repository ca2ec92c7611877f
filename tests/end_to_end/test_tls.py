"""The real Pushgateway behind TLS, client certificates and basic auth, as exporter-toolkit does it.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md
"""

import json
from collections.abc import Callable
from contextlib import ExitStack

import prometheus_client
import pytest

import pushgate
from pushgate import (
    TLS,
    BasicAuth,
    Gateway,
    GatewayRejectedError,
    GatewayUnreachableError,
    HTTPHandler,
    gauge,
)
from support.certificates import Certificates
from support.debian import require
from support.servers import Pushgateway, pushgateway

pytestmark = pytest.mark.end_to_end

USER, PASSWORD = "jöbs", "pä55 word"
# bcrypt of PASSWORD at the lowest cost; at the usual one, each request would take long.
HASH = "$2b$04$VAblNqnVe5v1B1zaPad20er58fvyZZIZFg/gyJ5ykxAzcmSKdJRnm"
METRICS = (gauge("m", "A metric", 1),)
BIG = (gauge("m", "x" * 2_000_000, 1),)
VERSIONS = ("pushgateway-1.5.1", "pushgateway-1.11")


def web_config(files, *, tls, client, auth):
    settings = {}
    if tls:
        settings["tls_server_config"] = {"cert_file": files.server, "key_file": files.server}
    if client:
        required = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": files.ca}
        settings["tls_server_config"] |= required
    if auth:
        settings["basic_auth_users"] = {USER: HASH}
    path = files.folder / f"web-{tls}-{client}-{auth}.yml"
    path.write_text(json.dumps(settings))
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


Start = Callable[..., Pushgateway]


@pytest.fixture(scope="module", params=VERSIONS)
def start(request, files):
    """Servers of one version, each configuration started once."""
    binary = require(request.param)
    running = {}
    with ExitStack() as stack:

        def of(*, tls=True, client=False, auth=False):
            wanted = (tls, client, auth)
            if wanted not in running:
                config = web_config(files, tls=tls, client=client, auth=auth)
                flag, scheme = f"--web.config.file={config}", "https" if tls else "http"
                server = pushgateway(binary, flag, scheme=scheme)
                running[wanted] = stack.enter_context(server)
            return running[wanted]

        yield of


def use(gateway):
    """Everything a gateway can be asked for."""
    gateway.push("j", METRICS)
    gateway.pushadd("j", METRICS)
    (group,) = gateway.groups()
    assert group.value("m") == 1
    assert gateway.ready()
    assert gateway.version()
    gateway.delete("j")


def test_a_custom_ca_is_enough_for_tls(start, files):
    use(Gateway(start().url, tls=TLS(cafile=files.ca)))


def test_plain_http_to_a_tls_port_gets_the_servers_hint(start):
    url = start().url.replace("https", "http")
    with pytest.raises(GatewayRejectedError, match="HTTP request to an HTTPS server") as caught:
        Gateway(url).push("j", METRICS)
    assert (caught.value.status, caught.value.permanent) == (400, False)


def test_client_certificates_work(start, files):
    server = start(client=True)
    use(Gateway(server.url, tls=TLS(files.ca, files.cert, files.key)))
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.Gauge("m", "A metric", registry=registry)

    def handler(**call):
        return pushgate.tls_auth_handler(
            **call, certfile=files.cert, keyfile=files.key, cafile=files.ca
        )

    pushgate.push_to_gateway(server.url, "j", registry, handler=handler)
    pushgate.delete_from_gateway(server.url, "j", handler=handler)


@pytest.mark.parametrize("metrics", [METRICS, BIG], ids=["small", "big"])
def test_a_missing_client_certificate_is_a_clear_error(metrics, start, files):
    gateway = Gateway(start(client=True).url, tls=TLS(cafile=files.ca))
    # The alert of Go below 1.22 is only "bad certificate".
    with pytest.raises(GatewayUnreachableError, match=r"TLS failed: .*CERTIFICATE") as caught:
        gateway.push("j", metrics)
    assert not caught.value.retryable


def test_a_client_certificate_of_another_authority_is_a_clear_error(start, tmp_path, files):
    strange = Certificates(tmp_path)
    gateway = Gateway(start(client=True).url, tls=TLS(files.ca, strange.cert, strange.key))
    with pytest.raises(GatewayUnreachableError, match="TLS failed"):
        gateway.push("j", METRICS)


@pytest.mark.parametrize(
    ("tls", "client"),
    [(False, False), (True, False), (True, True)],
    ids=["http", "https", "client certificate"],
)
def test_basic_auth_works_alone_and_with_tls(tls, client, start, files):
    server = start(tls=tls, client=client, auth=True)
    files_of = TLS(files.ca, files.cert, files.key) if client else TLS(cafile=files.ca)
    use(Gateway(server.url, tls=files_of, auth=BasicAuth(USER, PASSWORD)))
    use(Gateway(server.url.replace("//", "//j%C3%B6bs:p%C3%A455%20word@"), tls=files_of))
    handler = HTTPHandler(tls=files_of, auth=BasicAuth(USER, PASSWORD))
    pushgate.delete_from_gateway(server.url, "j", handler=handler)


@pytest.mark.parametrize("auth", [None, BasicAuth(USER, "wrong"), BasicAuth("who", PASSWORD)])
@pytest.mark.parametrize("metrics", [METRICS, BIG], ids=["small", "big"])
def test_a_missing_or_wrong_password_is_a_401_at_once(auth, metrics, start):
    with pytest.raises(GatewayRejectedError, match="401: Unauthorized") as caught:
        Gateway(start(tls=False, auth=True).url, auth=auth).push("j", metrics)
    assert caught.value.status == 401
    assert not caught.value.retryable
    assert "wrong" not in str(caught.value)
