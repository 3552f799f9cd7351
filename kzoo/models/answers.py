"""How a model answers by name: towers run on the slots of a batch, heads and rules make the rest."""

import re
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.models.slots import TEACHER, bag_of

# what a slot gives: embedding of unit length and as it comes, tokens, which of them are real, features after each
# block, tokens as a map, and the array itself
KINDS = ("embeddings", "features", "tokens", "token_mask", "layers", "layer_tokens", "map", "input")
OF_TOKENS = {"tokens", "token_mask", "layers", "layer_tokens", "map"}  # those for which a tower has to give tokens
HIDDEN, KEPT = "masked", "kept"  # `view_1_masked`, `view_1_kept`: what is hidden of a slot, and what is kept


@dataclass(frozen=True)
class Rule:
    """What is made of what: a head, or a step of a model's own.

    Args:
        reads: names, of which one `*` stands for each slot.
        gives: names, likewise.
        run: function of the tensors and `training=` to a tuple of tensors, in the order of `gives`.
        part: name of the layer that it runs, which a teacher has a copy of; None where only the student answers.
    """

    reads: tuple
    gives: tuple
    run: Any
    part: str | None = None

    def match(self, name) -> str | None:
        """What `*` stands for where the rule gives `name`: `""` where it has none, None where it does not give it."""
        for pattern in self.gives:
            found = re.fullmatch(re.escape(pattern).replace(r"\*", "(.+)"), name)
            if found:
                return found[1] if "*" in pattern else ""
        return None

    def names(self, patterns, slot) -> tuple:
        """`reads` or `gives` for one slot."""
        return tuple(pattern.replace("*", slot) for pattern in patterns)


def as_it_is(x, training) -> tuple:
    """What a `Rule` runs that gives a name a second one."""
    return (x,)


@dataclass
class World:
    """Who answers: towers, rules and layers, for one batch.

    Attributes:
        batch: dict of arrays.
        slots: of the batch.
        rules: list of `Rule`.
        parts: name -> layer, towers and those that rules run: the student's, or a teacher's copies.
        tower_names: modality -> name of its tower in `parts`.
        student: whether what the batch hides is hidden; a teacher sees all of it.
        teacher: a teacher that answers by names after `teacher_`, or None.
        call_tower: function of a tower and of what it is called with; None calls it.
    """

    batch: dict
    slots: list
    rules: list
    parts: dict
    tower_names: dict
    student: bool = True
    teacher: Any = None
    call_tower: Any = None

    def tower(self, slot) -> Any:
        """The tower that reads a slot."""
        return self.parts[self.tower_names[slot.modality]]

    def split(self, name) -> tuple | None:
        """`(slot, "tokens")` of `"view_1_tokens"`, or None."""
        for slot in self.slots:
            kind = name.removeprefix(f"{slot.name}_")
            if kind != name and kind in KINDS and _gives(self.tower(slot), kind):
                return slot, kind
        return None

    def of_copies(self, copies) -> "World":
        """The same batch, answered by a teacher's copies of towers and heads, which see all of it."""
        rules = [rule for rule in self.rules if rule.part in copies]
        return replace(self, rules=rules, parts=copies, student=False, teacher=None)

    def answer(self, names, training=None) -> dict:
        """Tensors by name, see `answer`."""
        return answer(names, self, training)

    def names(self) -> tuple:
        """All names that can be given, in the order of slots and rules."""
        found = [f"{slot.name}_{kind}" for slot in self.slots for kind in KINDS]
        for rule in self.rules:
            for pattern in rule.gives:
                found += [pattern.replace("*", slot.name) for slot in self.slots] if "*" in pattern else [pattern]
        given = [name for name in dict.fromkeys(found) if name in ask([name], self).names]
        if self.teacher is not None:
            given += [f"{TEACHER}_{name}" for name in self.teacher.gives(self)]
        return tuple(given)


@dataclass
class Asked:
    """What a call has to compute.

    Attributes:
        kinds: name of a slot -> kinds of its tower's results.
        runs: list of `(rule, slot)`.
        of_teacher: names that the teacher is asked for.
        names: all names that are found.
    """

    kinds: dict = field(default_factory=dict)
    runs: list = field(default_factory=list)
    of_teacher: list = field(default_factory=list)
    names: set = field(default_factory=set)


def ask(names, world) -> Asked:
    """What must be run so that `names` can be given; those that cannot are left out."""
    asked = Asked()

    def found(name, below=()):
        if name in asked.names:
            return True
        place = world.split(name)
        plain = name.removeprefix(f"{TEACHER}_")
        if place is not None:
            asked.kinds.setdefault(place[0].name, set()).add(place[1])
        elif plain != name and world.teacher is not None and plain in world.teacher.gives(world):
            asked.of_teacher.append(plain)
        else:
            return by_rule(name, below)
        asked.names.add(name)
        return True

    def by_rule(name, below):
        for rule in world.rules:
            star = rule.match(name)
            if star is None or (star and all(star != slot.name for slot in world.slots)) or (rule, star) in below:
                continue
            reads = rule.names(rule.reads, star)
            if all(found(each, (*below, (rule, star))) or each in world.batch for each in reads):
                asked.runs.append((rule, star))
                asked.names.update(rule.names(rule.gives, star))
                return True
        return False

    for name in names:
        found(name)
    return asked


def _gives(tower, kind):
    if kind in ("tokens", "token_mask", "layer_tokens") and tower.token_dim is None:
        return False
    if kind in ("layers", "layer_tokens"):
        return "layers" in tower.options
    return kind != "map" or tower.grid is not None


def answer(names, world, training=None) -> dict:
    """Tensors by name, in the order of `names`; those that cannot be given are left out.

    Args:
        names: of outputs.
        world: who answers.
        training: as in Keras; a locked layer runs as in inference.
    """
    asked, batch, values = ask(names, world), world.batch, {}
    for slot in world.slots:
        if "input" in asked.kinds.get(slot.name, ()):
            values[f"{slot.name}_input"] = ops.convert_to_tensor(batch[slot.first])
    run = [slot for slot in world.slots if asked.kinds.get(slot.name, set()) - {"input"}]
    for group in _groups(run, batch, world.student):
        values |= _run_tower(group, world, asked.kinds, training)
    if asked.of_teacher:
        found = world.teacher.answer(asked.of_teacher, world)
        values |= {f"{TEACHER}_{name}": ops.stop_gradient(value) for name, value in found.items()}
    for rule, stars in _runs(asked.runs, values, batch):
        values |= _run_rule(rule, stars, values, world, training)
    return {name: values[name] for name in names if name in values}


# -- towers --
def _groups(slots, batch, student):
    """Slots that go through a tower together: of one modality and one shape, so that batch norms see them all.

    Raises:
        ValueError: one of them has an array that another lacks.
    """
    groups = {}
    for slot in slots:
        extras = tuple(name for name in (HIDDEN, KEPT) if student and f"{slot.name}_{name}" in batch)
        key = (slot.modality, slot.any_size, tuple(batch[slot.first].shape[1:]), extras)
        groups.setdefault(key, []).append(slot)
    for group in groups.values():
        for name in {name for slot in group for name in slot.given(batch)}:
            entries = [slot.arrays[name] for slot in group]
            there = [entry for entry in entries if entry in batch]
            if len(there) < len(entries):
                lacking = next(entry for entry in entries if entry not in batch)
                raise ValueError(f"the batch has {there[0]!r}, but no {lacking!r}.")
    return groups.values()


def _run_tower(group, world, kinds, training):
    """Results of the slots of a group, by name."""
    tower, batch = world.tower(group[0]), world.batch
    bag = bag_of(group[0], tower, batch)
    wanted = set().union(*(kinds[slot.name] for slot in group))

    def joined(arrays):
        rows = [each if bag is None else ops.reshape(each, (-1, *each.shape[2:])) for each in arrays]
        return rows[0] if len(rows) == 1 else ops.concatenate(rows, axis=0)

    given = [slot.given(batch) for slot in group]
    arrays = [joined([each[name.name] for each in given]) if name.name in given[0] else None for name in tower.inputs]
    options = {}
    if group[0].any_size and "any_size" in tower.options:
        options["any_size"] = True
    if world.student:
        for name, option in ((HIDDEN, "mask"), (KEPT, "keep")):
            entries = [f"{slot.name}_{name}" for slot in group]
            if entries[0] in batch:
                _check_option(tower, option, entries[0])
                options[option] = joined([batch[entry] for entry in entries])
    if "tokens" in tower.options and not wanted & OF_TOKENS:
        options["tokens"] = False
    if wanted & {"layers", "layer_tokens"}:
        options["layers"] = tuple(range(1, tower.num_blocks + 1))
    options["training"] = training and tower.trainable
    found = (tower if world.call_tower is None else partial(world.call_tower, tower))(*arrays, **options)

    results = {}
    for slot, part in zip(group, _parted(found, len(group), bag)):
        results |= _named(slot, part, kinds[slot.name], tower, batch)
    return results


def _check_option(tower, option, entry):
    if option not in tower.options:
        raise ValueError(
            f"the batch has {entry!r}, but {type(tower).__name__} cannot be run with {option!r}; leave it out, or "
            "build the tower so that it can (mask_token=True)."
        )


def _parted(found, count, bag):
    """What a tower gave, as one dict for each slot of a group, with the axis of a bag where there is one."""
    parts = [{} for _ in range(count)]
    for name, value in found.items():
        shape = tuple(value.shape[1:])
        each = ops.reshape(value, (count, -1, *shape)) if count > 1 else value[None]
        for number in range(count):
            parts[number][name] = each[number] if bag is None else ops.reshape(each[number], (-1, bag, *shape))
    return parts


def _named(slot, found, kinds, tower, batch):
    """The results of one slot that are asked for, by name."""
    makers = {
        "embeddings": lambda: l2_normalize(found["embedding"]),
        "features": lambda: ops.cast(found["embedding"], "float32"),
        "tokens": lambda: found["tokens"],
        "token_mask": lambda: _token_mask(slot, found, batch),
        "layers": lambda: found["layers"],
        "layer_tokens": lambda: found["layer_tokens"],
        "map": lambda: _map(found["tokens"], tower),
    }
    return {f"{slot.name}_{kind}": makers[kind]() for kind in kinds if kind in makers}


def _token_mask(slot, found, batch):
    """Which tokens are real: as the tower says, else as the batch says of its ids, else all."""
    if "token_mask" in found:
        return ops.cast(found["token_mask"], "bool")
    entry = slot.first.removesuffix("token_ids") + "padding_mask"
    entry = entry if slot.first.endswith("token_ids") else f"{slot.first}_padding_mask"
    if entry in batch:
        return ops.cast(batch[entry], "bool")
    return ops.ones_like(found["tokens"][..., 0], dtype="bool")


def _map(tokens, tower):
    """Tokens as a feature map, `(..., rows, columns, token_dim)`."""
    tokens = tokens[..., tower.prefix_tokens :, :]
    lead = (-1, *tokens.shape[1:-2])
    return ops.reshape(tokens, (*lead, *tower.grid, tokens.shape[-1]))


# -- heads and rules --
def _runs(runs, values, batch):
    """Rules with the slots that go through them together: those whose tensors have one shape."""
    left, given = list(runs), set(values) | set(batch)
    while left:
        rule = left[0][0]
        ready = [star for each, star in left if each is rule and given.issuperset(rule.names(rule.reads, star))]
        if not ready:  # what it reads is given by one that comes later
            left.append(left.pop(0))
            continue
        yield rule, ready
        left = [(each, star) for each, star in left if not (each is rule and star in ready)]
        given.update(*(rule.names(rule.gives, star) for star in ready))


def _run_rule(rule, stars, values, world, training):
    results, groups = {}, {}

    def read(name):
        return values[name] if name in values else ops.convert_to_tensor(world.batch[name])

    for star in stars:
        tensors = [read(name) for name in rule.names(rule.reads, star)]
        groups.setdefault(tuple(tuple(each.shape[1:]) for each in tensors), []).append((star, tensors))
    layer = None if rule.part is None else world.parts[rule.part]
    for group in groups.values():
        together = [tensors for _, tensors in group]
        joined = together[0] if len(group) == 1 else [ops.concatenate(each, axis=0) for each in zip(*together)]
        active = training and (layer is None or layer.trainable)
        found = rule.run(*joined, training=active) if layer is None else rule.run(layer, *joined, training=active)
        for value_of, pattern in zip(found, rule.gives):
            each = [value_of]
            if len(group) > 1:
                each = ops.reshape(value_of, (len(group), -1, *value_of.shape[1:]))
            for number, (star, _) in enumerate(group):
                results[pattern.replace("*", star)] = each[number]
    return results
