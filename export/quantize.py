"""Smaller and faster graphs, as far as they stay near enough to those of float32 on pictures and texts of the user."""

import logging
from typing import Any

from kzoo.arguments import INNER, SHARE, instance, one_of
from kzoo.evaluation import recall_at_k
from kzoo.export import runtime
from kzoo.export.feeds import feeds_of
from kzoo.export.ladder import Ladder, below, cosines
from kzoo.export.samples import WANTED, read_samples
from kzoo.export.verify import ExportError
from kzoo.files import disk
from kzoo.files.fingerprint import fingerprint_of
from kzoo.files.layouts import files_of
from kzoo.files.writing import clear

logger = logging.getLogger("kzoo")

KINDS = ("int8", "float16")
MIN_COSINE, MAX_RECALL_DROP, MIN_EQUAL_CAPTIONS = 0.999, 0.01, 0.9
ARGUMENTS = {
    "quantize": one_of(*KINDS) | None,
    "samples": instance(object, WANTED) | None,
    "min_cosine": INNER,
    "max_recall_drop": SHARE,
}
KS = (1, 5)  # of recall
CAPTIONED = 32  # pictures whose captions are compared
FLOATS = "float32"  # folder of the graphs that are compared with, while it takes


class Gate:
    """What an export is quantised to, and how near to float32 it must stay; checked before anything is exported.

    Args:
        model: the model.
        quantize: a name of `KINDS`.
        samples: see `kzoo.export.export`.
        min_cosine, max_recall_drop: bounds.
    """

    def __init__(self, model, quantize, samples, min_cosine, max_recall_drop):
        if samples is None:
            raise ValueError(
                f"quantize is {quantize!r} without samples, on which its loss would be measured (noise says nothing); "
                f"give samples: {WANTED}."
            )
        self.kind, self.min_cosine, self.max_recall_drop = quantize, min_cosine, max_recall_drop
        self.samples = read_samples(samples, model.preprocessor)

    def __call__(self, place, manifest) -> dict:
        """Quantise the graphs of a verified export where they lie.

        Args:
            place: folder of the export.
            manifest: its manifest.

        Returns:
            dict: what changes in the manifest.

        Raises:
            ExportError: a quantised export that does not do as a user asks, at any level.
        """
        apart = place / FLOATS
        disk.make_folder(apart)
        for path in [each for each in place.iterdir() if each != apart]:
            if path.suffix in (".onnx", ".data"):
                disk.rename(path, apart / path.name)
            else:
                disk.write(apart / path.name, path.read_bytes())
        exact = runtime.opened(apart, manifest)
        wanted, ladders = self._asked(exact), {}
        for name, graph in manifest["graphs"].items():
            feeds, lacking = feeds_of(name, exact, self.samples)
            ladders[name] = Ladder(name, apart / graph["file"], place / graph["file"], feeds, self.min_cosine)
            ladders[name].climb(self.kind, lacking)
        while True:
            changed = {"fingerprints": {name: fingerprint_of(place / name) for name in files_of(place, "onnx")}}
            served = runtime.opened(place, manifest | changed)
            asked = self._asked(served)
            told = self._told(wanted, asked)
            touched, why = self._problem(told)
            if why is None:
                break
            self._milder([ladders[name] for name in touched if name in ladders], why)
        graphs = {name: ladder.report() for name, ladder in ladders.items()}
        self._say(graphs)
        del exact, served
        clear(apart)
        bounds = {"min_cosine": self.min_cosine, "max_recall_drop": self.max_recall_drop}
        return changed | {
            "quantized": {"to": self.kind, **bounds, "samples": self.samples.counts(), "graphs": graphs, **told}
        }

    def _asked(self, served):
        """What an export makes of the samples, asked as a user asks."""
        found, given = {}, self.samples
        if given.images and "image_encoder" in served.sessions:
            found["encode_image"] = served.encode_image(given.images)
        if given.texts and "text_encoder" in served.sessions:
            found["encode_text"] = served.encode_text(given.texts)
        if given.images and writes(served):
            found["captions"] = served.generate(given.images[:CAPTIONED])[0]
        return found

    def _told(self, wanted, asked):
        """What the manifest says of an export as a whole."""
        least = {name: float(cosines(name, wanted[name], asked[name]).min()) for name in wanted if name != "captions"}
        told = {"asked": least}
        if self.samples.image_ids is not None and len(least) == 2:
            before, after = (self._recall(each) for each in (wanted, asked))
            told["recall"] = {name: {"float32": before[name], self.kind: after[name]} for name in before}
        if "captions" in wanted:
            told["equal_captions"] = float((wanted["captions"] == asked["captions"]).all(-1).mean())
        return told

    def _recall(self, found):
        ids = self.samples.image_ids
        return recall_at_k(found["encode_image"][ids], found["encode_text"], KS, ids)

    def _problem(self, told):
        """Names of the graphs that are to blame for what is beyond a bound, and the sentence; `None` twice for none."""
        for name, cosine in told["asked"].items():
            if not cosine >= self.min_cosine:
                why = f"asked as a user asks, its cosine is {below(cosine, self.min_cosine)}, below {self.min_cosine}"
                return [f"{name.removeprefix('encode_')}_encoder"], why
        for name, recall in told.get("recall", {}).items():
            drop = recall["float32"] - recall[self.kind]
            if drop > self.max_recall_drop + 1e-9:
                pairs = len(self.samples.image_ids)
                most = f"more than {100 * self.max_recall_drop:g}"
                why = f"{name} falls by {100 * drop:.1f} points on {pairs} pairs, {most}"
                return ["image_encoder", "text_encoder"], why
        equal = told.get("equal_captions", 1.0)
        if equal < MIN_EQUAL_CAPTIONS:
            names = ["image_encoder", "caption_memory", "caption_step"]
            return names, f"{equal:.0%} of the captions stay the same, fewer than {MIN_EQUAL_CAPTIONS:.0%}"
        return None, None

    def _milder(self, ladders, why):
        """Take the next level of that graph which is furthest from float32."""
        left = [ladder for ladder in ladders if not ladder.at_end]
        if not left:
            raise ExportError(f"the quantised export is no better than its bounds at any level: {why}.")
        min(left, key=lambda ladder: ladder.cosine).climb(None, why)

    def _say(self, graphs):
        for name, graph in graphs.items():
            if graph["refused"]:
                reasons = "; ".join(f"not {level}: {why}" for level, why in graph["refused"].items())
                logger.warning("%s is exported in %s; %s.", name, graph["level"], reasons)


def writes(served) -> bool:
    """Whether an export writes captions without being told how they begin and end."""
    preprocessor = served.preprocessor
    return "caption_step" in served.sessions and preprocessor is not None and preprocessor.tokenizer is not None


def gate_of(model, format, dtype, quantize, samples, min_cosine, max_recall_drop) -> Any:
    """The `Gate` of an export, None where nothing is to be quantised.

    Raises:
        ValueError: what does not go together.
    """
    if quantize is None:
        if samples is not None:
            raise ValueError("samples are of a quantised export; give quantize='int8', or leave them out.")
        return None
    if format != "onnx":
        raise ValueError(f"format {format!r} takes no quantize; leave it out, or take format='onnx'.")
    if dtype != "float32":
        raise ValueError(
            f"quantize is {quantize!r} and dtype {dtype!r}, and one export has one; leave one of them out."
        )
    return Gate(model, quantize, samples, min_cosine, max_recall_drop)
