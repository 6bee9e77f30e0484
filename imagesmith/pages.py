"""HTML pages, each of them one file that needs no other; what they show may hold anything."""

from __future__ import annotations

from typing import Any


def draw(template: str, **values: Any) -> bytes:
    """Fill one of our templates in with values, which are never taken for HTML."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("imagesmith.templates", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return templates.get_template(template).render(values).encode()
