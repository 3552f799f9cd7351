"""What a loss says of itself: what it reads, how many negatives an anchor has, what memory its pairs take."""

from difflib import get_close_matches

from kzoo.losses.parts.blocks import asked, chosen

SCORES_HELD = 6  # float32 matrices of scores at the peak of a step: logits, targets, their product, gradients


def description(loss, batch_size, devices=1) -> str:
    """The lines that `Loss.describe` prints, one text."""
    batch = batch_size * devices
    optional = [name for name in loss.optional_names.values() if name not in loss.reads]
    negatives, pairs = loss.negatives(batch), loss.pairs(batch)
    says = {
        "reads": ", ".join(loss.reads) + (f"; if there: {', '.join(optional)}" if optional else ""),
        "negatives": f"{negatives:,} per anchor, in a batch of {devices} x {batch_size:,}" if negatives else "none",
        "memory": "no matrix of scores; it grows with the batch as the embeddings do",
    }
    if pairs:
        block_size = chosen(asked(loss.block_size), pairs[0] * pairs[1])
        shape = f"{min(block_size or pairs[0], pairs[0]):,} x {pairs[1]:,} scores"
        mebibytes = SCORES_HELD * 4 * min(block_size or pairs[0], pairs[0]) * pairs[1] / 2**20
        size = f"about {mebibytes:,.0f}" if mebibytes >= 1.0 else "less than 1"
        says["memory"] = f"{size} MiB for {f'blocks of {shape}' if block_size else shape}"
    return "\n".join([loss.term, *(f"  {key:<11} {text}" for key, text in says.items())])


def what_lacks(name, names, renaming) -> str:
    """The rest of a sentence on a tensor that a loss reads and nobody gives.

    Args:
        name: of the tensor.
        names: of those that are given.
        renaming: how the loss is told another name.
    """
    near = get_close_matches(name, names, n=1)
    return (
        f"reads {name!r}, but the model and the batch give only {', '.join(sorted(names))}"
        f"{f' (is {near[0]!r} meant?)' if near else ''}; name other tensors with {renaming}, or give it in the batch, "
        "such as a column of a table: columns=..."
    )
