"""The demo's report: one HTML file with its pictures inside."""

import base64
import html
import io

import numpy as np
from PIL import Image

from kzoo.demo.ask import best
from kzoo.extras import require

KS = (1, 5, 10)
SHOWN = 8  # icons asked for their captions
MATRIX = 24  # pairs in the similarity matrix

STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #2a9d4a; --soft: #888; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0 } h2 { margin-top: 2.5rem } .soft { color: var(--soft) }
table { border-collapse: collapse }
td, th { padding: .3rem .8rem; border-bottom: 1px solid var(--line); text-align: right }
td:first-child, th:first-child { text-align: left }
.row { display: flex; flex-wrap: wrap; align-items: center; gap: .8rem; padding: .5rem 0 }
.row { border-bottom: 1px solid var(--line) }
.query { flex: 0 0 15rem; font-weight: 600 }
figure { margin: 0; width: 6.2rem; text-align: center; font-size: .7rem; line-height: 1.2; color: var(--soft) }
figure img { width: 64px; height: 64px; padding: 2px; background: #fff }
figure img { border: 3px solid transparent; border-radius: 6px }
.hit img { border-color: var(--good) } .hit figcaption, li.hit { color: var(--good); font-weight: 600 }
ol { margin: 0; padding-left: 1.5rem } img.plot { max-width: 100%; background: #fff; border-radius: 6px }
"""


def write_report(found, path):
    """Write the findings of the demo as a page.

    Args:
        found: `kzoo.demo.run.Findings`.
        path: of the HTML file.

    Returns:
        The path.
    """
    scores = found.text_embeddings @ found.image_embeddings.T  # (captions, icons)
    parts = [
        "<h1>kzoo demo</h1>",
        f"<p class=soft>clip_nano, {found.parameters:,} parameters, trained from scratch on {found.trained_on:,} icons "
        f"for {found.minutes:.1f} minutes on {html.escape(found.backend)}. Everything below is about "
        f"{len(found.captions)} icons that it never saw.</p>",
        "<h2>Retrieval</h2>",
        _recalls(found),
        f"<p>Zero-shot classification by prompt: {found.class_accuracy:.0%} of {found.class_count} icons in ten "
        "classes (chance 10%).</p>",
        "<h2>Caption to icon: the best five</h2>",
        "<p class=soft>Answered by the exported ONNX graphs in a process without Keras. The right icon has a green "
        "frame.</p>",
        *(_asked(found, query, answer) for query, answer in zip(found.queries, found.answers)),
        "<h2>Icon to caption: the best five</h2>",
        *(_described(found, scores, index) for index in _spread(len(found.captions), SHOWN)),
        "<h2>Loss</h2>",
        _loss_curve(found.losses),
        "<h2>Similarity</h2>",
        f"<p class=soft>Cosine of {MATRIX} held-out captions (rows) with their icons (columns); partners lie on the "
        "diagonal.</p>",
        _similarity_matrix(found, scores),
        "<h2>Export</h2>",
        "<p>Worst difference between graph and model: "
        + ", ".join(f"{name} {value:.1e}" for name, value in found.worst_difference.items())
        + ".</p>",
    ]
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>kzoo demo</title><style>{STYLE}</style>"
    path.write_text("\n".join([head, *parts, "</html>"]), "utf-8")
    return path


def _recalls(found):
    rows = ["<table><tr><th>recall<th>before<th>after<th>chance"]
    for direction, name in (("text_to_image", "caption to icon"), ("image_to_text", "icon to caption")):
        for k in KS:
            before, after = (recalls[f"{direction}_recall@{k}"] for recalls in (found.before, found.after))
            chance = k / len(found.captions)
            rows.append(f"<tr><td>{name} @{k}<td>{before:.1%}<td><b>{after:.1%}</b><td>{chance:.1%}")
    return "\n".join([*rows, "</table>"])


def _asked(found, query, answer):
    figures = "".join(_figure(found, index, hit=found.captions[index] == query) for index in answer)
    return f"<div class=row><span class=query>{html.escape(query)}</span>{figures}</div>"


def _described(found, scores, index):
    items = "".join(
        f"<li{' class=hit' if choice == index else ''}>{html.escape(found.captions[choice])}"
        for choice in best(scores.T[index : index + 1], 5)[0]
    )
    return f"<div class=row>{_figure(found, index)}<ol>{items}</ol></div>"


def _figure(found, index, hit=False):
    caption = html.escape(found.captions[index])
    picture = f"<img alt='{caption}' src='{_png(Image.fromarray(found.pictures[index]))}'>"
    return f"<figure{' class=hit' if hit else ''}>{picture}<figcaption>{caption}</figcaption></figure>"


def _loss_curve(losses):
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(8, 3))
    axes.plot(range(1, len(losses) + 1), losses, marker=".")
    axes.set(xlabel="epoch", ylabel="InfoNCE", ylim=(0, None))
    axes.grid(alpha=0.3)
    return _plot(figure)


def _similarity_matrix(found, scores):
    plt = _pyplot()
    chosen = _spread(len(found.captions), min(MATRIX, len(found.captions)))
    figure, axes = plt.subplots(figsize=(9, 8))
    image = axes.imshow(scores[np.ix_(chosen, chosen)], cmap="viridis")
    axes.set_yticks(range(len(chosen)), [found.captions[index] for index in chosen], fontsize=8)
    axes.set_xticks([])
    for column, index in enumerate(chosen):
        box = axes.inset_axes([column, len(chosen) - 0.4, 0.9, 1.6], transform=axes.transData)
        box.imshow(found.pictures[index])
        box.axis("off")
    figure.colorbar(image, fraction=0.04, label="cosine")
    return _plot(figure)


def _spread(count, wanted):
    return np.linspace(0, count - 1, wanted).astype(int)


def _pyplot():
    require("matplotlib", "demo", "The report").use("Agg")
    return require("matplotlib.pyplot", "demo", "The report")


def _plot(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110, bbox_inches="tight", format="png")
    _pyplot().close(figure)
    return f"<img class=plot src='data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}'>"


def _png(picture):
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
