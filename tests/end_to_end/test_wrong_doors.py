"""What real servers answer that are no Pushgateway: an exporter, nginx, a proxy."""

import pytest

from pushgate import Gateway, GatewayRejectedError, PushError, gauge
from support import debian
from support.servers import Server, pushgateway

pytestmark = pytest.mark.end_to_end

METRICS = [gauge("m", "h", 1)]
# As nginx is set up in front of gateways: down for maintenance, full, moved, shut, misspelt.
NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log stderr notice;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    default_type text/html;
    server {{
        listen 127.0.0.1:{port};
        root {folder};
        client_max_body_size 10m;
        location /maintenance {{ return 200 "<html><h1>Back soon</h1></html>"; }}
        location /gone/ {{ proxy_pass http://127.0.0.1:1/; }}
        location /small/ {{ client_max_body_size 1k; proxy_pass http://127.0.0.1:1/; }}
        location /moved/ {{ return 301 https://elsewhere.example/; }}
        location /shut/ {{ return 403; }}
        location /full/ {{ error_page 503 /100mb; return 503; }}
        location /empty {{ return 204; }}
        location /accepted {{ return 202; }}
        location /word {{ default_type text/plain; return 200 "OK"; }}
        location /gateway/ {{ proxy_pass {gateway}/; }}
    }}
}}
"""


@pytest.fixture(scope="module")
def real():
    with pushgateway(debian.require("pushgateway-1.11")) as server:
        yield server


@pytest.fixture(scope="module")
def nginx(real, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nginx")
    with (folder / "100mb").open("wb") as page:
        page.truncate(100 << 20)

    def command(port):
        config = folder / "nginx.conf"
        config.write_text(NGINX.format(folder=folder, port=port, gateway=real.url))
        return [debian.require("nginx"), "-e", "stderr", "-p", folder, "-c", config]

    server = Server(command, ready="getrlimit", environment=debian.environment("nginx"))
    yield server
    server.kill()


@pytest.fixture(scope="module")
def exporter():
    def command(port):
        where = f"--web.listen-address=127.0.0.1:{port}"
        return [debian.require("node-exporter"), where, "--collector.disable-defaults"]

    server = Server(command, ready="listening on")
    yield server
    server.kill()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    config = tmp_path_factory.mktemp("tinyproxy") / "conf"

    def command(port):
        config.write_text(
            f"Port {port}\nListen 127.0.0.1\nTimeout 20\nLogLevel Info\nBasicAuth job s3cret\n"
        )
        return [debian.require("tinyproxy"), "-d", "-c", config]

    server = Server(command, ready="accepting connections")
    yield server
    server.kill()


def push(url, outbox, size=1):
    """The error of a push that does not arrive: nothing is delivered, and it is kept or lost."""
    gateway = Gateway(url, outbox=outbox, retries=0)
    with pytest.raises(GatewayRejectedError) as caught:
        gateway.push("j", [gauge("m", "h" * size, 1)])
    error = caught.value
    assert error.kept is not error.permanent
    assert not outbox.flush(gateway).delivered
    assert [group.labels for group in outbox.waiting()] == [{"job": "j"}] * error.kept
    assert "<" not in str(error)
    return error


def test_an_exporters_port_takes_no_push(exporter, outbox):
    url = f"http://127.0.0.1:{exporter.port}"
    error = push(url, outbox)
    assert (error.status, error.retryable, error.kept) == (200, True, True)
    assert "is this the URL of a Pushgateway?" in str(error)
    assert Gateway(url).ready() is False
    with pytest.raises(PushError):
        Gateway(url).groups()


@pytest.mark.parametrize(
    ("path", "status", "retryable", "words"),
    [
        ("maintenance", 200, True, "is this the URL of a Pushgateway?"),
        ("gone", 502, True, "502 Bad Gateway"),
        ("moved", 301, False, "use passthrough_redirect_handler, or the final URL"),
        ("shut", 403, False, "403 Forbidden"),
        ("full", 503, True, "Service Temporarily Unavailable"),
        ("misspelt", 405, False, "; not a Pushgateway?"),
    ],
)
def test_what_nginx_answers_itself_is_no_delivery(path, status, retryable, words, nginx, outbox):
    url = f"http://127.0.0.1:{nginx.port}/{path}"
    error = push(url, outbox)
    assert (error.status, error.retryable, error.kept) == (status, retryable, True)
    assert words in str(error)
    assert Gateway(url, retries=0).ready() is False


def test_a_body_that_nginx_finds_too_large_is_lost(nginx, outbox):
    error = push(f"http://127.0.0.1:{nginx.port}/small", outbox, size=5_000_000)
    assert (error.status, error.kept) == (413, False)
    assert "Request Entity Too Large" in str(error)


@pytest.mark.parametrize("path", ["empty", "accepted", "word", "gateway"])
def test_a_short_success_through_nginx_is_a_delivery(path, nginx, outbox):
    Gateway(f"http://127.0.0.1:{nginx.port}/{path}", outbox=outbox, retries=0).push("j", METRICS)
    assert outbox.waiting() == []


def test_a_proxy_that_asks_who_we_are_says_so(proxy, real, outbox, monkeypatch):
    """Its 407 is of HTTP/1.0, and ends with the connection."""
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    error = push(real.url, outbox)
    assert (error.status, error.retryable, error.kept) == (407, False, True)
    assert "This proxy requires authentication" in str(error)

    monkeypatch.setenv("http_proxy", f"http://job:s3cret@127.0.0.1:{proxy.port}")
    assert outbox.flush(Gateway(real.url)).delivered == 1
    assert {"job": "j"} in [group.labels for group in Gateway(real.url).groups()]
