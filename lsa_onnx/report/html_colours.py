"""The colours of every page, light and dark: one place for the style sheet and for the test of contrast."""

from __future__ import annotations

LIGHT = {
    "page": "#ffffff",
    "ink": "#1b1d21",
    "soft": "#565c65",
    "line": "#d5d9df",
    "panel": "#f4f5f8",
    "accent": "#b3261e",
    "good": "#17663f",
    "warn": "#7a4d00",
    "warn-panel": "#fff4dc",
    "bar": "#0b62c426",
    "focus": "#0b62c4",
    "c0": "#0b62c4",
    "c1": "#c2410c",
    "c2": "#0f7b4f",
    "c3": "#8b2fc9",
    "c4": "#8a5a00",
    "c5": "#be1e5d",
    "c6": "#0e7490",
    "c7": "#52525b",
}
DARK = {
    "page": "#14161a",
    "ink": "#e8eaed",
    "soft": "#a9b1bc",
    "line": "#343a43",
    "panel": "#1d2026",
    "accent": "#ff8a80",
    "good": "#7fd6a6",
    "warn": "#ffd27a",
    "warn-panel": "#33280f",
    "bar": "#6cb0ff38",
    "focus": "#8cc2ff",
    "c0": "#6cb0ff",
    "c1": "#ff9a5c",
    "c2": "#4fd6a0",
    "c3": "#cc99ff",
    "c4": "#f0c44c",
    "c5": "#ff86b3",
    "c6": "#5cd3ea",
    "c7": "#b8b8c4",
}


def colour_rules() -> str:
    """The colours as rules of a style sheet: those the system prefers, unless the reader chose; paper is light."""
    dark = _declared(DARK, "dark")
    return "\n".join(
        [
            f":root {{ {_declared(LIGHT, 'light')} }}",
            "@media screen {",
            f":root[data-theme=dark]:not([data-print]) {{ {dark} }}",
            "}",
            "@media screen and (prefers-color-scheme: dark) {",
            f":root:not([data-theme=light]):not([data-print]) {{ {dark} }}",
            "}\n",
        ]
    )


def _declared(colours: dict[str, str], scheme: str) -> str:
    names = "; ".join(f"--{name}: {colour}" for name, colour in colours.items())
    return f"color-scheme: {scheme}; {names};"
