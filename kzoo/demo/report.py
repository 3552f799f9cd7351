"""The report of `kzoo demo`."""

import html

import numpy as np

from kzoo.demo.ask import best
from kzoo.demo.page import figure, loss_curves, plot, pyplot, spread, subject, write_page

KS = (1, 5, 10)
SHOWN = 8  # icons asked for their captions
MATRIX = 24  # pairs in the similarity matrix


def write_report(found, path) -> str:
    """Write the findings of the demo as a page.

    Args:
        found: `kzoo.demo.run.RetrievalFindings`.
        path: of the HTML file.

    Returns:
        The path.
    """
    scores = found.text_embeddings @ found.image_embeddings.T  # (captions, icons)
    parts = [
        subject(found),
        "<h2>Retrieval</h2>",
        _recalls(found),
        f"<p>Zero-shot classification by prompt: {found.class_accuracy:.0%} of {found.class_count} icons in ten "
        "classes (chance 10%).</p>",
        "<h2>Caption to icon: the best five</h2>",
        "<p class=soft>Answered by the exported ONNX graphs in a process without Keras. The right icon has a green "
        "frame.</p>",
        *(_asked(found, query, answer) for query, answer in zip(found.queries, found.answers)),
        "<h2>Icon to caption: the best five</h2>",
        *(_described(found, scores, index) for index in spread(len(found.captions), SHOWN)),
        "<h2>Loss</h2>",
        loss_curves(found.losses),
        "<h2>Similarity</h2>",
        f"<p class=soft>Cosine of {MATRIX} held-out captions (rows) with their icons (columns); partners lie on the "
        "diagonal.</p>",
        _similarity_matrix(found, scores),
        "<h2>Export</h2>",
        "<p>Worst difference between graph and model: "
        + ", ".join(f"{name} {value:.1e}" for name, value in found.worst_difference.items())
        + ".</p>",
    ]
    return write_page("kzoo demo", parts, path)


def _recalls(found):
    rows = ["<table><tr><th>recall<th>before<th>after<th>chance"]
    for direction, name in (("text_to_image", "caption to icon"), ("image_to_text", "icon to caption")):
        for k in KS:
            before, after = (recalls[f"{direction}_recall@{k}"] for recalls in (found.before, found.after))
            chance = k / len(found.captions)
            rows.append(f"<tr><td>{name} @{k}<td>{before:.1%}<td><b>{after:.1%}</b><td>{chance:.1%}")
    return "\n".join([*rows, "</table>"])


def _asked(found, query, answer):
    figures = "".join(figure(found, index, hit=found.captions[index] == query) for index in answer)
    return f"<div class=row><span class=query>{html.escape(query)}</span>{figures}</div>"


def _described(found, scores, index):
    items = "".join(
        f"<li{' class=hit' if choice == index else ''}>{html.escape(found.captions[choice])}"
        for choice in best(scores.T[index : index + 1], 5)[0]
    )
    return f"<div class=row>{figure(found, index)}<ol>{items}</ol></div>"


def _similarity_matrix(found, scores):
    chosen = spread(len(found.captions), MATRIX)
    sheet, axes = pyplot().subplots(figsize=(9, 8))
    image = axes.imshow(scores[np.ix_(chosen, chosen)], cmap="viridis")
    axes.set_yticks(range(len(chosen)), [found.captions[index] for index in chosen], fontsize=8)
    axes.set_xticks([])
    for column, index in enumerate(chosen):
        box = axes.inset_axes([column, len(chosen) - 0.4, 0.9, 1.6], transform=axes.transData)
        box.imshow(found.pictures[index])
        box.axis("off")
    sheet.colorbar(image, fraction=0.04, label="cosine")
    return plot(sheet)
