"""The parser of the text format 0.0.4, as strict as a Pushgateway.

Its second half, lenient_parse.py, takes what scripts append to a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .metric_types import BOUNDS, MEMBERS, TYPES
from .text_lines import LineError, read_comment, read_help, read_number, read_sample

if TYPE_CHECKING:
    from .families import Sample

# Go's parser has one more type, which the text format has not.
_GAUGE_HISTOGRAM = "gaugehistogram"
_TYPES = {name: name for name in TYPES} | {
    _GAUGE_HISTOGRAM: _GAUGE_HISTOGRAM,
    "gauge_histogram": _GAUGE_HISTOGRAM,
}
_MEMBERS = {**MEMBERS, _GAUGE_HISTOGRAM: MEMBERS["histogram"]}
_BOUNDS = {**BOUNDS, _GAUGE_HISTOGRAM: BOUNDS["histogram"]}


class ParseError(ValueError):
    """The body is not text format 0.0.4; the text has the line and the reason."""


class TextFamily:
    """A family as the text has it: ``name`` with every suffix, ``type`` as the gateway takes it.

    ``has_type_line`` tells whether the text says the type: without one it is untyped. ``lines`` are
    all its lines, comments included, in their order. Not a dataclass: importing dataclasses takes
    10 ms, and what fails in a process that dies is parsed to be kept.
    """

    __slots__ = ("documentation", "has_type_line", "lines", "name", "samples", "type")

    def __init__(self, name: str) -> None:
        self.name = name
        self.type = ""
        self.has_type_line = False
        self.documentation: str | None = None
        self.samples: list[Sample] = []
        self.lines: list[str] = []

    @property
    def text(self) -> bytes:
        """The family's lines alone, as a body."""
        return "\n".join([*self.lines, ""]).encode("utf-8", "surrogateescape")


def parse_text(body: bytes, *, utf8_names: bool = False) -> dict[str, TextFamily]:
    """The families of ``body`` by name, without empty ones.

    Names may be in quotes with ``utf8_names``. Bytes of a HELP line that are not UTF-8 become
    surrogates. Raises ParseError.
    """
    lines = body.decode("utf-8", "surrogateescape").split("\n")
    reader = _StrictReader(utf8_names)
    number = 0
    try:
        for number, line in enumerate(lines[:-1], 1):  # noqa: B007 - also the error's line number
            reader.read(line.lstrip(" \t"))
        if lines[-1].strip(" \t"):
            number = len(lines)
            raise LineError("unexpected end of input stream")
    except LineError as error:
        raise ParseError(f"text format parsing error in line {number}: {error}") from None
    return {name: family for name, family in reader.families.items() if family.samples}


class _StrictReader:
    def __init__(self, utf8_names: bool) -> None:
        self._utf8_names = utf8_names
        self.families: dict[str, TextFamily] = {}
        self._family_of: dict[str, TextFamily] = {}  # by names of samples

    def read(self, line: str) -> None:
        if line.startswith("#"):
            self._comment(line)
        elif line:
            self._sample(line)

    def _comment(self, line: str) -> None:
        comment = read_comment(line, utf8_names=self._utf8_names)
        if comment is None or comment.text is None:
            return
        keyword, name, text = comment
        family = self._family(name)
        family.lines.append(line)
        if not text:
            return
        if keyword == "HELP":
            if family.documentation is not None:
                raise LineError(f'second HELP line for metric name "{family.name}"')
            family.documentation = read_help(text)
            return
        if family.type:
            raise LineError(
                f'second TYPE line for metric name "{family.name}", or TYPE reported after samples'
            )
        if text.lower() not in _TYPES:
            raise LineError(f'unknown metric type "{text}"')
        family.type = _TYPES[text.lower()]
        family.has_type_line = True

    def _sample(self, line: str) -> None:
        sample = read_sample(line, utf8_names=self._utf8_names)
        family = self._family_of.get(sample.name) or self._family(sample.name)
        family.type = family.type or "untyped"
        if family.type in _BOUNDS:
            _check_member(family, sample)
        family.samples.append(sample)
        family.lines.append(line)

    def _family(self, name: str) -> TextFamily:
        """The family that samples of this name belong to, made if new."""
        if name in self._family_of:
            return self._family_of[name]
        found = self.families.get(name)
        if found is None:
            base, _, end = name.rpartition("_")
            owner = self.families.get(base)
            if owner and f"_{end}" in _MEMBERS.get(owner.type, ()):
                found = owner
            else:
                found = self.families[name] = TextFamily(name)
        self._family_of[name] = found
        return found


def _check_member(family: TextFamily, sample: Sample) -> None:
    bound = _BOUNDS[family.type]
    number = float("nan")
    if bound in sample.labels:
        number = read_number(sample.labels[bound], f"value for '{bound}' label")
    if bound == "le" and sample.value < 0:
        if sample.name == f"{family.name}_count":
            raise LineError(f'negative count for histogram "{family.name}"')
        if number == number and sample.name != f"{family.name}_sum":  # noqa: PLR0124 - not NaN
            raise LineError(f'negative bucket population for histogram "{family.name}"')
