"""A safetensors file, written one tensor at a time: a model that is saved is in memory once."""

import json
from functools import partial

from kzoo.files import disk
from kzoo.files.fingerprint import TensorFingerprint, bytes_of

DTYPES = {  # NumPy's name of a dtype -> the format's
    **{f"float{bits}": f"F{bits}" for bits in (64, 32, 16)},
    **{f"int{bits}": f"I{bits}" for bits in (64, 32, 16, 8)},
    **{f"uint{bits}": f"U{bits}" for bits in (64, 32, 16, 8)},
    **{"bool": "BOOL", "bfloat16": "BF16"},
}
ALIGNMENT = 8  # bytes, of where the tensors begin


def write_tensors(path, give, metadata=None, check=None) -> str:
    """Write a safetensors file.

    Args:
        path: of a file that is not there.
        give: function that calls the one it is given with the name and the array of each tensor. It is called several
            times and always gives the same: first for the header, then for the tensors of each size of item, the
            largest first, so that each of them is aligned.
        metadata: dict of strings.
        check: function of the name and the array of each tensor, which stops at one that is not to be written.

    Returns:
        str, the fingerprint of its tensors.

    Raises:
        TypeError: a dtype that the format does not have.
    """
    entries = []  # (bytes of an item, name, entry of the header, bytes)

    def note(name, array):
        if array.dtype.name not in DTYPES:
            raise TypeError(f"{name} is of {array.dtype.name}, which safetensors files do not have.")
        if check is not None:
            check(name, array)
        entry = {"dtype": DTYPES[array.dtype.name], "shape": list(array.shape)}
        entries.append((array.dtype.itemsize, name, entry, array.nbytes))

    give(note)
    header, begin = {"__metadata__": metadata} if metadata else {}, 0
    for _, name, entry, size in sorted(entries, key=lambda each: -each[0]):  # stable: otherwise in the order given
        header[name] = entry | {"data_offsets": [begin, begin + size]}
        begin += size
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % ALIGNMENT)
    found = TensorFingerprint(head)

    def content(put):
        put(len(head).to_bytes(8, "little") + head)
        for item in sorted({each[0] for each in entries}, reverse=True):
            give(partial(put_tensor, put, item))

    def put_tensor(put, item, name, array):
        if array.dtype.itemsize == item:
            found.add(name, array)
            put(bytes_of(array))

    disk.write(path, content)
    return found.text()
