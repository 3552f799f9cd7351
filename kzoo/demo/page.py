"""The pages that the demos write: one HTML file with its pictures inside."""

import base64
import html
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kzoo.extras import require
from kzoo.files.single import replacing
from kzoo.types import Array

STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #2a9d4a; --soft: #888; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0 } h2 { margin-top: 2.5rem } .soft { color: var(--soft) }
table { border-collapse: collapse }
td, th { padding: .3rem .8rem; border-bottom: 1px solid var(--line); text-align: right }
td:first-child, th:first-child, td.note, .names td { text-align: left } td.note { font-size: .8rem }
.row { display: flex; flex-wrap: wrap; align-items: center; gap: .8rem; padding: .5rem 0 }
.row { border-bottom: 1px solid var(--line) }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(6.6rem, 1fr)); gap: 1rem .6rem }
.query { flex: 0 0 15rem; font-weight: 600 }
figure { margin: 0; width: 6.2rem; text-align: center; font-size: .7rem; line-height: 1.2; color: var(--soft) }
figure img { width: 64px; height: 64px; padding: 2px; background: #fff }
figure img { border: 3px solid transparent; border-radius: 6px } figure b { color: CanvasText }
.hit img { border-color: var(--good) } .hit figcaption, .hit b, li.hit, tr.hit { color: var(--good); font-weight: 600 }
ol { margin: 0; padding-left: 1.5rem } img.plot { max-width: 100%; background: #fff; border-radius: 6px }
"""


def write_page(title, parts, path) -> Path:
    """Write a page of parts, each a piece of HTML, below its title; returns the path."""
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"
    with replacing(path) as file:
        file.write("\n".join([head, f"<h1>{title}</h1>", *parts, "</html>"]).encode())
    return path


def subject(found) -> str:
    """What was trained, and on what: the sentence below a title."""
    return (
        f"<p class=soft>{found.preset}, {found.parameters:,} parameters, trained from scratch on {found.trained_on:,} "
        f"icons for {found.minutes:.1f} minutes on {html.escape(found.backend)}. Everything below is about "
        f"{len(found.captions)} icons that it never saw.</p>"
    )


def figure(found, index, hit=False, caption=None) -> str:
    """A held-out icon, in a green frame if it is a hit, above its name or what else is said of it (HTML)."""
    name = html.escape(found.captions[index])
    picture = f"<img alt='{name}' src='{_png(Image.fromarray(found.pictures[index]))}'>"
    return f"<figure{' class=hit' if hit else ''}>{picture}<figcaption>{caption or name}</figcaption></figure>"


def loss_curves(losses) -> str:
    """A plot of the terms of a loss, by epoch."""
    sheet, axes = pyplot().subplots(figsize=(8, 3))
    for name, values in losses.items():
        axes.plot(range(1, len(values) + 1), values, marker=".", label=name)
    axes.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    return plot(sheet)


def spread(count, wanted) -> Array:
    """Indices of as many as wanted, evenly over all."""
    return np.linspace(0, count - 1, min(count, wanted)).astype(int)


def pyplot() -> Any:
    """matplotlib's, drawing into files."""
    require("matplotlib", "demo", "The report").use("Agg")
    return require("matplotlib.pyplot", "demo", "The report")


def plot(sheet) -> str:
    """A figure of matplotlib as HTML."""
    buffer = io.BytesIO()
    sheet.savefig(buffer, dpi=110, bbox_inches="tight", format="png")
    pyplot().close(sheet)
    return f"<img class=plot src='{_data(buffer)}'>"


def _png(picture):
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return _data(buffer)


def _data(buffer):
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
