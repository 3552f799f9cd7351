"""One `fit` that is kept in checkpoints, from the one that it begins with to the one that it ends with."""

import json
import logging
import signal
import time
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import keras
import numpy as np

from kzoo.files.words import said_by
from kzoo.interrupts import Leaving, leaving_noted
from kzoo.keras_contact import replaced, sync_state
from kzoo.scale.engine import agreed
from kzoo.training import run_data, run_state
from kzoo.training.background import Background
from kzoo.training.callback_states import CallbackStates
from kzoo.training.csv_rows import rows_kept
from kzoo.training.randomness import of_every_process, random_state, set_random_state

logger = logging.getLogger("kzoo")

SOON = 0.1  # of the time between two checkpoints: an epoch that ends then is kept
PAUSE, MOST = 1.0, 1000  # seconds, and steps at most, after which several processes ask the first again
RANDOM, OF_EPOCH, OF_CALLBACKS = "random", "random_of_epoch", "callbacks"  # beginnings of the names of arrays


class ResumedRun:
    """What `Resume` does within one `fit`.

    Args:
        resume: the callback: its `checkpoints`, and how often one is written.
        model: compiled.
        fit: `keras.Model.fit` of it.
        order: its `EpochOrder`.
        process, processes: number of this process, of which the first writes, and how many there are.
    """

    def __init__(self, resume, model, fit, order, process, processes):
        self.resume, self.model, self.keras_fit, self.order = resume, model, fit, order
        self.process, self.writes, self.alone = process, process == 0, processes == 1
        self.checkpoints = resume.checkpoints
        self.background, self.leaving = Background(), Leaving()
        self.saved: dict[str, Any] | None = None  # the state that this began with, until it is put back for good
        self.arrays: dict[str, Any] = {}
        self.epoch = self.batch = self.step = self.epochs = self.order_seed = 0
        self.wanted, self.told = False, set()
        self.last_step, self.last_time, self.last_place = 0, time.monotonic(), None
        self.asks_at, self.asked = 0, (0, self.last_time)  # of several processes: the next time, and the last

    # -- from beginning to end --
    def train(self, x, batch_size, options) -> keras.callbacks.History:
        """`fit` with these data and options; see `Resume.fit`."""
        options = dict(options)
        with ExitStack() as stack:
            if self.writes:
                stack.enter_context(self.checkpoints.open())
            if isinstance(x, dict):
                if options["validation_data"] is None:
                    x, options["validation_data"] = run_data.split(x, options["validation_split"])
                options["validation_batch_size"] = options.get("validation_batch_size") or batch_size
            options["validation_split"] = 0.0
            x, ordered = run_data.in_known_order(x, batch_size, options.pop("shuffle"), options.pop("steps_per_epoch"))
            self.order.data, self.epochs = ordered, options["epochs"]
            self.description = run_state.description(self.model, run_data.description_of(x, ordered))
            self.variables, self.noted_at_begin = run_state.variables_of(self.model), run_state.noted(self.model)
            found = self._found()
            if found is not None:
                self._open(*found)
                if self._is_complete():
                    return self._done_before(options["callbacks"])
            else:
                self.epoch, self.order_seed = options["initial_epoch"], int(agreed(int(np.random.randint(2**31))))
            run_data.sow(x, self.order_seed)
            self.resume.began_at, self.resume.goes_on = (self.epoch, self.batch), self.saved is not None
            self._say(options["verbose"])
            self.leaving = stack.enter_context(leaving_noted())
            stack.enter_context(self.background)
            return self._fit(x, ordered, options)

    def _found(self):
        """The checkpoint to begin with, the same on all processes."""
        found = self._newest() if self.writes else None
        number = int(agreed(0 if found is None else found[0]["number"]))
        if number and found is None:
            try:
                return self.checkpoints.read(number)
            except (OSError, ValueError) as error:
                raise ValueError(
                    f"process {self.process} cannot read the checkpoint that the first begins with ({said_by(error)}); "
                    "give Resume a folder that all processes share."
                ) from error
        return found

    def _newest(self):
        """Of a training that was complete and is to have more epochs, the checkpoint before its end: as it ended,
        averaged or best weights may have taken the place of the last."""
        found = self.checkpoints.newest()
        if found is None:
            return None
        self._check(found[0])
        if found[0]["finished"] and found[0]["epoch"] < self.epochs and not found[0]["stopped"]:
            return self.checkpoints.newest(lambda state: not state["finished"]) or found
        return found

    def _check(self, state):
        found = run_state.difference(state["description"], self.description)
        if found is not None:
            raise ValueError(
                f"the training in {self.checkpoints.folder} is another one: {found}; make it as it was, or give Resume "
                "another folder."
            )

    def _open(self, state, arrays):
        """Fill the model with a checkpoint."""
        run_state.check_fits(arrays, self.variables, self.checkpoints.folder)
        self.saved, self.arrays = state, arrays
        self.epoch, self.batch, self.step = state["epoch"], state["batch"], state["step"]
        self.order_seed = state["order_seed"]
        self.last_step, self.last_place = self.step, (self.epoch, self.batch)
        self.asked = self.step, time.monotonic()
        run_state.put_back(arrays, self.variables)
        self.noted_at_begin = state["noted_at_begin"]
        # what callbacks find as they begin; what was noted meanwhile comes behind it
        run_state.note(self.model, state["noted_at_begin"])

    def _is_complete(self):
        return self.saved["finished"] and (self.saved["stopped"] or self.epoch >= self.epochs)

    def _done_before(self, callbacks):
        """Nothing is left to do: the model is as it was when the training ended, and so are the callbacks."""
        self._set_random(RANDOM)
        run_state.note(self.model, self.saved["noted"])
        history = keras.callbacks.History()
        history.set_model(self.model)
        history.on_train_begin()
        states = CallbackStates([*callbacks, history])
        states.put_back(self.saved["callbacks"], self.saved["lost"], self._of_callbacks())
        self.model.history = history
        logger.warning(
            "the training in %s is complete (%d epochs): nothing was trained, and the model has the weights that it "
            "ended with; raise epochs to go on, or give Resume another folder.",
            self.checkpoints.folder,
            self.epoch,
        )
        return history

    def _say(self, verbose):
        if self.saved is None:
            return
        line = (
            f"going on with the training in {self.checkpoints.folder} at epoch {self.epoch + 1}, step {self.batch + 1}"
        )
        if verbose:
            print(line)
        logger.info(line)

    def _fit(self, x, ordered, options):
        if self.saved is not None:
            run_data.repeat_epochs(x, ordered, self.epoch - options["initial_epoch"])
            if self.saved["stopped"]:
                options["epochs"] = self.epoch
        options["initial_epoch"] = self.epoch
        for each in options["callbacks"]:
            if isinstance(each, keras.callbacks.CSVLogger) and self.saved is not None:
                rows_kept(each, self.epoch)
        more = {"epochs": self.epochs, "verbose": options["verbose"], "steps": run_data.count_of(x)}
        callbacks = ResumedCallbacks(options.pop("callbacks"), self, self.model, more)
        options["callbacks"] = callbacks
        if self.batch:
            rest = run_data.rest_of(x, self.batch, self._begins_epoch)
            callbacks.first, callbacks.is_last = self.batch, self.epoch + 1 >= options["epochs"]
            with self._not_final(callbacks):
                self.keras_fit(rest, **options | {"epochs": self.epoch + 1, "shuffle": False})
            if callbacks.is_last or self.model.stop_training:
                return self.model.history
            callbacks.is_last = True
            options["initial_epoch"] = self.epoch
        return self.keras_fit(x, **options | {"shuffle": False})

    def _not_final(self, callbacks) -> AbstractContextManager:
        """As a `fit` ends, some optimizers put averages in the place of the weights: not after the rest of an epoch
        that others follow."""
        optimizer, finalize = self.model.optimizer, self.model.optimizer.finalize_variable_values

        def finalize_last(variables):
            if callbacks.is_last or self.model.stop_training:
                finalize(variables)

        return replaced("finalize_variable_values", [(optimizer, finalize_last)])

    # -- what the callbacks tell --
    def begun(self, states) -> None:
        """All callbacks have begun."""
        self.states = states
        states.begun()
        if self.saved is not None:
            run_state.note(self.model, self.saved["noted"])
        else:
            self.save()
            self.background.wait()  # that the disk has room for one is known before the first step

    def epoch_begins(self, epoch) -> None:
        self.epoch = epoch
        if self.saved is not None:
            self._put_back_callbacks()
            if not self.batch:
                self._set_random(RANDOM)
                self._is_put_back()

    def epoch_begun(self) -> None:
        self.random_of_epoch = random_state() if self.saved is None else self._random(OF_EPOCH)

    def step_begins(self, batch) -> None:
        """The step before this batch is done, if there is one in this epoch."""
        if self.saved is not None:  # whatever the beginning of the epoch has changed: it had begun before, too
            run_state.put_back(self.arrays, self.variables)
            self._put_back_callbacks()
            self._set_random(RANDOM)
            self._is_put_back()
        self.step += batch - self.batch
        self.batch = batch
        self._save_if_due(SOON if self.wanted else 1.0)

    def epoch_done(self, epoch, steps) -> None:
        """An epoch has ended, with its validation; `steps` in it, counted from its beginning."""
        self.step += steps - self.batch
        self.epoch, self.batch = epoch + 1, 0
        self._save_if_due(SOON, at_end=True)

    def done(self) -> None:
        """The training has ended, and the callbacks with it."""
        self.save(finished=True)
        self.background.wait()
        if self.leaving.number is not None:
            self.leaving.leave()

    # -- saving --
    def _save_if_due(self, share, at_end=False):
        leaves, resume = self.leaving.number is not None, self.resume
        due = self.wanted or leaves or self._is_planned() or (at_end and (resume.every == "epoch" or self._ends()))
        if resume.seconds is not None:
            due = due or time.monotonic() - self.last_time >= share * resume.seconds
        if not self.alone:
            due, leaves = self._together(due, leaves, at_end)
        if due and (self.epoch, self.batch) != self.last_place:
            self.save()
        if leaves:
            self.background.wait()
            said = logger.info if self.leaving.is_handled() else logger.warning
            said(
                "asked to leave: the training is kept in %s, and goes on from there when it is started again.",
                self.checkpoints.folder,
            )
            self.leaving.leave(self.leaving.number or signal.SIGTERM)

    def _is_planned(self):
        return self.resume.steps is not None and self.step - self.last_step >= self.resume.steps

    def _together(self, due, leaves, at_end):
        """Of several processes the first decides, which has the clock. All wait for each other to hear it, so this is
        not at each step: at the end of an epoch, and after as many steps as the first makes in a while."""
        if self.step < self.asks_at and not at_end:
            return self._is_planned(), False
        step, began = self.asked
        self.asked = self.step, time.monotonic()
        steps = PAUSE * (self.step - step) / max(self.asked[1] - began, 1e-9)
        decided = int(agreed(int(due) + 2 * int(leaves) + 4 * int(min(max(steps, 1), MOST))))
        self.asks_at = self.step + decided // 4
        return bool(decided % 2), bool(decided // 2 % 2)

    def _ends(self):
        return self.epoch >= self.epochs or self.model.stop_training

    def save(self, finished=False) -> None:
        """Copy what there is, and let it be written."""
        sync_state(self.model)
        if not run_state.is_well(self.model):
            return  # from weights that are not finite nobody goes on, and `StopOnNonFinite` is about to say so
        self.background.wait()
        self.wanted = False
        self.last_step, self.last_time, self.last_place = self.step, time.monotonic(), (self.epoch, self.batch)
        state, arrays = self._taken(finished)
        if self.writes:
            self.background.do(self.checkpoints.write, state, arrays)

    def _taken(self, finished):
        callbacks, of_callbacks, lost = self.states.noted()
        self._tell(self.states.strange(lost))
        state = {
            **{"epoch": self.epoch, "batch": self.batch, "step": self.step, "epochs": self.epochs},
            **{"order_seed": self.order_seed, "description": self.description},
            **{"noted": run_state.noted(self.model), "noted_at_begin": self.noted_at_begin},
            **{"finished": finished, "stopped": bool(self.model.stop_training), "callbacks": callbacks, "lost": lost},
        }
        # of jax the processes put the parts of weights together, of TensorFlow the metrics that each counts for itself
        together = self.writes or keras.config.backend() != "torch"
        arrays = run_state.on_host(self.variables) if together else {}
        arrays |= {f"{OF_CALLBACKS}/{name}": each for name, each in of_callbacks.items()}
        for name, values in ((RANDOM, random_state()), (OF_EPOCH, self.random_of_epoch if self.batch else {})):
            values = of_every_process(values)
            own = {key: each for key, each in values.items() if isinstance(each, np.ndarray)}
            state[name] = {key: each for key, each in values.items() if key not in own}
            arrays |= {f"{name}/{key}": each for key, each in own.items()}
        return json.loads(json.dumps(state)), arrays

    def _tell(self, strange):
        for name, attributes in strange.items():
            if name not in self.told:
                self.told.add(name)
                logger.warning(
                    "what the callback %s has noted as %s can be kept in no file; it begins anew with that when the "
                    "training goes on.",
                    name.partition("#")[0].rpartition(".")[2],
                    ", ".join(attributes),
                )

    # -- reading --
    def _random(self, kind):
        own = {name.removeprefix(f"{kind}/"): each for name, each in self.arrays.items() if name.startswith(f"{kind}/")}
        return self.saved[kind] | own

    def _set_random(self, kind):
        set_random_state(self._random(kind), self.process)

    def _begins_epoch(self):
        if self.saved is None:
            return False
        self._set_random(OF_EPOCH)
        return True

    def _of_callbacks(self):
        start = f"{OF_CALLBACKS}/"
        return {name.removeprefix(start): each for name, each in self.arrays.items() if name.startswith(start)}

    def _is_put_back(self):
        self.saved, self.arrays = None, {}  # which are as large as the model and its optimizer

    def _put_back_callbacks(self):
        self.states.put_back(self.saved["callbacks"], self.saved["lost"], self._of_callbacks())


class ResumedCallbacks(keras.callbacks.CallbackList):
    """Keras' list of callbacks, which tells a run what happens: what it puts back is there before any of them is
    called, and what it keeps is what all of them have left. The rest of an epoch is to them a part of that epoch."""

    def __init__(self, callbacks, run, model, params):
        self.run, self.first, self.steps, self.begun, self.is_last = run, 0, 0, False, True
        super().__init__(callbacks, add_history=True, add_progbar=params["verbose"] != 0, model=model, **params)

    def on_train_begin(self, logs=None) -> None:
        if not self.begun:
            self.begun = True
            super().on_train_begin(logs)
            self.run.begun(CallbackStates(self.callbacks))

    def on_epoch_begin(self, epoch, logs=None) -> None:
        self.steps = self.first
        self.run.epoch_begins(epoch)
        super().on_epoch_begin(epoch, logs)
        self.run.epoch_begun()

    def on_train_batch_begin(self, batch, logs=None) -> None:
        self.run.step_begins(batch + self.first)
        super().on_train_batch_begin(batch + self.first, logs)

    def on_train_batch_end(self, batch, logs=None) -> None:
        self.steps = batch + self.first + 1
        super().on_train_batch_end(batch + self.first, logs)

    def on_epoch_end(self, epoch, logs=None) -> None:
        super().on_epoch_end(epoch, logs)
        self.first = 0
        self.run.epoch_done(epoch, self.steps)

    def on_train_end(self, logs=None) -> None:
        if self.is_last or self.model.stop_training:
            super().on_train_end(logs)
            self.run.done()
