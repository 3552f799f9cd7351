"""The model that `fit` trains: towers by modality, heads, and a loss that reads what they give by name."""

import inspect
from collections.abc import Callable
from typing import Self

import keras

from kzoo import keras_contact, losses
from kzoo.arguments import COUNT, TABLE, able, one_of, sequence
from kzoo.bases import Model
from kzoo.layers.configured import Configured
from kzoo.losses.parts.own_loops import check_replica, marked
from kzoo.losses.spec import named
from kzoo.models.answers import Rule, World, answer
from kzoo.models.checks import (
    check_arrays,
    check_compile,
    check_compiled,
    check_own_loss,
    check_rows,
    check_trained,
    contents,
)
from kzoo.models.compiled import compiled
from kzoo.models.fitting import Fitting
from kzoo.models.intake import look_once
from kzoo.models.leaving import Leaving
from kzoo.models.slots import Slot, bag_of, find_slots, names_of
from kzoo.models.summary import Summary
from kzoo.scale.engine import within_scope
from kzoo.training.engines import check_devices, check_optimizer
from kzoo.training.gradients import gradient_policy
from kzoo.training.metrics import NamedMeans, in_batch_accuracy
from kzoo.training.optimizers import resolve_optimizer
from kzoo.training.options import DEFAULTS, check_options, options_of, set_options
from kzoo.training.recipes import Recipe
from kzoo.training.step import check_overridden, predict_step, steps_of, test_step, train_step
from kzoo.types import Tensor

PAIR = ("image_embeddings", "text_embeddings")


class ContrastiveModel(keras_contact.BuiltAlready, Leaving, Configured, Fitting, Summary, Model):
    """Towers by modality with heads, whose outputs a kzoo loss reads by name.

    `DualEncoder`, `MultiEncoder`, `Captioner`, `MatchingEncoder` and `SelfSupervised` are thin forms of it. A subclass
    keeps its towers as attributes in its constructor, then calls `settle`, and defines `tower_names`; where it gives
    more than its towers and heads do, `rules`; where its batches are others, `slots`.

    Every call answers by name. For each set of arrays of a tower, a slot (`image`, `text`, `negative_text`, ...):

    - `<slot>_embeddings` float32 `(batch, embed_dim)`, unit length; `<slot>_features`, as the tower gives them;
    - `<slot>_tokens` `(batch, length, width)` and `<slot>_token_mask` bool `(batch, length)`, True where one is real;
      `<slot>_map` `(batch, rows, columns, width)`;
    - `<slot>_layers` `(batch, blocks, embed_dim)` and `<slot>_layer_tokens`, the same after each block of the tower;
    - `<slot>_input`, the array itself; what heads name; and after `teacher_` what a teacher says of the same.

    Arrays with one axis more than the tower declares are bags, `(batch, n, ...)`: several captions, crops, candidates.
    All that is made of one has that axis too. `<prefix>_token_ids` and `<prefix>_images` are further slots of the same
    towers. `<slot>_masked` bool `(batch, positions)` hides positions from the student, `<slot>_kept` int
    `(batch, kept)` says which it sees.
    """

    PAIR = PAIR
    kind = None  # its name in preset tables
    layout = {}  # how the checkpoint it was opened from spells what can be spelled in two ways
    source = None  # "hf://owner/name@commit" that from_preset took the weights from
    micro_batch_size = None  # rows that go through the towers at a time, see `compile`
    trainings = ()  # what `fit` has done so far, a dict for each, see `kzoo.training.record`

    arguments = {
        "similarity": able("models", "a kzoo.layers.SimilarityHead"),
        "preprocessor": able("encode_images encode_texts", "a kzoo.preprocessing.Preprocessor"),
        "loss": sequence(TABLE, "a list such as [{'loss': 'InfoNCE'}]"),
        "heads": sequence(able("reads gives", "a head"), "a list of kzoo.layers.Head"),
        "teacher": able("follow answer", "an EMATeacher, a FixedTeacher, or None"),
        "projector": able("call build", "a layer of Keras") | one_of(False).said("False for none"),
    }

    def settle(self, similarity=None, heads=(), teacher=None, preprocessor=None, loss=None) -> None:
        """Keep what every form has beside its towers; the last call of a constructor."""
        self.similarity = similarity
        self.preprocessor = preprocessor
        self.heads = list(heads)
        self.loss_spec = tuple(loss)
        self._build_heads()
        if teacher is not None:
            teacher.follow(**self.parts())
        self.teacher = teacher
        keras_contact.untracked(self, "compiled_functions", {})
        keras_contact.untracked(self, "identity", object())  # what a weight of a loss remembers of its model
        keras_contact.untracked(self, "looked_at", set())  # names and dtypes of tensors whose values were seen
        self.build()

    def build(self, batch_shape=None) -> None:
        """Nothing is left to build: towers and heads were built with their own shapes."""

    def _build_heads(self):
        """Give heads their weights, by the shapes of what they read."""
        known = self.shapes()
        for head in self.heads:
            shapes = [self.find_shape(name, known) for name in head.reads]
            head.build(shapes)
            known |= head.compute_output_shape(shapes)
        keras_contact.untracked(self, "known_shapes", known)

    def shape_of(self, name) -> tuple:
        """The shape of an output, of a tower or a head, with None where a side is not known."""
        return self.find_shape(name, self.known_shapes)

    def find_shape(self, name, known) -> tuple:
        """The shape of an output among those that are known, see `shapes`; of what stands in the batch no side is."""
        ends = [pattern for pattern in known if pattern.startswith("*") and name.endswith(pattern[1:])]
        return known.get(name, known[max(ends, key=len)] if ends else (None, None))

    def shapes(self) -> dict:
        """Name of an output -> shape, None where a side is not known; `*` stands for slots of any name."""
        known = {}
        for modality, tower in self.modalities().items():
            dim, width, blocks = tower.embed_dim, tower.token_dim, tower.num_blocks
            own = {"embeddings": (None, dim), "features": (None, dim)}
            if width is not None:
                own |= {"tokens": (None, None, width), "token_mask": (None, None)}
            if width is not None and tower.grid is not None:
                own["map"] = (None, *tower.grid, width)
            if "layers" in tower.options:
                own["layers"] = (None, blocks, dim)
            own["input"] = (None, *tower.inputs[0].shape)
            known |= {f"{name}_{kind}": shape for name in (modality, "*") for kind, shape in own.items()}
        return known

    @classmethod
    def from_parts(cls, towers, **options) -> Self:
        """The model of towers by their names in a preset row, `<modality>_encoder`, and other arguments."""
        return cls(**towers, **options)

    batch_axes = {}  # name of an output -> the axis of the rows, where it is not the first

    # -- parts --
    tower_names = {}  # modality -> attribute of its tower

    def modalities(self) -> dict:
        """Modality -> tower."""
        return {modality: getattr(self, name) for modality, name in self.tower_names.items()}

    def towers(self) -> dict:
        """Name -> what takes arrays of a batch, in the order of a preset row: the towers, a decoder."""
        return {name: getattr(self, name) for name in self.tower_names.values()}

    def exported(self) -> list:
        """Of each tower, in the order of `towers`, the `Slot` that an exported graph of it stands for."""
        return [Slot(modality, modality, names_of(tower, modality)) for modality, tower in self.modalities().items()]

    def parts(self) -> dict:
        """Name -> layer, of all that a teacher copies: towers and heads."""
        towers = dict(zip(self.tower_names.values(), self.modalities().values()))
        return towers | {f"head_{number}": head for number, head in enumerate(self.heads)}

    # -- forward --
    def slots(self, batch) -> list:
        """The sets of arrays of a batch that towers read, list of `kzoo.models.slots.Slot`."""
        return find_slots(self.modalities(), batch)

    def rules(self, batch) -> list:
        """What the model makes of outputs and of the batch beside its heads, list of `kzoo.models.answers.Rule`."""
        return [Rule(("negative_text_embeddings",), ("negatives",), lambda x, training: (x,))]

    def default_outputs(self, batch, slots) -> list:
        """Names that a call gives where it is asked for no others, and beside those that it is asked for."""
        return [f"{slot.name}_embeddings" for slot in slots if slot.name in self.tower_names]

    def gives(self, batch) -> tuple[str, ...]:
        """Names of all outputs that the model can give for a batch.

        Example:
            >>> model.gives({"images": images})
            ('image_embeddings', 'image_features', 'image_tokens', ...)
        """
        return self._world(batch).names()

    def _world(self, batch, slots=None):
        heads = [Rule(head.reads, head.gives, _run_head, f"head_{number}") for number, head in enumerate(self.heads)]
        slots = self.slots(batch) if slots is None else slots
        rules, call_tower = [*heads, *self.rules(batch)], vars(self).get("compiled_towers")
        return World(batch, slots, rules, self.parts(), self.tower_names, teacher=self.teacher, call_tower=call_tower)

    def call(self, batch, training=None, outputs=(), only=None) -> dict[str, Tensor]:
        """Outputs of a batch, by name.

        Args:
            batch: dict of arrays.
            training: as in Keras; a locked layer runs as in inference.
            outputs: names beside the default ones; what this batch cannot give is left out, see `gives`.
            only: exactly these names, in place of all that.

        Returns:
            dict of tensors.
        """
        slots = self.slots(batch)
        names = tuple(only) if only is not None else (*self.default_outputs(batch, slots), *outputs)
        return answer(tuple(dict.fromkeys(names)), self._world(batch, slots), training)

    def __call__(self, batch, *args, **kwargs) -> dict[str, Tensor]:
        check_replica(self)
        self.check_batch(batch)
        if vars(self).get("compiled_towers") is not None and not keras_contact.steps_run(self):
            keras_contact.forget_stale_steps(self)
        look_once(self, batch)
        return marked(super().__call__(batch, *args, **kwargs))

    # -- checks --
    def check_batch(self, batch) -> None:
        """Stops with a sentence where a batch holds no modality, or arrays that do not fit their towers."""
        slots = self.slots(batch) if isinstance(batch, dict) else []
        if not slots:
            raise ValueError(self.wants(batch))
        check_rows(batch)
        for slot in slots:
            tower = self.modalities()[slot.modality]
            check_arrays(slot, tower, batch, bag_of(slot, tower, batch))

    def check_fed(self, batch, read) -> None:
        """Stops with a sentence where a loss could not read what the model makes of a batch.

        Args:
            batch: dict of arrays that fit the towers.
            read: names that the loss reads.
        """

    def wants(self, batch) -> str:
        """The sentence for what is no batch of this model."""
        firsts = [next(iter(names_of(tower, name).values())) for name, tower in self.modalities().items()]
        return f"a batch has {contents(batch)}, but a dict of arrays is expected, of {', '.join(firsts)}."

    def check_training(self) -> None:
        """Stops with a sentence where a step would train something else than what was compiled."""
        check_compiled(self)
        check_devices(self, training=True)
        check_trained(self)

    # -- compile --
    @within_scope
    def compile(self, optimizer="clip_adamw", loss=None, gradients="sum", micro_batch_size=None, **options) -> None:
        """Configure training.

        Args:
            optimizer: a Keras optimizer or its name, of which `"clip_adamw"`, `"clip_lion"`, `"clip_lamb"` and
                `"clip_muon"` are those of `kzoo.training`, with no decay on gains and biases; or a recipe of
                `kzoo.training.recipe`.
            loss: a kzoo loss, such as `InfoNCE() + 2.0 * Captioning()`, or the name of one; default the preset's own.
                Its variables are trained and saved with the model. The object itself is not changed.
            gradients: how those of several terms are put together: `"sum"`, `"harmonised"`, `"pcgrad"`, `"sam"`, or a
                policy of `kzoo.training.gradients`.
            micro_batch_size: rows that go through towers and heads at a time, so that activations are those of so many;
                default all of the batch. The loss sees the whole batch, and gradients are those of the plain step, for
                a second forward pass of each micro-batch. Batch norms have the statistics of their micro-batch, rows
                `i::k` of the batch, and their averages move with each; a dropout draws for each anew. It holds for
                `evaluate` and `predict` too. A last batch of fewer rows is cut into as few.
            **options: as in `keras.Model.compile`, but for `metrics` and `loss_weights`; on torch `jit_compile=True`
                has `torch.compile` make each tower, for each shape of its arrays, at the first call with it, but trains
                one that draws random numbers as it is; and

                - `loss_block_size`: rows that losses of pairs compare at a time where their own `block_size` says
                  nothing: a number; `"auto"` (default), all at once up to a batch of 4096 and at most 256 rows above
                  it; None, all at once. Values and gradients are the same;
                - `layer_decay`: what the learning rate of a block is multiplied by against the block above it, in
                  (0, 1]; default 1;
                - `patch_dropout`: share of the patches of a picture that a step of training leaves out, default 0; see
                  `kzoo.training.PatchDropout`;
                - `non_finite`: `"stop"` (default), `fit` ends with an error where the loss is no finite number; or
                  `"skip"`, such a step changes nothing and is counted as `skipped_steps`.

        Raises:
            TypeError: the loss is not a kzoo loss, or an argument that only targets have a use for.
            ValueError: a loss that reads what this model never gives; an optimizer that sums the gradients of steps;
                a policy that names parts which are not there.
            NotImplementedError: a strategy of TensorFlow that was never tried.

        Example:
            >>> model.compile(kzoo.training.AdamW(1e-4))
        """
        if isinstance(optimizer, Recipe):
            optimizer.compile(self, loss=loss, gradients=gradients, micro_batch_size=micro_batch_size, **options)
            return
        kwargs = {name: value for name, value in options.items() if name not in DEFAULTS}
        options = DEFAULTS | {name: value for name, value in options.items() if name in DEFAULTS}
        check_overridden(self)
        check_compile(kwargs)
        check_options(self, options)
        (COUNT | None)("micro_batch_size", micro_batch_size)
        loss = losses.from_spec(self.loss_spec) if loss is None else named(loss)
        self.check_loss(loss)
        check_own_loss(self, loss)
        policy, optimizer = gradient_policy(gradients), resolve_optimizer(optimizer)
        check_optimizer(optimizer)
        policy.check(self)
        check_devices(self, training=False)
        super().compile(optimizer=optimizer, **kwargs)
        keras_contact.untracked(self, "auto_jit_compile", kwargs.get("jit_compile", "auto") == "auto")
        self.forget_compiled()
        means = NamedMeans([*loss.term_names, *self.measured(loss)])
        for name, step in steps_of(self).items():
            keras_contact.untracked(self, name, step)
        keras_contact.untracked(self, "epochs_made", 0)
        keras_contact.untracked(self, "begun_together", False)  # by `train_on_batch`, of several processes
        keras_contact.untracked(self, "micro_batch_size", micro_batch_size)
        keras_contact.attach(self, objective=loss, gradients=policy, means=means)
        keras_contact.attach(self, **set_options(self, options))

    def check_loss(self, loss) -> None:
        """Stops with a sentence where the model can never give what a loss reads."""
        names = loss.may_read(self.any_number())
        if self.teacher is not None and not any(map(_is_of_teacher, names)):
            raise ValueError(
                f"the model has a teacher, but the loss reads only {', '.join(sorted(names))}; name what it shall read "
                "of the teacher, such as inputs=('view_1', 'teacher_view_2'), or build the model without one."
            )

    def any_number(self) -> tuple:
        """Names that a loss of any number of tensors reads, unless it was told which."""
        return ()

    def measured(self, loss) -> dict[str, Callable]:
        """Name -> function of the tensors that a loss reads, of what is logged beside its terms."""
        return {"in_batch_accuracy": self._in_batch} if self.compares_pairs(loss) else {}

    def _in_batch(self, tensors):
        return in_batch_accuracy(*(tensors[name] for name in self.PAIR))

    def compares_pairs(self, loss) -> bool:
        """Whether a loss reads both embeddings of a pair: accuracy and recall say nothing of what others train."""
        return set(PAIR) <= set(loss.reading(self.any_number()))

    def get_compile_config(self) -> dict:
        config = super().get_compile_config()
        if not config:
            return config
        # Keras keeps what "auto" became here; torch, which compiles nothing by itself, would compile for minutes
        compiler = {"jit_compile": "auto"} if self.auto_jit_compile else {}
        compiler |= {"epochs_made": self.epochs_made, "micro_batch_size": self.micro_batch_size} | options_of(self)
        kept = {"loss": self.objective, "gradients": self.gradients}
        return config | compiler | {name: keras.saving.serialize_keras_object(each) for name, each in kept.items()}

    def compile_from_config(self, config) -> None:
        made = config.get("epochs_made", 0)  # not in what was saved before models counted
        config = {name: value for name, value in config.items() if name != "epochs_made"}
        self.compile(**keras.saving.deserialize_keras_object(config))
        keras_contact.untracked(self, "epochs_made", made)
        self.optimizer.build(self.trainable_variables)

    # -- train, evaluate, predict --
    train_step, test_step, predict_step = train_step, test_step, predict_step

    def predicted(self, batch) -> list:
        """Names that `predict` gives: tokens and logits of a whole data set fit into no memory."""
        return [f"{slot.name}_embeddings" for slot in self.slots(batch) if slot.name in self.tower_names]

    def reading(self, names, batch) -> list[str] | tuple[str, ...]:
        """Names of outputs to ask for, so that a loss can read `names`."""
        return names

    def loss_tensors(self, outputs) -> dict:
        """What a loss reads of outputs, by name."""
        return outputs

    def compiled_once(self, key, make) -> Callable:
        """A function of this model's layers, `make(model)`, compiled once for all batches; see `compiled`."""
        keras_contact.forget_stale_steps(self)
        if key not in self.compiled_functions:
            self.compiled_functions[key] = compiled(self, make(self))
        return self.compiled_functions[key]

    # -- config --
    def get_config(self) -> dict:
        parts = {
            "similarity": self.similarity,
            "heads": self.heads,
            "teacher": self.teacher,
            "preprocessor": self.preprocessor,
            "loss": list(self.loss_spec),
        }
        own = inspect.signature(type(self).__init__).parameters
        return super().get_config() | {name: part for name, part in parts.items() if name in own}


def _run_head(head, *tensors, training):
    return tuple(head(*tensors, training=training).values())


def _is_of_teacher(name):
    return name in ("key", "teacher") or name.startswith("teacher_")
