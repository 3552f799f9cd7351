"""The engines: a library, with how it is asked, in a process of its own."""

from dataclasses import dataclass, field

ENCODING = ("image", "text")
STEPS = (*ENCODING, "train")
MODEL = (*STEPS, "build")
WRITING = ("greedy", "beam", "step")
FULL = (*MODEL, *WRITING, "open", "import")


@dataclass(frozen=True)
class Engine:
    """One way to do the work.

    Attributes:
        name: in tables and for `--engines`.
        module: in this folder, with `prepare(case, options, about)` -> function that does the work of the case once;
            what else is to be reported it writes into the dict `about`.
        kinds: of cases that it takes part in.
        packages: whose versions are reported.
        options: what `prepare` is given.
        backend: of Keras, where it has one.
        peer: whether it lives in the environment of the peers.
        on_accelerator: whether it can use a GPU.
    """

    name: str
    module: str
    kinds: tuple
    packages: tuple
    options: dict = field(default_factory=dict)
    backend: str | None = None
    peer: bool = False
    on_accelerator: bool = False


def _kzoo(backend, on_accelerator):
    packages = ("kzoo", "keras", backend)
    return Engine(f"kzoo {backend}", "kzoo_model", (*FULL, "help"), packages, {}, backend, False, on_accelerator)


def _hub(backend):
    return Engine(f"keras-hub {backend}", "keras_hub_clip", MODEL, ("keras-hub", "keras", backend), {}, backend, True)


def _products(library, package, on_accelerator=False):
    options = {"library": library}
    return Engine(
        f"products {library}", "products", (*STEPS, *WRITING), (package,), options, on_accelerator=on_accelerator
    )


COMPILED = {"compiled": True}
ENGINES = (
    Engine("open_clip", "open_clip_clip", FULL, ("open_clip_torch", "torch"), {}, None, True, True),
    Engine("open_clip compiled", "open_clip_clip", STEPS, ("open_clip_torch", "torch"), COMPILED, None, True, True),
    *(_products(library, package, library in ("torch", "jax")) for library, package in (
        ("torch", "torch"), ("oneDNN", "torch"), ("jax", "jax"), ("numpy", "numpy"),
    )),
    _kzoo("torch", True),
    Engine("kzoo torch compiled", "kzoo_model", STEPS, ("kzoo", "keras", "torch"), COMPILED, "torch", False, True),
    _kzoo("jax", True),
    _kzoo("tensorflow", False),
    Engine("kzoo onnx", "kzoo_export", (*ENCODING, *WRITING, "runtime"), ("kzoo", "onnxruntime")),
    *(
        Engine(f"kzoo {name}", "kzoo_export", (*ENCODING, *WRITING), ("kzoo", package), {"export": made})
        for name, package, made in (
            ("openvino", "openvino", "openvino_export"), ("litert", "ai-edge-litert", "litert_export"),
        )
    ),
    Engine("kzoo onnx int8", "kzoo_export", ENCODING, ("kzoo", "onnxruntime"), {"int8": True}),
    Engine("transformers", "transformers_clip", (*MODEL, "open", "import"), ("transformers", "torch"), peer=True),
    *map(_hub, ("torch", "jax", "tensorflow")),
    *(
        Engine(f"keras {backend}", "keras_alone", ("import",), ("keras", backend), {}, backend)
        for backend in ("torch", "jax", "tensorflow")
    ),
)  # fmt: skip
BASE = ("open_clip", "open_clip compiled")  # the faster of which in a round is what ratios are to
LIMIT = tuple(each.name for each in ENGINES if each.module == "products")


def chosen(names, accelerator=False) -> list[Engine]:
    """The engines that `--engines` names, in full or, several at once, by the word that their names begin with; those
    that ratios are to come first.

    Raises:
        ValueError: a name that is that of no engine.
    """
    there = [each for each in ENGINES if each.on_accelerator or not accelerator]
    found, unknown = set(), []
    for name in names:
        called = {each.name for each in there if each.name == name} or {
            each.name for each in there if each.name.split()[0] == name
        }
        found |= called
        unknown += [] if called else [name]
    if unknown:
        raise ValueError(f"no engine {', '.join(unknown)}; there are {', '.join(each.name for each in there)}.")
    return [each for each in there if not names or each.name in found]
