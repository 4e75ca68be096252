"""HTML and SVG elements whose text and attributes are escaped, so that nothing a user typed can become markup."""

from html import escape

VOID = frozenset({"img", "meta"})
"""HTML elements that have no end tag."""


class Markup(str):
    """Text that is markup already: made by `element`, or written by us."""

    __slots__ = ()


def element(name: str, /, *children: object, **attributes: object) -> Markup:
    """An element; children that are no `Markup` are text.

    A `_` in an attribute's name is a `-`, a last one is none (`class_`); an attribute of None is left out.
    """
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{shown}>")
    return Markup(f"<{name}{shown}>{joined(*children)}</{name}>")


def joined(*children: object) -> Markup:
    """Children one after the other."""
    return Markup("".join(child if isinstance(child, Markup) else escape(str(child)) for child in children))
