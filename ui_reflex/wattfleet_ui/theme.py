# mypy: disable-error-code=no-any-return
# (Reflex's components are made by factories without types.)
"""The look of the page in one place: colours, type, and the few rules that components cannot carry themselves.

Radix supplies the colour scales for light and dark; teal leads, slate greys carry it. A socket keeps its colour in the
chart, the legend and the list of consumers, so that the eye can follow it.
"""

import reflex as rx

THEME = rx.theme(accent_color="teal", gray_color="slate", radius="large", panel_background="solid")

# Neighbours differ in hue and in lightness; step 9 of a Radix scale reads on white and on black alike.
SOCKET_COLORS = (
    "var(--teal-9)",
    "var(--indigo-9)",
    "var(--amber-9)",
    "var(--pink-9)",
    "var(--sky-9)",
    "var(--grass-9)",
    "var(--violet-9)",
    "var(--orange-9)",
    "var(--cyan-11)",
    "var(--crimson-9)",
)
OTHERS_COLOR = "var(--gray-9)"


def socket_color(index: int) -> str:
    """The colour of a household's socket by its place in the list, from 0."""
    return SOCKET_COLORS[index % len(SOCKET_COLORS)]


def card(*children: rx.Component, extra_class: str = "", **props: object) -> rx.Component:
    """A white (or, in the dark, near-black) rounded panel."""
    return rx.box(*children, class_name=f"wf-card {extra_class}".strip(), **props)
