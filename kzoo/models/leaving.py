"""How a model leaves: as a preset, to the hub, as graphs; done by rooms above it, which say so in `kzoo.actions`.

What leaves can be opened again, also where layers were quantised or given LoRA; what could not be is refused first.
Of several processes all ask, and the first one writes.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, Self

import keras

from kzoo import actions
from kzoo.arguments import FLAG, NAME, PATH, TEXT, takes
from kzoo.files import disk
from kzoo.files.single import replacing_by_name
from kzoo.files.words import said_by
from kzoo.keras_contact import left_over, memory_unsearched, write_by
from kzoo.layers.adapted import names_in
from kzoo.layers.changed import CHANGES, change_again, changes_of, revive_lora
from kzoo.scale.engine import once
from kzoo.scale.peak import bytes_of
from kzoo.weights.filled import check_kinds, check_weights
from kzoo.weights.hdf5 import Hdf5

AROUND = 4096  # bytes that HDF5 writes around the numbers of a weight, and more
NO_H5 = (
    "could not be opened again: .h5 files hold no model of classes of its own. Save it as 'model.keras' or with "
    "save_to_preset('folder'), or the weights alone with save_weights('model.weights.h5')."
)


class Leaving:
    """`save`, `save_to_preset`, `push_to_hub` and `export` of every model."""

    def quantize(self, mode=None, config=None, **kwargs) -> None:
        """Quantise the `Dense` layers, and others of Keras that can be: they stay quantised in files.

        Args:
            mode: `"int8"`, or another of Keras'; of a file `"int8"`, `"int4"` and `"float8"` can be opened again.
            config, **kwargs: as in `keras.Model.quantize`.

        Adapters, which stay in floats, are added to a model that is quantised. An export, a copy and the layouts of
        other libraries hold the weights in float32, rounded as they are.
        """
        if names_in(self):
            raise ValueError(
                f"the model has the adapters {', '.join(names_in(self))}, whose layers would not be quantised; "
                "quantise the model first, then add them."
            )
        with memory_unsearched(), warnings.catch_warnings():  # Keras warns of every layer that multiplies nothing
            warnings.filterwarnings("ignore", message="Layer .* does not have a `quantize` method")
            super().quantize(mode, config=config, **kwargs)

    @takes(overwrite=FLAG)
    def save(self, filepath, overwrite=True, zipped=None, **kwargs) -> None:
        """Write the model with its optimizer and loss into a file `.keras`, which `kzoo.load_model` opens.

        LoRA of Keras is merged into the weights; adapters of `kzoo.adaptation` stay beside them. The file has its place
        when all of it is written: wherever the process or the disk stops, the old one or the new one is there.

        Args:
            filepath, overwrite, zipped, **kwargs: as in `keras.Model.save`.

        Raises:
            ValueError: a file of another ending, or layers that no file could be opened with; nothing is written.
            OSError: the disk takes no more, or allows it not.
        """
        if str(filepath).endswith((".h5", ".hdf5")):
            self.refuse_h5(filepath)
        self.changes()
        save = super().save
        once(lambda: save(filepath, overwrite, zipped, **kwargs), computes=_reads_metrics(self))

    @takes(overwrite=FLAG)
    def save_weights(self, filepath, overwrite=True, **kwargs) -> None:
        """As `keras.Model.save_weights`; a single file has its place when all of it is written."""
        save_weights = super().save_weights
        once(lambda: save_weights(filepath, overwrite, **kwargs))

    @contextmanager
    def written(self, filepath) -> Iterator:
        """Around the writing of a file by Keras: a local one has its place when all of it is written.

        Yields:
            the path that is to be written.
        """
        local = isinstance(filepath, (str, Path)) and "://" not in str(filepath)
        if not (local and str(filepath).endswith((".keras", ".weights.h5"))):
            yield filepath
            return
        check_weights(self, f"the model that is to be written to {filepath}")  # it could not be opened again
        with replacing_by_name(filepath) as name:
            disk.check_room(name, self._size_of_file())
            yield name

    def _size_of_file(self):
        """Bytes of a file of Keras, what it writes beside the numbers included."""
        variables = [*self.variables, *(self.optimizer.variables if self.compiled else ())]
        return sum(AROUND + bytes_of(each) for each in variables) + AROUND

    def refuse_h5(self, filepath) -> NoReturn:
        """Stops before a model is written to a file `.h5`, as a whole or as part of another."""
        raise ValueError(f"{filepath} {NO_H5}")

    @takes(filepath=PATH, skip_mismatch=FLAG)
    def load_weights(self, filepath, skip_mismatch=False, **kwargs) -> None:
        """As in `keras.Model.load_weights`; LoRA, which files hold merged, begins anew on top of them.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: a file that is no HDF5, of another model, with NaN or infinities, or of towers that have more
                than these, of which Keras would take a part in silence.
        """
        path = Path(filepath)
        local = "://" not in str(filepath)
        if local and not path.exists():
            raise FileNotFoundError(f"there is no file {filepath}; give one that model.save_weights has written.")
        if not (local and path.name.endswith(".weights.h5")):
            super().load_weights(filepath, skip_mismatch=skip_mismatch, **kwargs)
            revive_lora(self)
            return
        held = Hdf5(path)
        if not skip_mismatch:
            left = [name for name in left_over(self, held.shapes) if name.partition("/")[0] in self.towers()]
            if left:
                raise ValueError(
                    f"{filepath} has {len(left)} tensors for which this model has no place, such as {left[0]}; load it "
                    "into a model of the same config, or say skip_mismatch=True."
                )
        check_kinds(held, self.variables)
        try:
            super().load_weights(filepath, skip_mismatch=skip_mismatch, **kwargs)
        except Exception as error:  # Keras and h5py raise whatever a file makes them stumble over
            raise ValueError(f"{filepath} does not fit this model: {said_by(error)}.") from error
        check_weights(self, path)
        revive_lora(self)

    def changes(self) -> dict:
        """What `kzoo.layers.changed.changes_of` finds in this model; stops where no file could be opened again."""
        return changes_of(self, [self.objective] if self.compiled else [])

    def get_config(self) -> dict:
        return super().get_config() | self.changes()

    @classmethod
    def from_config(cls, config) -> Self:
        model = super().from_config({name: value for name, value in config.items() if name not in CHANGES})
        change_again(model, config)
        return model

    @takes(folder=PATH, format=NAME, optimizer=FLAG, overwrite=FLAG)
    def save_to_preset(self, folder, format="kzoo", optimizer=False, overwrite=False) -> None:
        """Write the model into a folder that `kzoo.from_preset(folder)` opens, on any backend.

        Args:
            folder: path; made if it is not there.
            format: `"kzoo"` (`config.json`, `model.safetensors`, `tokenizer.json`), or the layout of another
                library, `"transformers"` or `"open_clip"`, which then opens it too.
            optimizer: False keeps the weights alone. True keeps the state of the training beside them, three times the
                size: `from_preset` then gives a compiled model, whose `fit` goes on where this one stopped.
            overwrite: whether a model in another layout, or files of none that bear the same names, may be replaced.
                One in this layout always is.

        Adapters of `kzoo.adaptation` are merged in what is written, also in int8, which becomes plain then; with
        `optimizer=True` they stay beside the weights, and the training goes on. The model itself stays as it is.

        At every moment the folder holds the old model or the new one, whole, wherever the process or the disk stops;
        files that belong to no model stay as they are. The loss that the model was compiled with is kept: `compile()`
        of what opens takes it where it is given none. A model card, `README.md`, is written beside it; a
        `README.md` that kzoo did not write stays as it is.

        Raises:
            ValueError: no preprocessor, a format that cannot describe this model, or an optimizer of a model that is
                not compiled; nothing is written.
            FileExistsError: the folder holds a model in another layout; nothing is changed.
            OSError: the disk is full or may not be written, or another process saves there; nothing is changed.
        """
        options = {"format": format, "optimizer": optimizer, "overwrite": overwrite}
        computes = bool(optimizer) and _reads_metrics(self)
        once(lambda: actions.perform("save_to_preset", self, folder, **options), computes=computes)

    @takes(repo=NAME, format=NAME, private=FLAG, revision=NAME, message=TEXT)
    def push_to_hub(self, repo, format="kzoo", private=False, revision=None, message=None) -> str:
        """Put the model on the Hugging Face Hub, where `kzoo.from_preset("hf://owner/name")` opens it.

        The files and the card of `save_to_preset` are written into a temporary folder and uploaded by the hub's own
        client: token, endpoint and progress bar are its own (`hf auth login` or `HF_TOKEN`, `HF_ENDPOINT`). Other files
        of the repository stay, and so does a `README.md` that kzoo did not write.

        Args:
            repo: `"owner/name"`; made if it is not there.
            format: as in `save_to_preset`.
            private: of a repository that is made now; one that is there stays what it is.
            revision: branch to commit to, made if it is not there; default the main one.
            message: of the commit.

        Returns:
            str: URL of the commit.

        Raises:
            ValueError: not a name of the hub, or as in `save_to_preset`; nothing is uploaded.
            PermissionError: no token, or one that may not write there.
            ConnectionError: the client is offline, the hub cannot be reached or refuses the files.

        Example:
            >>> model.push_to_hub("me/my-clip", private=True)
            'https://huggingface.co/me/my-clip/commit/...'
        """
        options = {"format": format, "private": private, "revision": revision, "message": message}
        return once(lambda: actions.perform("push_to_hub", self, repo, **options))

    @takes(folder=PATH, format=NAME)
    def export(self, folder, format="onnx", **kwargs) -> dict:
        """Write verified graphs that run without Keras; see `kzoo.export.export`.

        Args:
            folder: path of the folder to write.
            format: `"onnx"`, `"openvino"`, `"litert"`, `"torch_export"` or `"tf_saved_model"`.
            **kwargs: `tolerance`, `overwrite`; of ONNX `opset`, of ONNX and OpenVINO `dtype="float16"`;
                of ONNX `quantize="int8"` with `samples`.

        Returns:
            dict: the manifest, with the worst difference between graph and model.
        """
        return once(lambda: actions.perform("export", self, folder, format=format, **kwargs), computes=True)


def _reads_metrics(model):
    """Whether its files get the metrics of a training, of which each worker of TensorFlow has counted a part."""
    return keras.config.backend() == "tensorflow" and model.compiled


write_by(Leaving)
