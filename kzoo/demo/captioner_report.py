"""The report of `kzoo demo --captioner`."""

import html

from kzoo.demo.page import figure, loss_curves, spread, subject, write_page

SHOWN = 54  # icons with the name that was written
COMPARED = 8  # icons with all that was said of them
HEADINGS = {"exact_match": "exact match", "word_f1": "word F1", "rouge_l": "ROUGE-L", "cider_d": "CIDEr-D"}
SOURCES = {  # what is said of each list of names, in short and at length
    "greedy": ("captioner, greedy", "The most probable token at each position."),
    "beam": ("captioner, beam search", "The most probable name that four beams find."),
    "frequent_words": (
        "most frequent words",
        "For every icon the most frequent words of the training names, as many as a name has in the mean.",
    ),
    "nearest_caption": (
        "nearest caption",
        "Of all training names the one whose embedding is nearest to the icon's, by the same model.",
    ),
    "nearest_picture": (
        "nearest icon's caption",
        "The name of the training icon whose embedding is nearest to the icon's, by the same model.",
    ),
    "best_caption": (
        "(best training name)",
        "The training name with the best word F1, found by looking at the true name: the limit of retrieval.",
    ),
    "truth": ("(true name)", "The names themselves: CIDEr-D grows with length, so this is the most there is."),
}


def write_report(found, path) -> str:
    """Write the findings of the captioner's demo as a page.

    Args:
        found: `kzoo.demo.captioner.CaptionFindings`.
        path: of the HTML file.

    Returns:
        The path.
    """
    parts = [
        subject(found),
        "<h2>Scores</h2>",
        _scores(found),
        f"<p class=soft>No held-out icon has the name of another, so a name that is retrieved is never exact. "
        f"{found.unseen_words} of the {len(found.captions)} names have a word that no training name has.</p>",
        "<h2>Held-out icons and their names by beam search</h2>",
        "<p class=soft>Green where it is the true name, which else stands below.</p>",
        f"<div class=grid>{''.join(_named(found, index) for index in spread(len(found.captions), SHOWN))}</div>",
        "<h2>What each says</h2>",
        *(_compared(found, index) for index in spread(len(found.captions), COMPARED)),
        "<h2>Loss</h2>",
        loss_curves(found.losses),
    ]
    return write_page("kzoo demo: a captioner", parts, path)


def _scores(found):
    rows = [f"<table><tr><th>names by{''.join(f'<th>{heading}' for heading in HEADINGS.values())}<th>"]
    for key, scores in found.scores.items():
        short, long = SOURCES[key]
        cells = "".join(
            f"<td>{scores[metric]:.2f}" if metric == "cider_d" else f"<td>{scores[metric]:.1%}" for metric in HEADINGS
        )
        rows.append(f"<tr><td>{short}{cells}<td class='soft note'>{long}")
    return "\n".join([*rows, "</table>"])


def _named(found, index):
    name, truth = found.written["beam"][index], found.captions[index]
    lines = f"<b>{html.escape(name)}</b>" + ("" if name == truth else f"<br>{html.escape(truth)}")
    return figure(found, index, hit=name == truth, caption=lines)


def _compared(found, index):
    truth = found.captions[index]
    items = "".join(
        f"<tr{' class=hit' if captions[index] == truth else ''}><td>{SOURCES[key][0]}<td>{html.escape(captions[index])}"
        for key, captions in found.written.items()
        if key in ("greedy", "beam", "nearest_caption", "nearest_picture")
    )
    return f"<div class=row>{figure(found, index)}<table class=names>{items}</table></div>"
