"""The contact with Keras below its documented surface: what goes past its tracking, and every private name of it.

No other room of kzoo does either, and `tests/test_keras_contact.py` names each private name that is used here, so that
a release of Keras without it is found by that name, not by a model that trains differently.
"""

from kzoo.keras_contact.adapted import call_directly, call_through, found_anew, give_parts
from kzoo.keras_contact.attributes import (
    OwnMoments,
    attach,
    batch_norms,
    layers_within,
    memory_unsearched,
    moments_taken,
    optimized,
    replaced,
    shapes_shown,
    summed_before,
    unscaled,
    untracked,
)
from kzoo.keras_contact.changes import SaysChanges
from kzoo.keras_contact.direct import CalledDirectly, is_training
from kzoo.keras_contact.errors import as_said, called_by_compiled_loss
from kzoo.keras_contact.later import Unfilled, can_be_given_later, initializer_of
from kzoo.keras_contact.likeness import likeness
from kzoo.keras_contact.randomness import global_seed
from kzoo.keras_contact.rates import scale_rates
from kzoo.keras_contact.saving import (
    OF_METRICS,
    OF_TRAINING,
    build_without_values,
    give_state,
    left_over,
    take_state,
    write_by,
)
from kzoo.keras_contact.steps import (
    AllAtOnce,
    BuiltAlready,
    CompiledInParts,
    SparesAll,
    batches_placed,
    carried_variables,
    decide_direction,
    forget_stale_steps,
    steps_run,
    sync_state,
    track_loss,
    value_within_fit,
    weights_kept,
    within_fit,
)
from kzoo.keras_contact.watching import (
    attributes_of,
    children_of,
    outputs_hidden,
    outputs_shown,
    own_weights,
    show_outputs,
)

__all__ = [
    "OF_METRICS",
    "OF_TRAINING",
    "AllAtOnce",
    "BuiltAlready",
    "CalledDirectly",
    "CompiledInParts",
    "OwnMoments",
    "SaysChanges",
    "SparesAll",
    "Unfilled",
    "as_said",
    "attach",
    "attributes_of",
    "batch_norms",
    "batches_placed",
    "build_without_values",
    "call_directly",
    "call_through",
    "called_by_compiled_loss",
    "can_be_given_later",
    "carried_variables",
    "children_of",
    "decide_direction",
    "forget_stale_steps",
    "found_anew",
    "give_parts",
    "give_state",
    "global_seed",
    "initializer_of",
    "is_training",
    "layers_within",
    "left_over",
    "likeness",
    "memory_unsearched",
    "moments_taken",
    "optimized",
    "outputs_hidden",
    "outputs_shown",
    "own_weights",
    "replaced",
    "scale_rates",
    "shapes_shown",
    "show_outputs",
    "steps_run",
    "summed_before",
    "sync_state",
    "take_state",
    "track_loss",
    "unscaled",
    "untracked",
    "value_within_fit",
    "weights_kept",
    "within_fit",
    "write_by",
]
