"""Wrong arguments of all that is public: one sentence, which names the argument and shows what came.

A number out of range or an unknown choice is a `ValueError`, an object that is neither a `TypeError`; nothing else
comes out, and nothing is built, loaded or read before.
"""

import importlib
import inspect
import pkgutil
from functools import partial

import numpy as np
import pytest
from shared_case import captioner, tiny_model, toy_pairs

import kzoo
from kzoo import arguments
from kzoo.arguments import COUNT, FLAG, Checked, number, one_of, sequence, shown, takes, whole
from kzoo.data import Crops, Episodes, SameGroup, pairs, text_pairs, text_views, views
from kzoo.encoders import BertEncoder, ResNet, TextTransformer, VisionTransformer
from kzoo.evaluation import caption_scores, recall_at_k
from kzoo.export import export, runtime
from kzoo.layers import Head, Projector, SimilarityHead, TransformerBlock
from kzoo.layers.configured import Configured
from kzoo.layers.heads import Classifier, SplitProjector
from kzoo.losses import DINO, InfoNCE, Matryoshka, SimCTG, SoftTopK, SupCon, Triplet
from kzoo.losses.parts.temperature import LearnableTemperature
from kzoo.preprocessing import (
    Augmentation,
    AugMix,
    ImageSteps,
    PatchSteps,
    Preprocessor,
    RandomPatches,
    Tokenizer,
)
from kzoo.training import SAM, AdamW, EMATeacher, StopOnNonFinite, TimeBudget

NAN, HUGE = float("nan"), 10**30
TOY = toy_pairs(6, 16)


@pytest.fixture(scope="module")
def model():
    return tiny_model(depth=1)


@pytest.fixture(scope="module")
def coca():
    return captioner("coca_nano", TOY["captions"])


def said(call, error):
    """What a call stops with: one sentence, of this type."""
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    sentence = str(caught.value)
    assert type(caught.value) is error, sentence
    assert len(sentence.splitlines()) == 1 and sentence.endswith(".") and len(sentence) < 400, sentence
    return sentence


# -- all constructors and functions that say what they take --
def modules():
    for room in ("kzoo", "kzoo.presets", "kzoo.export"):
        package = importlib.import_module(room)
        for each in pkgutil.walk_packages(package.__path__, f"{room}."):
            if ".cli" not in each.name and "__main__" not in each.name:
                yield importlib.import_module(each.name)


def found():
    """`(name, callable, kinds)` of the classes and functions of the library."""
    for module in modules():
        for name, each in vars(module).items():
            if getattr(each, "__module__", None) != module.__name__:  # of elsewhere
                continue
            if inspect.isclass(each) and issubclass(each, Configured) and each is not Configured:
                yield f"{module.__name__}.{name}", each, each.kinds()
            elif inspect.isclass(each) and issubclass(each, Checked):
                yield f"{module.__name__}.{name}", each, arguments.declared(each)
            elif hasattr(each, "arguments") and inspect.isfunction(each):
                yield f"{module.__name__}.{name}", each, each.arguments
            for key, method in vars(each).items() if inspect.isclass(each) else ():
                method = getattr(method, "__func__", method)
                if inspect.isfunction(method) and isinstance(getattr(method, "arguments", None), dict):
                    yield f"{module.__name__}.{name}.{key}", _of_nobody(method), method.arguments


def _of_nobody(method):
    """A method that can be called without its object, which is not reached."""
    call = lambda **keywords: method(None, **keywords)  # noqa: E731
    parameters = list(inspect.signature(method).parameters.values())[1:]
    call.__signature__ = inspect.Signature(parameters)
    return call


WRONG = (object(), NAN, HUGE, -HUGE, "no such choice", [], {}, [None], np.zeros((2, 2)), True)


def test_every_argument_that_is_declared_is_looked_at():
    seen = 0
    for name, call, kinds in found():
        for argument, parameter in inspect.signature(call).parameters.items():
            kind = kinds.get(argument)
            for wrong in () if kind is None else WRONG:
                if (error := kind.wrong(wrong)) is not None and wrong is not parameter.default:
                    sentence = said(partial(call, **{argument: wrong}), error)
                    assert sentence.startswith(f"{argument} {'' if 'is unknown' in sentence else 'is '}"), name
                    seen += 1
    assert seen > 5000


# what a constructor takes beside numbers and choices, and looks at itself
OBJECTS = {
    "backbone", "decoder", "encoder", "encoders", "gives", "heads", "image_encoder", "inputs", "layer", "loss", "model",
    "packed", "pools", "preprocessor", "projector", "reads", "similarity", "teacher", "terms", "text_decoder",
    "text_encoder", "stages", "expansion", "kernel_size", "padding", "strides", "symmetric_padding", "se_ratio", "pool",
    "stem",
}  # fmt: skip
OF_KERAS = {"self", "name", "dtype", "trainable", "activity_regularizer", "autocast", "kwargs"}


def test_every_hyper_parameter_is_declared():
    for name, cls, kinds in found():
        if inspect.isclass(cls) and issubclass(cls, Configured):
            known = {*kinds, *OBJECTS, *OF_KERAS}
            assert set(inspect.signature(cls.__init__).parameters) - known <= {"args"}, name
            defaults = arguments.defaults_of(inspect.signature(cls.__init__))
            refused = [key for key, value in defaults.items() if value is not None and key in kinds]
            assert not [key for key in refused if kinds[key].wrong(defaults[key])], name


# -- what people write --
ROWS = [
    (lambda f: InfoNCE(temperature="a"), TypeError, "temperature is 'a' (str); give a positive number, a Learnable"),
    (lambda f: InfoNCE(temperature=NAN), ValueError, "temperature is nan; give a positive number"),
    (lambda f: InfoNCE(block_size=0), ValueError, "block_size is 0; give a positive number of rows, or None"),
    (lambda f: InfoNCE(block_size=True), TypeError, "block_size is True (bool); "),
    (lambda f: InfoNCE(block_size=4.0), ValueError, "block_size is 4.0; "),
    (lambda f: InfoNCE(block_size=HUGE), ValueError, f"block_size is {HUGE}; "),
    (lambda f: InfoNCE(block_size=10**5000), ValueError, "block_size is a number of 16610 bits; "),
    (lambda f: InfoNCE(direction="a_to_bb"), ValueError, "direction 'a_to_bb' is unknown; choose one of both, a_to_b,"),
    (lambda f: InfoNCE(direction=3), TypeError, "direction is 3 (int); choose one of both"),
    (lambda f: InfoNCE(inputs="image_embeddings"), TypeError, "inputs is 'image_embeddings' (str); give the names"),
    (lambda f: InfoNCE(constants=[1]), TypeError, "constants is [1] (list); give a dict"),
    (lambda f: InfoNCE(label_smoothing=1), ValueError, "label_smoothing is 1; give a number in [0, 1)."),
    (lambda f: SimCTG(margin=NAN), ValueError, "margin is nan; give a number in [0, 2]."),
    (lambda f: Triplet(margin=None), TypeError, "margin is None; give a finite number."),
    (lambda f: SoftTopK(k="all"), ValueError, "k 'all' is unknown; give a positive number, or 'num_positives'."),
    (lambda f: SupCon(base_temperature=0), ValueError, "base_temperature is 0; give a positive number, or None."),
    (lambda f: DINO(dim=-1), ValueError, "dim is -1; give a whole number of at least 1."),
    (lambda f: Matryoshka(InfoNCE(), dims=8), TypeError, "dims is 8 (int); give at least one positive whole number."),
    (lambda f: Matryoshka(InfoNCE(), dims=(8, 0)), ValueError, "dims is (8, 0); "),
    (lambda f: LearnableTemperature(0.0), ValueError, "initial is 0.0; give a positive number."),
    # towers, layers, heads
    (lambda f: VisionTransformer("32", 8, 16, 1, 2), TypeError, "image_size is '32' (str); give a side from 1 to 6553"),
    (lambda f: VisionTransformer(32, 8, 16, -1, 2), ValueError, "depth is -1; give a whole number from 1 to 10000."),
    (lambda f: VisionTransformer(32, 8, 16, 10**9, 2), ValueError, "depth is 1000000000; "),
    (lambda f: VisionTransformer(32, 8, 16, 1, 3), ValueError, "num_heads=3 does not divide width=16"),
    (lambda f: VisionTransformer(32, 64, 16, 1, 2), ValueError, "image_size (32, 32) holds no patch of 64 x 64"),
    (lambda f: VisionTransformer(32, 8, 16, 1, 2, mean=0.5), TypeError, "mean is 0.5 (float); give three numbers"),
    (lambda f: VisionTransformer(32, 8, 16, 1, 2, std=(1, 1, 0)), ValueError, "std is (1, 1, 0); give three positive"),
    (lambda f: VisionTransformer(32, 8, 16, 1, 2, pool="mean"), ValueError, "pool 'mean' is unknown; choose one of "),
    (lambda f: TextTransformer(100, 10, 16.5, 1, 2), ValueError, "width is 16.5; give a whole number of at least 1."),
    (lambda f: TextTransformer(100, 10, 16, 1, 2, dropout=1), ValueError, "dropout is 1; give a number in [0, 1)."),
    (lambda f: TextTransformer(100, 10, 16, 1, 2, causal="no"), TypeError, "causal is 'no' (str); give True or False."),
    (lambda f: BertEncoder(None, 10, 16, 1, 2), TypeError, "vocab_size is None; give a whole number of at least 1."),
    (lambda f: ResNet(32, 4, 16, 16), TypeError, "depths is 4 (int); give blocks of each stage"),
    (lambda f: TransformerBlock(8, 2, 0), ValueError, "mlp_dim is 0; "),
    (lambda f: TransformerBlock(8, 2, 8, activation="gelo"), ValueError, "activation 'gelo' is unknown; choose one of"),
    (lambda f: Projector(64), TypeError, "sizes is 64 (int); give the width of each layer"),
    (lambda f: SimilarityHead(scale=0), ValueError, "scale is 0; give a positive number."),
    (lambda f: SimilarityHead(bias="x"), TypeError, "bias is 'x' (str); give a finite number, or None."),
    (lambda f: Classifier(0), ValueError, "num_classes is 0; "),
    (lambda f: SplitProjector("ab"), TypeError, "parts is 'ab' (str); give the names of the parts"),
    (lambda f: Head(Projector((4,)), None, "x"), TypeError, "reads is None; "),
    (lambda f: Head(None, "a", "b"), TypeError, "layer is None; "),
    (lambda f: kzoo.DualEncoder(None, None), TypeError, "the image_encoder is "),
    (lambda f: kzoo.DualEncoder(f.image_encoder, f.text_encoder, similarity=3), TypeError, "similarity is 3 (int); "),
    (lambda f: kzoo.DualEncoder(f.image_encoder, f.text_encoder, heads=3), TypeError, "heads is 3 (int); "),
    (lambda f: kzoo.DualEncoder(f.image_encoder, f.text_encoder, teacher="ema"), TypeError, "teacher is 'ema' (str); "),
    (lambda f: kzoo.DualEncoder(f.image_encoder, f.text_encoder, preprocessor=3), TypeError, "preprocessor is 3 (int)"),
    (lambda f: EMATeacher(1.0), ValueError, "momentum is 1.0; give a number in [0, 1): at 1 the teacher would never"),
    (lambda f: EMATeacher(steps="all"), TypeError, "steps is 'all' (str); give the number of steps"),
    # training
    (lambda f: f.fit(TOY, epochs="3"), TypeError, "epochs is '3' (str); give a whole number of at least 0."),
    (lambda f: f.fit(TOY, batch_size=True), TypeError, "batch_size is True (bool); give a whole number of at least 1"),
    (lambda f: f.compile(3), TypeError, "optimizer is 3 (int); "),
    (lambda f: f.compile("adamx"), ValueError, "optimizer 'adamx' is unknown; "),
    (lambda f: f.compile(loss=3), TypeError, "loss is of type int, but a kzoo loss is expected"),
    (lambda f: f.compile(gradients=3), TypeError, "gradients is of type int"),
    (lambda f: AdamW("fast"), TypeError, "learning_rate is 'fast' (str); give a number of at least 0, or a schedule."),
    (lambda f: AdamW(NAN), ValueError, "learning_rate is nan; "),
    (lambda f: SAM(rho=-1), ValueError, "rho is -1; give a positive number."),
    (lambda f: StopOnNonFinite(every=0), ValueError, "every is 0; "),
    (lambda f: TimeBudget("5", 1e-3), TypeError, "minutes is '5' (str); give a positive number."),
    # data
    (lambda f: pairs(TOY, f.preprocessor, batch_size="4"), TypeError, "batch_size is '4' (str); give a whole number o"),
    (lambda f: pairs(TOY, f.preprocessor, batch_size=-1), ValueError, "batch_size is -1; "),
    (lambda f: pairs(TOY, None), TypeError, "preprocessor is None; give a preprocessor, such as model.preprocessor."),
    (lambda f: pairs(TOY, f.preprocessor, shuffle="yes"), TypeError, "shuffle is 'yes' (str); give True or False."),
    (lambda f: pairs(TOY, f.preprocessor, seed=-1), ValueError, "seed is -1; "),
    (lambda f: pairs(TOY, f.preprocessor, augmentation=0.5), TypeError, "augmentation is 0.5 (float); "),
    (lambda f: pairs(TOY, f.preprocessor, word_dropout=2), ValueError, "word_dropout is 2; give a number in [0, 1)."),
    (lambda f: pairs(TOY, f.preprocessor, columns=3), TypeError, "columns is 3 (int); give the names of"),
    (lambda f: pairs(TOY, f.preprocessor, crops=2), TypeError, "crops is 2 (int); give a kzoo.data.Crops, or None."),
    (lambda f: pairs(TOY, f.preprocessor, sampler="same"), TypeError, "sampler is 'same' (str); give a sampler such a"),
    (lambda f: pairs(TOY, f.preprocessor, matrices=[1]), TypeError, "matrices is [1] (list); give a dict"),
    (lambda f: views(TOY["images"], None), TypeError, "steps is None; give ImageSteps, or a preprocessor."),
    (lambda f: views(TOY["images"], ImageSteps(8), views=0), ValueError, "views is 0; "),
    (lambda f: views(TOY["images"], ImageSteps(8), local_size="8"), TypeError, "local_size is '8' (str); "),
    (lambda f: text_views(["a"], f.preprocessor, views=None), TypeError, "views is None; "),
    (lambda f: text_pairs({}, f.preprocessor, texts="a"), TypeError, "texts is 'a' (str); give a sequence of names."),
    (lambda f: Crops(images="2"), TypeError, "images is '2' (str); "),
    (lambda f: Episodes(np.arange(4), ways=0), ValueError, "ways is 0; "),
    (lambda f: SameGroup("abc"), ValueError, "groups are "),
    (lambda f: ImageSteps("32"), TypeError, "image_size is '32' (str); give a side from 1 to 65536, or (height, width"),
    (lambda f: ImageSteps((8, 8, 3)), ValueError, "image_size is (8, 8, 3); "),
    (lambda f: ImageSteps(8, resize="crop"), ValueError, "resize 'crop' is unknown; choose one of shortest, squash, "),
    (lambda f: ImageSteps(8, interpolation="bicubik"), ValueError, "interpolation 'bicubik' is unknown; choose one of"),
    (lambda f: PatchSteps(0, 4), ValueError, "patch_size is 0; "),
    (lambda f: Augmentation(flip=1.5), ValueError, "flip is 1.5; give a probability"),
    (lambda f: Augmentation(scale=0.5), TypeError, "scale is 0.5 (float); give two shares"),
    (lambda f: Augmentation(scale=(1.0, 0.5)), ValueError, "scale is (1.0, 0.5); give two shares"),
    (lambda f: Augmentation(jitter="much"), TypeError, "jitter is 'much' (str); give a share in [0, 1], or four"),
    (lambda f: AugMix(width=0), ValueError, "width is 0; "),
    (lambda f: RandomPatches(4), TypeError, "grid is 4 (int); give rows and columns"),
    (lambda f: Preprocessor(224), TypeError, "images is 224 (int); give image steps such as ImageSteps(224), or None."),
    (lambda f: Preprocessor(ImageSteps(8), "bert"), TypeError, "tokenizer is 'bert' (str); give a kzoo.preprocessing."),
    (lambda f: Tokenizer(None, "10"), TypeError, "context_length is '10' (str); "),
    (lambda f: f.preprocessor(images=3), TypeError, "images is 3 (int); give a list of images."),
    (lambda f: f.preprocessor(texts=3), TypeError, "texts is 3 (int); give a list of texts."),
    # models in use
    (lambda f: f.encode_image(None), TypeError, "images is None; give a list of images."),
    (lambda f: f.encode_image(3), TypeError, "images is 3 (int); give a list of images."),
    (lambda f: f.encode_image([]), ValueError, "images is empty; give at least one."),
    (lambda f: f.encode_text(None), TypeError, "texts is None; give a list of texts."),
    (lambda f: f.encode_text({"a": 1}), TypeError, "texts is {'a': 1} (dict); give a list of texts."),
    (lambda f: f.encode_text(["a"], batch_size="1"), TypeError, "batch_size is '1' (str); "),
    (lambda f: f.encode_text([3]), TypeError, "text 0 is of type int"),
    (lambda f: f.classify(TOY["images"], None), TypeError, "labels is of type NoneType"),
    (lambda f: f.classify(TOY["images"], "cat"), TypeError, "labels is 'cat', but a list of at least one class"),
    (lambda f: f.classify(TOY["images"], ["a"], templates=3), TypeError, "templates is of type int"),
    (lambda f: f.similarity(None, ["a"]), TypeError, "images is None; "),
    (lambda f: kzoo.from_preset(None), TypeError, "name is None; give the name of a preset, such as 'clip_base'"),
    (lambda f: kzoo.from_preset(""), ValueError, "name is ''; give the name of a preset"),
    (lambda f: kzoo.from_preset("clip_nano", load_weights="no"), TypeError, "load_weights is 'no' (str); "),
    (lambda f: kzoo.from_preset("clip_nano", False, image_size="32"), TypeError, "image_size is '32' (str); "),
    (lambda f: kzoo.from_preset("clip_nano", False, vocab_size=0), ValueError, "vocab_size is 0; "),
    (lambda f: kzoo.from_preset("clip_nano", False, dtype="float33"), ValueError, "dtype is 'float33'; give a policy"),
    (lambda f: kzoo.list_presets(3), TypeError, "family is 3 (int); give a name, or None."),
    (lambda f: kzoo.describe(None), TypeError, "name is None; give a path."),
    (lambda f: f.save_to_preset(None), TypeError, "folder is None; give a path."),
    (lambda f: f.export(None), TypeError, "folder is None; give a path."),
    (lambda f: f.export("x", format="onix"), ValueError, "format 'onix' is unknown; choose one of onnx, tf_saved_mode"),
    (lambda f: f.export("x", opset="18"), TypeError, "opset is '18' (str); give a version of ONNX's operators"),
    (lambda f: f.export("x", opset=5), ValueError, "opset is 5; give a version of ONNX's operators, 13 or later."),
    (lambda f: f.export("x", dtype="int8"), ValueError, "dtype 'int8' is unknown; choose one of float32, float16"),
    (lambda f: f.export("x", tolerance=-1), ValueError, "tolerance is -1; "),
    (lambda f: export(None, "x"), TypeError, "model is None; give a model of kzoo."),
    (lambda f: runtime.load(None), TypeError, "folder is None; give a path."),
    (lambda f: runtime.load("x", threads=0), ValueError, "threads is 0; give a whole number from 1 to 1024"),
    (lambda f: runtime.load("x", providers="CPU"), TypeError, "providers is 'CPU' (str); give a list of the names"),
    (lambda f: recall_at_k(np.eye(3), np.eye(3), ks=5), TypeError, "ks is 5 (int); give numbers of neighbours"),
    (lambda f: caption_scores(["a"], ["a"], metrics="cider"), TypeError, "metrics is 'cider' (str); "),
]  # fmt: skip


@pytest.mark.parametrize("call, error, sentence", ROWS, ids=[f"{row}-{each[2][:30]}" for row, each in enumerate(ROWS)])
def test_wrong_arguments(call, error, sentence, model):
    assert said(lambda: call(model), error).startswith(sentence)


CAPTIONS = [
    (lambda f: f.caption(None), TypeError, "images is None; give a list of images."),
    (lambda f: f.caption([]), ValueError, "images is empty; "),
    (lambda f: f.caption(TOY["images"], strategy="beams"), ValueError, "strategy 'beams' is unknown; choose one of "),
    (lambda f: f.caption(TOY["images"], strategy=None), TypeError, "strategy is None; choose one of greedy, "),
    (lambda f: f.caption(TOY["images"], batch_size=0), ValueError, "batch_size is 0; "),
    (lambda f: f.caption(TOY["images"], max_length="9"), TypeError, "max_length is '9' (str); give a whole number fro"),
    (lambda f: f.caption(TOY["images"], strategy="beam", num_beams=0), ValueError, "num_beams is 0; "),
    (lambda f: f.caption(TOY["images"], num_beam=3), ValueError, "the option 'num_beam' is unknown; "),
    (lambda f: f.caption(TOY["images"], prefix=3), TypeError, "prefix is 3 (int); "),
    (lambda f: f.generate(TOY["images"], prefix="a"), TypeError, "prefix is 'a' (str); "),
    (lambda f: f.generate(TOY["images"], end_id="x"), ValueError, "end_id 'x' is unknown; "),
    (lambda f: kzoo.Captioner.from_dual_encoder(f, memory="words"), ValueError, "memory 'words' is unknown; choose on"),
    (lambda f: kzoo.Captioner.from_dual_encoder(3), TypeError, ""),
]  # fmt: skip


@pytest.mark.parametrize("call, error, sentence", CAPTIONS, ids=[each[2][:30] for each in CAPTIONS])
def test_wrong_arguments_of_captioners(call, error, sentence, coca):
    assert said(lambda: call(coca), error).startswith(sentence)


# -- kinds --
def test_what_is_right_is_given_back():
    assert COUNT("n", np.int64(3)) == 3 and whole(-2, 2)("n", -2) == -2
    assert number(least=0, most=1)("x", np.float32(0.5)) == np.float32(0.5) and FLAG("x", np.True_)
    assert (COUNT | None)("n", None) is None and sequence(COUNT, "numbers")("n", np.arange(1, 3)).tolist() == [1, 2]
    assert one_of("a", "b")("x", "b") == "b"


def test_what_is_the_default_is_taken_and_what_is_missing_is_said_by_python():
    @takes(count=COUNT)
    def function(a, count="many"):
        return a, count

    assert function(1) == (1, "many") and function(1, "many") == (1, "many") and function(1, count=2) == (1, 2)
    with pytest.raises(TypeError, match=r"function\(\) missing 1 required positional argument: 'a'"):
        function()
    with pytest.raises(TypeError, match="unexpected keyword argument 'b'"):
        function(1, b=2)


def test_a_class_of_somebody_else_says_its_own():
    class Mine(kzoo.losses.Loss):
        def __init__(self, scale="auto", temperature=None, **kwargs):
            super().__init__(**kwargs)

    Mine(scale="auto", temperature="learned")
    Mine.arguments = {"scale": one_of("auto")}
    with pytest.raises(ValueError, match="scale 'auro' is unknown; give 'auto' .is 'auto' meant"):
        Mine(scale="auro")


def test_values_are_shown_in_one_short_line():
    assert shown("a\nb") == r"'a\nb'" and shown(np.zeros((2, 3))) == "an array of shape (2, 3)"
    assert len(shown("x" * 1000)) < 80 and len(shown(list(range(1000)))) < 80 and shown(InfoNCE) == "the class InfoNCE"
    assert shown([np.zeros((9, 9)), 0.5, object()]) == "[ndarray, 0.5, object]"
