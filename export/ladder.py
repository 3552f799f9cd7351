"""The levels of one graph, the fastest first, each measured beside the graph in float32."""

import shutil
import time

import numpy as np

from kzoo.export.calibration import SAMPLES, activations, roundings
from kzoo.export.int8_graphs import PURPOSE, SWITCH, in_half, in_int8, prepared, products, rescaled, switched
from kzoo.export.onnx_files import save
from kzoo.extras import require
from kzoo.files import disk

LEVELS = {
    "int8": "products in int8",
    "int8_rescaled": "products in int8 after channels of a wide range were rescaled",
    "int8_mixed": "the same, but the products that lose most in float32",
    "float16": "weights stored in float16, everything computed in float32",
    "float32": "as it is",
}
NO_PRODUCTS = "it has no product with a constant matrix"
SPEED_ROWS, ROUNDS = 8, 7  # of a batch whose time is measured, and how often; on one thread


class Ladder:
    """The levels of a graph; `climb` goes to the first that keeps the bound, and on from there.

    Attributes:
        level: a name of `LEVELS`.
        cosine: the smallest on the samples.

    Args:
        name: of the graph.
        whole: path of the graph in float32.
        path: of the graph that is written.
        feeds: inputs, see `kzoo.export.feeds`.
        bound: of the cosine.
    """

    def __init__(self, name, whole, path, feeds, bound):
        self.name, self.whole, self.path, self.feeds, self.bound = name, whole, path, feeds, bound
        self.level, self.cosine, self.mean, self.refused, self.kept = None, 1.0, 1.0, {}, []
        session = _session(str(whole))
        self.outputs = [each.name for each in session.get_outputs()]
        self.expected = [self._run(session, feed) for feed in feeds]
        self.proto = self.smooth = self.costs = None

    at_end = property(lambda self: self.level == "float32")

    def climb(self, first, why=None) -> None:
        """Take the next level that keeps the bound.

        Args:
            first: the level to begin with; None: behind the present one, which is refused.
            why: reason to refuse the present one, or, at the beginning, all but float32; None for none.
        """
        levels = list(LEVELS)
        if self.level is not None:
            self.refused[self.level] = why
            levels = levels[levels.index(self.level) + 1 :]
        else:
            levels = levels[levels.index(first) :]
            if why is not None:
                self.refused[first], levels = why, ["float32"]
        for level in levels:
            problem = getattr(self, f"_{level}")()
            if problem is None:
                self.level = level
                break
            self.refused[level] = problem
        self.proto = self.smooth = None  # as large as the model

    def _int8(self):
        return self._try(self._prepared(), self._names()) if self._names() else NO_PRODUCTS

    def _int8_rescaled(self):
        if not self._names():
            return NO_PRODUCTS
        if self._rescaled() is self.proto:
            return "no factor makes its products easier to round"
        return self._equal(self.smooth) or self._try(self.smooth, self._names())

    def _int8_mixed(self):
        if not self._names():
            return NO_PRODUCTS
        proto, order = self._rescaled(), self._by_loss()
        low, high = 0, 3 * len(order) // 4 + 1  # with more than three quarters in float32 it is hardly faster
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._try(proto, order[middle:]) is None else (middle, high)
        if high > 3 * len(order) // 4:
            return f"with three quarters of its products in float32 its cosine is still below {self.bound}"
        self.kept = order[:high]
        return self._try(proto, order[high:])

    def _float16(self):
        self.kept = []
        return self._measured(in_half(self._prepared()))

    def _float32(self):
        self.kept, self.cosine, self.mean = [], 1.0, 1.0
        self._clear()
        for path in (self.whole, self.whole.with_name(f"{self.whole.name}.data")):
            if path.is_file():
                shutil.copyfile(path, self.path.with_name(path.name))

    def _prepared(self):
        self.proto = self.proto or prepared(self.whole)
        return self.proto

    def _names(self):
        return [each.name for each in products(self._prepared())]

    def _by_loss(self):
        """Names of the products, those first which by themselves lose most for the time that int8 saves there."""
        sizes, feed = {each.name: each.matrix.size for each in products(self._rescaled())}, self._few(SAMPLES)
        run, losses = self._opened(switched(self.smooth, sizes)), {}
        wanted = run(feed | {SWITCH: np.zeros(len(sizes), bool)}, self.outputs)
        for place, name in enumerate(sizes):
            found = run(feed | {SWITCH: np.arange(len(sizes)) == place}, self.outputs)
            losses[name] = max(1.0 - cosines(*each).mean() for each in zip(self.outputs, wanted, found)) / sizes[name]
        return sorted(losses, key=losses.get, reverse=True)

    def _few(self, rows):
        """A batch of some rows of the first feed."""
        return {key: np.resize(array, (rows, *array.shape[1:])) for key, array in self.feeds[0].items()}

    def _rescaled(self):
        """The graph with rescaled channels, or as it is where no factor helps."""
        factors = {name: each.factor for name, each in self._roundings().items() if each.factor is not None}
        self.smooth = self.smooth or (rescaled(self.proto, factors) if factors else self.proto)
        return self.smooth

    def _roundings(self):
        if self.costs is None:
            rows = [(feed, row) for feed in self.feeds for row in range(len(next(iter(feed.values()))))]
            chosen = [rows[int(place)] for place in np.linspace(0, len(rows) - 1, min(SAMPLES, len(rows)))]
            single = [{key: array[row : row + 1] for key, array in feed.items()} for feed, row in chosen]
            self.costs = roundings(self.proto, activations(self.proto, self._opened, single))
        return self.costs

    def _opened(self, proto):
        """A function that runs a graph that lies in no file yet."""
        self._clear()
        save(proto, self.path, check=False)
        session = _session(str(self.path))
        return lambda feed, names: session.run(names, feed)

    def _try(self, proto, names):
        return self._measured(in_half(in_int8(proto, names)))

    def _equal(self, proto):
        """Why a graph is not the one in float32 written otherwise; None if it is."""
        run = self._opened(proto)
        for feed, wanted in zip(self.feeds, self.expected):
            for name, found in zip(self.outputs, run(feed, self.outputs)):
                apart = np.abs(found - wanted[name]).max() / max(1.0, np.abs(wanted[name]).max())
                if not apart <= 1e-4:
                    return f"rescaled it differs from itself by {apart:.1e} before anything is rounded"
        return None

    def _measured(self, proto):
        """Write a graph and compare it; why it is not taken, None if it is."""
        self._clear()
        save(proto, self.path)
        session, least, means = _session(str(self.path)), 1.0, []
        for feed, wanted in zip(self.feeds, self.expected):
            found = self._run(session, feed)
            rows = [cosines(name, wanted[name], found[name]) for name in self.outputs]
            least = min(least, *(float(each.min()) for each in rows))
            means.append(min(float(each.mean()) for each in rows))
            if not least >= self.bound:
                return f"its cosine to float32 is {below(least, self.bound)} on the samples, below {self.bound}"
        self.cosine, self.mean = least, float(np.mean(means))
        return None

    def _run(self, session, feed):
        return dict(zip(self.outputs, session.run(self.outputs, feed)))

    def _clear(self):
        for path in (self.path, self.path.with_name(f"{self.path.name}.data")):
            if path.exists():
                disk.remove(path)

    def report(self) -> dict:
        """What the manifest says of a graph."""
        sizes = {"float32": _size(self.whole), "quantized": _size(self.path)}
        found = {"level": self.level, "bytes": sizes, "refused": self.refused}
        if self.level != "float32":
            found["cosine"] = {"min": self.cosine, "mean": self.mean}
            found["speed"] = self._speed()
        if self.kept:
            found["products_in_float32"] = len(self.kept)
        return found

    def _speed(self):
        feed = self._few(SPEED_ROWS)
        whole, other = (_session(str(path), 1) for path in (self.whole, self.path))
        ratios = []
        for _ in range(ROUNDS + 1):
            start = time.perf_counter()
            self._run(whole, feed)
            between = time.perf_counter()
            self._run(other, feed)
            ratios.append((between - start) / (time.perf_counter() - between))
        return float(np.median(ratios[1:]))


def cosines(name, wanted, found) -> np.ndarray:
    """Cosine of each row of an output with what it should be; of logits without their mean, which no softmax sees."""
    wanted, found = (each.reshape(len(each), -1).astype("float64") for each in (wanted, found))
    if name == "logits":
        wanted, found = (each - each.mean(axis=1, keepdims=True) for each in (wanted, found))
    lengths = np.linalg.norm(wanted, axis=1) * np.linalg.norm(found, axis=1)
    same = (wanted == found).all(axis=1)
    found = np.sum(wanted * found, axis=1) / np.where(lengths > 0, lengths, 1.0)
    return np.where(same, 1.0, np.nan_to_num(found, nan=-1.0))


def below(cosine, bound) -> str:
    """A cosine in as many digits as say that it is below a bound."""
    texts = (f"{cosine:.{digits}f}" for digits in range(4, 17))
    return next((text for text in texts if float(text) < bound), repr(cosine))


def _session(path, threads=None):
    onnxruntime = require("onnxruntime", "export", PURPOSE)
    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _size(path):
    beside = path.with_name(f"{path.name}.data")
    return sum(each.stat().st_size for each in (path, beside) if each.is_file())
