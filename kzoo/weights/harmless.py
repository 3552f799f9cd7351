"""Fields of other libraries' configs that nobody reads, for a reason: they change no number of an opened model.

Whatever is not here, and was not read, is refused by its name and value (`Format.row`): it might change one.
"""

from collections.abc import Callable

ANY = object()  # of every value

# in any part of a `config.json` of transformers; the reasons are the keys
_OF_TRANSFORMERS = {
    "where the file comes from": (
        "_commit_hash",
        "_diffusers_version",
        "_name_or_path",
        "architectures",  # of a part; that of the whole is looked at by `Format`
        "auto_map",  # likewise
        "feature_extractor_type",
        "finetuning_task",
        "model_type",  # of a part
        "name_or_path",
        "processor_class",
        "task_specific_params",
        "tokenizer_class",
        "transformers.js_config",
        "transformers_version",
    ),
    "how its own code computes the same numbers": (
        "_attn_implementation",
        "_attn_implementation_autoset",
        "_attn_implementation_internal",
        "attn_implementation",
        "chunk_size_feed_forward",
        "dtype",
        "gradient_checkpointing",
        "is_composition",
        "tf_legacy_loss",
        "torch_dtype",
        "torchscript",
        "use_bfloat16",
        "use_cache",
    ),
    "what its own code gives back": (
        "output_attentions",
        "output_hidden_states",
        "output_past",
        "return_dict",
        "use_return_dict",
    ),
    "how it starts, and what only training does": (
        "attention_dropout",
        "attention_probs_dropout_prob",
        "classifier_dropout",
        "drop_connect_rate",
        "drop_path_rate",
        "dropout",
        "dropout_rate",
        "hidden_dropout_prob",
        "initializer_factor",
        "initializer_range",
        "label_smoothing",
        "layerdrop",
        "logit_scale_init_value",
        "projection_dropout",
        "temperature_init_value",
    ),
    "of a head of classes, which these models have not": ("id2label", "label2id", "num_labels", "problem_type"),
    "ids that the vocabulary has, too": (
        "bos_token_id",
        "decoder_start_token_id",
        "eos_token_id",
        "pad_token_id",
        "sep_token_id",
    ),
    "how texts are written, which `caption` is told by its caller": (
        "bad_words_ids",
        "begin_suppress_tokens",
        "diversity_penalty",
        "do_sample",
        "early_stopping",
        "encoder_no_repeat_ngram_size",
        "epsilon_cutoff",
        "eta_cutoff",
        "exponential_decay_length_penalty",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "length_penalty",
        "max_length",
        "max_new_tokens",
        "min_length",
        "no_repeat_ngram_size",
        "num_beam_groups",
        "num_beams",
        "num_return_sequences",
        "output_scores",
        "penalty_alpha",
        "prefix",
        "remove_invalid_values",
        "repetition_penalty",
        "return_dict_in_generate",
        "suppress_tokens",
        "temperature",
        "top_k",
        "top_p",
        "typical_p",
    ),
    "of a model without projections": ("projection_dim",),  # in a part; that of the whole is read
}
_PLAIN = {  # which change numbers, unless they say what is built anyway
    "add_cross_attention": (False,),
    "cross_attention_hidden_size": (),
    "is_decoder": (False,),
    "is_encoder_decoder": (False,),
    "num_channels": (3,),
    "position_embedding_type": ("absolute",),
    "pruned_heads": ({},),
    "qkv_bias": (True,),
    "tie_encoder_decoder": (False,),
    "tie_word_embeddings": (True, False),  # of a table of tokens that no output shares
}
_POOLER_OF_BERT = {  # of Google's own BERT, which no class of transformers looks at
    "directionality": ("bidi",),
    "pooler_fc_size": ANY,
    "pooler_num_attention_heads": ANY,
    "pooler_num_fc_layers": ANY,
    "pooler_size_per_head": ANY,
    "pooler_type": ("first_token_transform",),
}
_STEPS = {  # of an image processor
    "_valid_processor_keys": ANY,
    "data_format": ANY,  # axes, which the model puts where it wants them
    "default_to_square": ANY,  # read where the size is a number
    "device": ANY,
    "disable_grouping": ANY,
    "do_convert_rgb": ANY,  # grey and transparent pictures, which the classes refuse without it, become RGB
    "do_pad": (False,),
    "feature_extractor_type": ANY,  # read where `image_processor_type` lacks
    "image_processor_type": ANY,  # as above
    "image_seq_length": ANY,
    "input_data_format": ANY,
    "model_input_names": ANY,
    "processor_class": ANY,
    "return_tensors": ANY,
    "auto_map": ANY,  # pixels are compared with the class of the library
}


def of_transformers(whole=None, text=None, vision=None) -> dict:
    """The table of one family of transformers, by part; `None` is the whole.

    Args:
        whole: what is harmless there beside what is everywhere: field -> its harmless values, or `ANY`.
        text: the same of `text_config`.
        vision: the same of `vision_config`.
    """
    common = {name: ANY for names in _OF_TRANSFORMERS.values() for name in names} | _PLAIN
    parts = {None: whole, "text_config": text, "vision_config": vision}
    return {part: common | (more or {}) for part, more in parts.items()} | {STEPS: _STEPS}


STEPS = "steps"  # the table of an image processor, in those of a format

BERT = of_transformers(text=_POOLER_OF_BERT)
BLIP = of_transformers(
    whole={"image_text_hidden_size": ANY, "tie_word_embeddings": (True,)},  # the former read where images meet texts
    # [DEC] and its output are the token table; the width that its cross-attention reads is that of the image tower
    text={"is_decoder": (True,), "tie_word_embeddings": (True,), "encoder_hidden_size": ANY},
    vision={"num_channels": ANY},  # its class makes three whatever it says
)
ALTCLIP = of_transformers(
    whole={
        "direct_kd": ANY,
        "num_layers": ANY,
        "text_model_name": ANY,
        "vision_model_name": ANY,
    },  # how it was distilled
    text={"learn_encoder": ANY, "pooler_fn": ANY},  # its class pools the first token whatever it says
)
ALIGN = of_transformers(text=_POOLER_OF_BERT, vision={"num_hidden_layers": ANY})  # which its class counts itself

_TOWER_OF_OPEN_CLIP = {
    "block_type": ("default",),
    "output_tokens": ANY,  # whether tokens are given back, too
    **{
        name: (False,)
        for name in (
            "qk_norm",
            "scale_attn",
            "scale_attn_inner",
            "scale_fc",
            "scale_heads",
            "scaled_cosine_attn",
        )
    },
}
OPEN_CLIP = {
    "model_cfg": {
        "cast_dtype": ANY,
        "init_logit_scale": ANY,
        "output_dict": ANY,
        "pad_id": (0,),  # of CoCa
    },
    "vision_cfg": {
        **_TOWER_OF_OPEN_CLIP,
        "image_seq_len": ANY,  # read where pictures keep their shape
        "global_average_pool": (False,),  # of older versions, as the next
        "input_patchnorm": (False,),
        "patch_dropout": ANY,  # training alone
        "timm_drop": ANY,
        "timm_drop_path": ANY,
        "timm_model_pretrained": ANY,
    },
    "text_cfg": {
        **_TOWER_OF_OPEN_CLIP,
        "eos_id": ANY,  # read where the pool looks for it
        "final_ln_after_pool": ANY,  # which no text tower is given
        "bos_id": ANY,  # which its tokenizer puts there
        "correct_cls_mask": ANY,  # read where there is a class embedding
        "freeze_pad_embed": ANY,  # training alone, as the next
        "variable_text": ANY,  # texts are padded alike here, too
        "zero_init_residual": ANY,
        "hf_model_pretrained": ANY,
        "pad_id": ANY,  # read where a class embedding sees no padding
    },
    "multimodal_cfg": {  # CoCa's decoder is given its context, width, heads, blocks and layer scale
        **_TOWER_OF_OPEN_CLIP,
        "attn_pooler_heads": ANY,
        "context_length": ANY,  # a mask, which is cut to the texts
        "dim_head": ANY,
        "latent_dim": ANY,
        "mlp_ratio": ANY,
        "n_queries": ANY,
        "vocab_size": ANY,
    },
    "preprocess_cfg": {
        "fill_color": (0,),
        "mode": ("RGB",),
        "num_channels": (3,),
        "size": ANY,  # the image tower's counts
    },
    # of a tower of transformers, whose config lies beside the weights
    "hf_config": of_transformers(text=_POOLER_OF_BERT)["text_config"],
}


def harmless(table) -> Callable:
    """The function that `Fields.unread` asks: whether a field of a part changes nothing.

    Args:
        table: part -> field -> values that change nothing, or `ANY`. What is null says nothing.
    """

    def changes_nothing(part, name, value):
        values = table.get(part, {}).get(name, ())
        return value is None or values is ANY or any(value == each and type(value) is type(each) for each in values)

    return changes_nothing
