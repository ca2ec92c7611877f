"""The parser of a command, and the options that several commands share.

A command's ``parser()`` returns a :class:`Parser`. No option takes a secret: every process of a
host can read the arguments of the others.
"""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any, NoReturn

from .exit_status import UsageError
from .parsed_options import ParsedOptions
from .unknown_option import what_is_wrong_with

if TYPE_CHECKING:
    from collections.abc import Callable

# Option, setting, placeholder, help, and for which commands. The setting is also the name in the
# namespace; without a placeholder, it is a switch.
_OPTIONS: tuple[tuple[str, str, str, str, str], ...] = (
    ("--gateway", "gateway", "URL", "http://host:9091 or host:port, else PUSHGATE_GATEWAY", "all"),
    ("--config", "config", "FILE", "settings from this TOML file", "all"),
    ("--timeout", "timeout", "DURATION", "for a request and its retries: 2.5, 30s, 1m", "request"),
    ("--retries", "retries", "N", "how often to try again what may succeed later", "retries"),
    ("--redirects", "redirects", "N", "how many redirects to follow", "retries"),
    ("--compression", "compression", "NAME", "gzip, snappy or none", "push"),
    ("--utf8-names", "utf8_names", "", "any text as names, if the gateway takes it", "push"),
    ("--outbox", "outbox", "PATH", "where undelivered pushes wait, or off", "outbox"),
    ("--username", "username", "NAME", "for basic authentication, with PUSHGATE_PASSWORD", "all"),
    ("--header", "headers", "'NAME: VALUE'", "add a header; may be repeated", "all"),
    ("--cafile", "cafile", "FILE", "authorities to trust instead of the system's", "all"),
    ("--certfile", "certfile", "FILE", "the client certificate", "all"),
    ("--keyfile", "keyfile", "FILE", "its key, if that is in another file", "all"),
    ("--insecure", "insecure_skip_verify", "", "do not check the server's certificate", "all"),
)
_MATCHERS = """\
A MATCHER is a job's name, or LABEL=VALUE, LABEL!=VALUE, LABEL=~REGEXP or
LABEL!~REGEXP, as in PromQL: backup, job=backup, 'instance=~db.*'. All have to
match.
"""
_ARGPARSE = (  # its words, and ours
    (r"the following arguments are required: (.+)", r"give \1"),
    (r"argument (\S+?)(?:/\S+)?: expected (?:one|at least one) argument", r"\1 needs a value"),
    (r"argument (\S+): not allowed with argument (\S+)", r"give either \1 or \2, not both"),
    (r"unrecognized arguments: (.+)", r"too many arguments: \1"),
    (r"argument (\S+?)(?:/\S+)?: ignored explicit argument .*", r"\1 takes no value"),
    (r"argument (\S+): invalid choice: (.+) \(choose from (.+)\)", r"\1 \2 is none of \3"),
    (r"argument (\S+?)(?:/\S+)?: (.+)", r"\1: \2"),
)


class Parser(argparse.ArgumentParser):
    """argparse with UsageError in place of an exit, suggestions, and a short usage line."""

    def __init__(self, command: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=f"pushgate {command}",
            description=description,
            epilog=epilog,
            formatter_class=_HelpFormatter,
            allow_abbrev=False,
            add_help=False,
        )
        self._positionals.title = "arguments"
        self.color = False  # of Python 3.14's help, which also goes into the manual
        self.add_argument("-h", "--help", action="help", help="show this help")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """The options in ``args``. Raises UsageError."""
        known = self._option_string_actions
        for word in args:
            if word == "--":
                break
            option, _, value = word.partition("=")
            is_option = re.match("--?[a-zA-Z]", option) is not None
            together = not option.startswith("--") and {f"-{c}" for c in option[1:]} <= known.keys()
            if is_option and option not in known and not together:
                self.error(what_is_wrong_with(option, known))
            if is_option and value == "--":  # of which argparse of Python 3.11 makes an empty list
                self.error(f"{option} needs a value")
        return super().parse_args(args, ParsedOptions() if namespace is None else namespace)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        for theirs, ours in _ARGPARSE:
            message, changed = re.subn(f"^{theirs}$", ours, message)
            if changed:
                break
        raise UsageError(f"{message}; see '{self.prog} --help'")

    def format_help(self) -> str:
        """The help, whose first line has the arguments that are not optional alone."""
        required = [a for a in self._actions if a.required and a.option_strings]
        rest = [a for a in self._actions if not a.option_strings]
        usage = [f"{a.option_strings[0]} {a.metavar}" for a in required] + ["[options]"]
        shown = {None: "{}", "?": "[{}]", "*": "[{} ...]", argparse.REMAINDER: "[--] {} [ARG ...]"}
        usage += [shown[a.nargs].format(a.metavar) for a in rest]  # type: ignore[index]
        self.usage = " ".join([self.prog, *usage])
        return super().format_help()

    def print_help(self, _file: Any = None) -> None:
        """Print the help. Raises OSError, which argparse would hide."""
        print(self.format_help(), end="")

    def add_gateway(self, *kinds: str, several: bool = False) -> None:
        """Add the options for the gateway that have an effect on this command.

        ``kinds`` are ``request`` where it sends any (``retries``: with another time-out), ``push``
        where it pushes, ``outbox`` where it uses the outbox. ``several`` gateways are a list.
        """
        if "request" in kinds:
            kinds += ("retries",)
        group = self.add_argument_group("gateway")
        for option, setting, placeholder, text, kind in _OPTIONS:
            if kind not in ("all", *kinds):
                continue
            if not placeholder:
                group.add_argument(
                    option, dest=setting, action="store_const", const=True, help=text
                )
            else:
                is_list = setting == "headers" or (several and setting == "gateway")
                action = "append" if is_list else "store"
                group.add_argument(
                    option, dest=setting, metavar=placeholder, action=action, help=text
                )

    def add_group(self, *, job_required: bool = True) -> None:
        """Add ``--job`` and ``--group``, which name one group."""
        add_option(self, "--job", "NAME", "the job's name", required=job_required)
        text = "a further label of the group; may be repeated"
        add_option(self, "--group", "LABEL=VALUE", text, repeated=True, default=[])

    def add_scrape_job(self) -> None:
        """Add ``--scrape-job``, which Prometheus's own configuration has, too."""
        text = "the job_name under which Prometheus scrapes the gateway (%(default)s)"
        add_option(self, "--scrape-job", "NAME", text, default="pushgateway")

    def add_matchers(self, text: str) -> None:
        """Add MATCHER arguments, which select groups."""
        self.add_argument("matchers", nargs="*", metavar="MATCHER", help=text)
        self.epilog = f"{_MATCHERS}\n{self.epilog}" if self.epilog else _MATCHERS

    def add_deletion(self) -> None:
        """Add ``--dry-run`` and ``--yes``, for commands that delete many groups."""
        add_option(self, "--dry-run", "", "only show what would be deleted")
        text = (
            "do not ask before more than half of the gateway's groups are deleted, or one that was"
            " pushed within an hour; needed for that where there is no terminal"
        )
        add_option(self, "--yes", "", text)

    def add_output(self, *names: str, json: str = "for scripts, with all numbers") -> None:
        """Add ``--json``, ``-q`` or ``-v``, those of them that ``names`` has."""
        if "json" in names:
            self.add_argument("--json", action="store_true", help=json)
        if "quiet" in names:
            self.add_argument(
                "-q", "--quiet", action="store_true", help="print nothing; the exit status tells"
            )
        if "verbose" in names:
            self.add_argument("-v", "--verbose", action="store_true", help="say what is done")


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        # Not the terminal's width: pages of the manual and tests have the same lines.
        super().__init__(prog, max_help_position=27, width=80)


def add_option(
    to: argparse._ActionsContainer,
    name: str,
    placeholder: str,
    text: str,
    *,
    read: Callable[[str], Any] = str,
    default: object = None,
    required: bool = False,
    repeated: bool = False,
    dest: str = "",
) -> None:
    """Add an option to a parser or a group of its options; a switch, without a placeholder.

    ``read`` makes the value of what is written, or raises ValueError. ``repeated``: it is a list.
    ``dest`` is its name in the namespace, by default its own.
    """
    dest = dest or name.lstrip("-").replace("-", "_")
    if not placeholder:
        to.add_argument(name, dest=dest, action="store_true", help=text)
        return
    to.add_argument(
        name,
        dest=dest,
        metavar=placeholder,
        help=text,
        type=value_of(read),
        default=default,
        required=required,
        action="append" if repeated else "store",
    )


def value_of(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """For argparse: a reader whose ValueError is the error's text."""

    def convert(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert
