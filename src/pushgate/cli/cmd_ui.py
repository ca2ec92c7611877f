"""``pushgate ui``: the page of all jobs on loopback, until Ctrl-C or TERM."""

from __future__ import annotations

from ..ui.history import PrometheusHistory
from ..ui.live_history import LiveHistory
from ..ui.live_view import LiveView
from ..ui.page_server import PageServer
from .exit_status import CommandError
from .parsed_options import ParsedOptions
from .parser import Parser, add_option
from .serving import until_ended, why_not_listening
from .waiting import waiting_line


def parser() -> Parser:
    made = Parser(
        "ui",
        "A page of all jobs, the worst first, as in 'pushgate status'. It reloads every\n"
        "10 seconds. It listens on 127.0.0.1 alone, where every user of this host can\n"
        "see it; from another host: ssh -L 8080:127.0.0.1:PORT HOST",
    )
    made.add_matchers("only jobs that match")
    text = "where to listen, by default a free one"
    add_option(made, "--port", "PORT", text, read=_port, default=0)
    text = "show each job's last 30 runs, too, from this Prometheus"
    add_option(made, "--prometheus", "URL", text, read=PrometheusHistory)
    made.add_gateway("request", "outbox")
    return made


def run(options: ParsedOptions) -> int:
    """Returns 0 after Ctrl-C or TERM. Raises CommandError where it can't listen."""
    settings = options.load_settings()

    def notes() -> tuple[str, ...]:
        return tuple(filter(None, [waiting_line(settings)]))

    history = options.prometheus and LiveHistory(options.prometheus)
    live = LiveView(settings.to_gateway(), options.read_matchers(), history, notes)
    with until_ended():
        try:
            server = PageServer(live, options.port)
        except OSError as error:
            text = why_not_listening(error, "127.0.0.1", options.port, "--port ")
            raise CommandError(text) from error
        with server:
            print(f"listening on {server.url}; Ctrl-C ends it", flush=True)
            server.serve_forever()
    return 0


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) > 65535:
        raise ValueError(f"{text!r} is no port; give a number up to 65535")
    return int(text)
