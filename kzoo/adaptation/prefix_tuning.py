"""Prefix tuning: learned keys and values in the attention layers of a model."""

from typing import ClassVar

from kzoo.adaptation.adapter import Adapter, in_tuple
from kzoo.arguments import COUNT, NAME
from kzoo.patterns import PATTERNS


class PrefixTuning(Adapter):
    """Learned keys and values that the queries of every attention layer see, too, with all else as it is.

    To what the heads mix is added `tanh(g) softmax(q K^T / sqrt(d)) V`, with learned K and V `(num_prefix, d)` and a
    gate g for each head, which begins at 0, so that the model begins as it was. They have no position, and are seen
    from everywhere, also where attention is causal.

    No kernel can hold them: an export, `save_to_preset` and copies have them beside the weights, where they are active.

    Args:
        num_prefix: keys and values of each layer.
        targets: patterns of the attention layers, see `kzoo.patterns`; a layer stands for all within it.

    Raises:
        ValueError: by `add_adapter`: patterns that name no layer that could have them.

    In the paper keys and values of the prefix share one softmax with the others, and are made by a network while they
    are trained; the model begins as another. The softmax of their own and its gate are those of LLaMA-Adapter, which
    makes keys and values of learned tokens by the layer's own projections. Here they are trained as they are, from
    normal numbers of deviation 1.

    Example:
        >>> kzoo.adaptation.add_adapter(model, PrefixTuning(16, targets="text_encoder.**.attention"), name="birds")

    Reference:
        Li and Liang, Prefix-Tuning: Optimizing Continuous Prompts for Generation, 2021, arXiv 2101.00190; the gate:
        Zhang et al., LLaMA-Adapter, 2023, arXiv 2303.16199.
    """

    kind = "prefix"
    arguments: ClassVar[dict] = {"num_prefix": COUNT, "targets": PATTERNS | NAME}

    def __init__(self, num_prefix=16, targets=("**.attention",)):
        self.num_prefix, self.targets = num_prefix, in_tuple(targets)

    def config(self) -> dict:
        return {"num_prefix": self.num_prefix}

    def stands_at(self, path) -> str | None:
        return path.rpartition(".")[0]
