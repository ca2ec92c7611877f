"""``pushgate delete``: delete exactly one group."""

from __future__ import annotations

from .options import Parser, add_gateway_options, add_group_options, grouping_key, load_settings

__all__ = ("main",)


def main(arguments: list[str]) -> int:
    """Returns 0, also where there was no such group."""
    parser = Parser(
        "delete",
        "Delete the group of this job and these labels, and no other. A group that is not there\n"
        "is no error.",
    )
    add_group_options(parser)
    add_gateway_options(parser)
    options = parser.parse_args(arguments)
    key = grouping_key(options)
    load_settings(options).to_gateway().delete(key)
    return 0
