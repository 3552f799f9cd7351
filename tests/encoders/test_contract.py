"""Every kind of tower against what it declares: inputs, widths, tokens, masks, tables, sentences."""

import inspect

import keras
import numpy as np
import pytest
from shared_case import numpy

from kzoo.encoders import (
    BertDecoder,
    BertEncoder,
    ConvNeXt,
    ConvolvedTextTransformer,
    EfficientNet,
    FastViT,
    M2M100Encoder,
    ModernTextTransformer,
    MultimodalDecoder,
    NaFlexVisionTransformer,
    ResNet,
    SwinTransformer,
    T5Encoder,
    TextDecoder,
    TextTransformer,
    VisionTransformer,
    from_keras_hub,
)
from kzoo.encoders.tower import OPTIONS, Tower, table_of
from kzoo.keras_contact import layers_within
from kzoo.layers.numerics import l2_normalize
from kzoo.models.compiled import compiled

pytestmark = pytest.mark.one_other  # some of it is compiled
SMALL = {"width": 16, "depth": 2, "num_heads": 2}
STAGES = ((3, 1, 32, 8, 1, 1), (3, 2, 8, 16, 2, 2))


def text(**options):
    return TextTransformer(50, 8, eot_id=3, **SMALL, **options)


def fastvit(**options):
    stages = {"depths": (1, 1), "widths": (8, 32), "mlp_ratios": (2, 1), "mixers": ("repmixer", "attention")}
    stages |= {"positions_before": (False, True), "downsamples": (False, True), "squeezes": (False, True)}
    return FastViT((16, 32), **stages, **options)


def hub_image():
    import keras_hub

    backbone = keras_hub.models.ViTBackbone((16, 24, 3), 8, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=16)
    return from_keras_hub(backbone, embed_dim=6, mean=0.5, std=0.5)


def hub_siglip():
    import keras_hub

    backbone = keras_hub.models.SigLIPVisionEncoder(8, 16, 1, 2, 16, image_shape=(16, 16, 3))
    return from_keras_hub(backbone, mean=0.5, std=0.5)


def hub_text():
    import keras_hub

    sizes = {"vocabulary_size": 50, "num_layers": 1, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 16}
    return from_keras_hub(keras_hub.models.BertBackbone(**sizes, max_sequence_length=8), pad_id=1)


TOWERS = {  # eight tokens in all transformers: on jax their operations are then compiled once
    "vit": lambda: VisionTransformer((8, 56), 8, embed_dim=6, **SMALL),
    "vit_patches": lambda: VisionTransformer((8, 56), 8, patch_tokens=True, norm_tokens=True, **SMALL),
    "vit_average_all": lambda: VisionTransformer((8, 56), 8, pool="average_all", **SMALL),
    "vit_average": lambda: VisionTransformer((16, 32), 8, class_token=False, pool="average", **SMALL),
    "vit_queries": lambda: VisionTransformer(
        (8, 56), 8, pool="queries", num_queries=3, query_heads=2, embed_dim=6, **SMALL
    ),
    "vit_convolutions": lambda: VisionTransformer(
        (16, 112), 16, stem="convolutions", position_prefix=False, embed_dim=6, **SMALL
    ),
    "vit_mbconv": lambda: VisionTransformer(
        (23, 56),
        16,
        stem="mbconv",
        stem_width=8,
        stem_stages=((8, 1), (16, 2)),
        class_token=False,
        pool="average",
        positions=None,
        **SMALL,
    ),
    "vit_relative": lambda: VisionTransformer((8, 56), 8, positions=None, relative_dim=4, **SMALL),
    "vit_rotary": lambda: VisionTransformer(
        (8, 56), 8, embed_dim=6, pool="attention", pool_heads=4, rotary="columns", rotary_grid=(2, 8), **SMALL
    ),
    "text": lambda: text(embed_dim=6),
    "text_class": lambda: text(pool="class_embedding", pad_id=1),
    "text_average": lambda: text(pool="average", causal=False, mask_padding=True),
    "text_last": lambda: text(pool="last", causal=False, mask_padding=True),
    "text_convolved": lambda: ConvolvedTextTransformer(50, 8, eot_id=3, kernel_size=3, embed_dim=6, **SMALL),
    "text_convolved_merged": lambda: ConvolvedTextTransformer(50, 8, eot_id=3, merged=True, **SMALL),
    "bert": lambda: BertEncoder(50, 8, cross_width=6, pad_id=1, positions_from_padding=True, **SMALL),
    "bert_mean": lambda: BertEncoder(50, 8, num_positions=9, pool="mean", token_dim=10, embed_dim=6, **SMALL),
    "t5": lambda: T5Encoder(50, 8, head_width=6, embed_dim=6, hidden_dim=7, **SMALL),
    "m2m100": lambda: M2M100Encoder(50, 8, **SMALL),
    "naflex": lambda: NaFlexVisionTransformer(4, max_patches=8, table_size=3, **SMALL),
    "naflex_registers": lambda: NaFlexVisionTransformer(
        4,
        8,
        (2, 3),
        pool="average",
        norm_tokens=False,
        class_token=True,
        register_tokens=2,
        pre_norm=True,
        resampling="bicubic",
        square=True,
        layer_scale=0.1,
        mlp="swiglu",
        embed_dim=6,
        **SMALL,
    ),
    "modern": lambda: ModernTextTransformer(50, 8, eot_id=3, head_norm="rms", gate="plain", causal=True, **SMALL),
    "modern_pool": lambda: ModernTextTransformer(
        50,
        8,
        pool="attention",
        norm="layer",
        mlp="plain",
        sandwich=True,
        gate="bias",
        pre_norm=True,
        embed_dim=6,
        **SMALL,
    ),
    "resnet": lambda: ResNet(32, (1, 1), 4, 6, head_width=16),
    "resnet_average": lambda: ResNet(32, (1, 1), 4, 6, antialias=False, pool="average"),
    "efficientnet": lambda: EfficientNet((33, 17), 1.0, 1.0, stages=STAGES),
    "convnext": lambda: ConvNeXt((32, 48), (1, 1), (4, 8), hidden_dim=10, embed_dim=6),
    "swin": lambda: SwinTransformer((24, 36), (2, 1), 4, (1, 2), window_size=4),
    "fastvit": lambda: fastvit(embed_dim=6),
    "fastvit_merged": lambda: fastvit(norm="layer", merged=True),
    "hub_image": hub_image,
    "hub_siglip": hub_siglip,
    "hub_text": hub_text,
}


@pytest.fixture(scope="module", params=TOWERS)
def tower(request):
    keras.utils.set_random_seed(0)
    return TOWERS[request.param]()


@pytest.fixture(scope="module")
def run(tower):
    """What a tower gives for arrays; compiled, because jax takes longer over each operation by itself."""
    function = compiled(tower, lambda *arrays: tower(*arrays, training=False))
    return lambda arrays: {name: numpy(value) for name, value in function(*arrays.values()).items()}


@pytest.fixture(scope="module")
def outputs(tower, run):
    return run(tower.samples(3))


def test_inputs_are_the_arguments_of_call_and_samples_fit_them(tower):
    arrays = tower.samples(3, seed=1)
    names = [each.name for each in tower.inputs]
    assert isinstance(tower, Tower) and tower.kind and tower.title and tower.modality in ("image", "text")
    parameters = inspect.signature(tower.call).parameters
    assert list(arrays) == names == list(parameters)[: len(names)]
    assert tower.options <= parameters.keys() and tower.options <= set(OPTIONS)
    for each in tower.inputs:
        array, again = arrays[each.name], tower.samples(3, seed=1)[each.name]
        assert str(array.dtype) == each.dtype and len(array) == 3 and np.array_equal(array, again)
        assert all(want in (None, got) for got, want in zip(array.shape[1:], each.shape, strict=True))
    tower.check(arrays)
    tower.check({name: array for name, array in arrays.items() if not tower.inputs[names.index(name)].optional})
    assert [len(array) for array in tower.samples(1).values()] == [1] * len(names)


def test_what_comes_out_is_as_it_says(tower, outputs):
    assert set(outputs) <= {"embedding", "tokens", "token_mask"}
    assert outputs["embedding"].shape == (3, tower.embed_dim)
    rows, length, width = outputs["tokens"].shape
    assert (rows, width) == (3, tower.token_dim)
    if tower.grid is not None:
        assert length == tower.prefix_tokens + np.prod(tower.grid)
    if "token_mask" in outputs:
        mask = outputs["token_mask"]
        assert mask.dtype == bool and mask.shape == (3, length) and mask.any(axis=1).all() and not mask.all()
    if tower.num_blocks is not None:
        assert tower.num_blocks == len(tower.blocks)


def test_each_trained_weight_has_one_depth(tower):
    depths = tower.depths()
    assert sorted(map(id, sum(depths, []))) == sorted(map(id, tower.trainable_variables))
    after = [getattr(tower, name) for name in tower.after_stack]
    blocks = getattr(tower, tower.stack) if tower.stack else []
    assert len(depths) == 1 + len(blocks) + any(each is not None for each in after)
    for block, weights in zip(blocks, depths[1:]):
        of_block = block if isinstance(block, list) else [block]
        assert list(map(id, weights)) == [id(weight) for layer in of_block for weight in layer.trainable_variables]
    if hasattr(tower, "stem"):  # which comes first
        first = keras.tree.flatten(tower.stem)[0].trainable_variables
        assert {id(weight) for weight in first} <= {id(weight) for weight in depths[0]}


def test_the_table_is_found_by_its_path(tower):
    table = table_of(tower)
    if table is None:
        assert tower.position_path is None and tower.position_grid is None
        return
    assert any(table is weight for weight in tower.weights)
    if tower.position_grid is None:
        assert table.shape[0] >= tower.context_length + tower.position_tail
    else:
        assert 0 <= table.shape[0] - np.prod(tower.position_grid) <= 1


def test_the_samples_exercise_every_input(tower, run, outputs):
    arrays, others = tower.samples(3), tower.samples(3, seed=5)
    for name, array in arrays.items():
        other = others[name]
        if name == "padding_mask":
            other = array.copy()
            other[0, 0] = False
        changed = run(arrays | {name: other})
        assert any(np.abs(changed[each] - outputs[each]).max() > 1e-3 for each in ("embedding", "tokens")), name


def test_masks_say_which_ids_are_real(tower, outputs):
    if tower.modality != "text":
        return
    arrays = tower.samples(3)
    real = arrays["token_ids"] != tower.pad_id
    assert len(set(real.sum(axis=1))) > 1 and real[1].all()
    assert np.array_equal(arrays.get("padding_mask", real), real)
    assert np.array_equal(outputs["token_mask"], real)


def test_arrays_that_do_not_fit(tower):
    arrays = tower.samples(2)
    for each in tower.inputs:
        called = {each.name: f"other_{each.name}"}
        lacking = {name: array for name, array in arrays.items() if name != each.name}
        if not each.optional:
            with pytest.raises(ValueError, match=f"there is no 'other_{each.name}', which .* reads; .* takes"):
                tower.check(lacking, called)
        wrong = arrays | {each.name: np.concatenate([arrays[each.name]] * 2, axis=1)}
        with pytest.raises(ValueError, match=rf"^other_{each.name} have shape \(2, .*, but .* takes .*\.$"):
            tower.check(wrong, called)
        with pytest.raises(ValueError, match=rf"^{each.name} have shape"):
            tower.check(arrays | {each.name: arrays[each.name][0]})
    if tower.modality == "text":
        with pytest.raises(ValueError, match="token_ids range from -1 to .*the ids 0 to 49; tokenise"):
            tower.check(arrays | {"token_ids": np.full((2, 8), -1)})
        with pytest.raises(ValueError, match="token_ids are float32, but integers are expected"):
            tower.check(arrays | {"token_ids": np.ones((2, 8), "float32")})
    if tower.eot_id is not None:
        with pytest.raises(ValueError, match="row 0 of other has no end-of-text id 3"):
            tower.check(arrays | {"token_ids": np.full((2, 8), 4)}, {"token_ids": "other"})


def test_any_size_is_for_towers_that_take_it(tower):
    if tower.image_size is None:
        return
    other = {"images": tower.samples(2)["images"][:, : tower.image_size[0] // 2 + 1]}
    with pytest.raises(ValueError, match="channels last; resize them with model.preprocessor"):
        tower.check(other)
    if "any_size" in tower.options:
        tower.check(other, any_size=True)
        with pytest.raises(ValueError, match="channels last"):
            tower.check({"images": other["images"][..., :2]}, any_size=True)


def test_config_round_trips_with_all_that_is_declared(tower):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(tower))
    assert again.count_params() == tower.count_params()
    for name in (
        "inputs embed_dim token_dim num_blocks grid prefix_tokens position_path position_grid position_tail image_size "
        "context_length vocab_size pad_id eot_id options"
    ).split():
        assert getattr(again, name) == getattr(tower, name), name
    # where one is not, Keras on jax runs a model operation by operation before it compiles a prediction
    assert [each.path for each in layers_within(again) if not each.built] == []


def test_grids_of_patches():
    tower = NaFlexVisionTransformer(4, max_patches=12, table_size=3, **SMALL)
    arrays = tower.samples(2)
    with pytest.raises(
        ValueError, match=r"row 1 of image_grid is \[4, 4\], but this model takes patches \(batch, 12, 48"
    ):
        tower.check(arrays | {"image_grid": np.array([[3, 4], [4, 4]])})


@pytest.mark.parametrize(
    "decoder, path, context_length, pad_id",
    [
        (lambda: BertDecoder(50, 8, cross_width=6, pad_id=1, **SMALL), "position_embedding", 8, 1),
        (lambda: TextDecoder(50, 8, context_width=6, pad_id=1, **SMALL), "position_embedding", 8, 1),
        (lambda: MultimodalDecoder(50, **SMALL), None, None, None),
    ],
)
def test_decoders_declare_their_table_and_ids(decoder, path, context_length, pad_id):
    decoder = decoder()
    assert (decoder.position_path, decoder.context_length, decoder.pad_id) == (path, context_length, pad_id)
    assert decoder.kind and "decoder" in decoder.title and decoder.position_tail == 0
    assert (table_of(decoder) is None) == (path is None)


def test_the_end_of_text_is_declared_only_where_it_is_pooled():
    tower = text(pool="last")
    assert tower.eot_id is None and tower.get_config()["eot_id"] == 3
    assert [each.name for each in text(mask_padding=True, pool="class_embedding").inputs] == ["token_ids"]


def test_a_tower_without_samples_or_inputs_says_what_to_define():
    class Half(Tower):
        def call(self, x):
            return {"embedding": l2_normalize(x)}

    for ask, sentence in (
        (lambda: Half().inputs, "Half does not say what it reads; give it a property `inputs`"),
        (lambda: Half().samples(2), r"Half gives no samples; define `samples\(rows, seed\)`"),
    ):
        with pytest.raises(NotImplementedError, match=sentence):
            ask()
