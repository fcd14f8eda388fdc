"""Checks of options that click lacks."""

import math
from ipaddress import ip_address
from typing import Any

import click


class Number(click.FloatRange):
    """A number in a range; click's own accepts NaN."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return float(number)


def check_host(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """The callback of an address to listen on: a name or an IP address, an IPv6 one with or without brackets."""
    bare = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    if not bare.strip():
        raise click.BadParameter("it is empty. Write 127.0.0.1, ::1 or localhost.")
    if ":" in bare:
        try:
            ip_address(bare)
        except ValueError as error:
            raise click.BadParameter(f'"{value}" is not an address. The port has an option of its own.') from error
    return bare


def authority(host: str, port: int) -> str:
    """Host and port as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
