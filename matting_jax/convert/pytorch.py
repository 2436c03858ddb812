"""Reads PyTorch's files without PyTorch: tensors in dicts, and nothing that could run code.

A file is a zip archive of a pickle and of the bytes of each storage. Before PyTorch 1.6 it is a
series of pickles, followed by the storages. The pickle may only contain functions that rebuild
tensors, which are replaced by records here, and globals known to be harmless, which are ignored.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from matting_jax.convert.pickles import (
    NotAnArray,
    PlainDict,
    RestrictedUnpickler,
    UnusableTensor,
)

MOST_VALUES = 2**30  # of a tensor; a view of few values may claim any number
MAGIC_NUMBER, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of files before PyTorch 1.6
# Types of numbers by their names in `torch`.
TYPES = {
    **{f"float{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
    **{f"int{8 * size}": np.dtype(f"<i{size}") for size in (1, 2, 4, 8)},
    **{f"uint{8 * size}": np.dtype(f"<u{size}") for size in (1, 2, 4, 8)},
    "bool": np.dtype(bool),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float8_e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "float8_e4m3fnuz": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "float8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
    "float8_e5m2fnuz": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "float8_e8m0fnu": np.dtype(ml_dtypes.float8_e8m0fnu),
    "complex64": np.dtype("<c8"),
    "complex128": np.dtype("<c16"),
}
STORAGES = {
    "Float": "float32",
    "Double": "float64",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
    # Quantised tensors are reported when they are rebuilt.
    "QInt8": "int8",
    "QUInt8": "uint8",
    "QInt32": "int32",
    "QUInt4x2": "uint8",
    "QUInt2x4": "uint8",
}


@dataclass
class Storage:
    """The numbers of one or more tensors; `read` returns them, for which the file must be open."""

    dtype: np.dtype
    key: str
    size: int
    start: int = 0  # of a part of another storage
    read: Callable[[Storage], np.ndarray] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Tensor:
    """A tensor of a file, or with `fault` one that has no array."""

    storage: Storage | None = None
    offset: int = 0
    shape: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    dtype: np.dtype | None = None
    negative: bool = False
    fault: str = ""


class Omitted:
    """Stands for an object that no weights are part of; it ignores all that a pickle does to it."""

    def __init__(self, *arguments: Any) -> None:
        """Ignores the arguments."""

    def __setstate__(self, state: Any) -> None:
        """Ignores the state."""


def rebuild_tensor(
    storage: Storage, offset: int, shape: Any, strides: Any, *others: Any, dtype: Any = None
) -> Tensor:
    """Stands for PyTorch's function of this name; the last of `others` may hold flags."""
    flags = others[-1] if others and type(others[-1]) is dict else {}
    dtype = storage.dtype if dtype is None else dtype
    return Tensor(
        storage, offset, tuple(shape), tuple(strides), dtype, flags.get("neg", False) is True
    )


def rebuild_tensor_with_type(*arguments: Any) -> Tensor:
    """Stands for `_rebuild_tensor_v3`, whose seventh argument is the type of the numbers."""
    first, dtype, others = arguments[:6], arguments[6], arguments[7:]
    if not isinstance(dtype, np.dtype):
        return Tensor(fault="has numbers of a type that is not supported: save it by .float()")
    return rebuild_tensor(*first, *others, dtype=dtype)


def rebuild_as(function: Any, kind: Any, arguments: Any, state: Any) -> Any:
    """Stands for `_rebuild_from_type_v2`: a tensor with attributes, which are omitted."""
    if function not in REBUILD.values():
        raise NotAnArray("torch._tensor._rebuild_from_type_v2 of no tensor")
    return function(*arguments)


def unusable(fault: str, *arguments: Any) -> Tensor:
    """Stands for the functions that rebuild tensors without an array."""
    return Tensor(fault=fault)


def rebuild_sparse(layout: Any, data: Any) -> Tensor:
    """Stands for PyTorch's function of this name."""
    return Tensor(fault=f"is a sparse tensor ({layout!s:.40}): save it by .to_dense()")


def first_of(data: Any, *others: Any) -> Any:
    """Stands for the functions that make parameters of tensors."""
    return data


META = "is on the device meta, without values: save the loaded weights"
QUANTISED = "is quantised: save it by .dequantize()"
REBUILD = {
    "torch._utils._rebuild_tensor": rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": rebuild_tensor_with_type,
    "torch._utils._rebuild_parameter": first_of,
    "torch._utils._rebuild_parameter_with_state": first_of,
    "torch._utils._rebuild_sparse_tensor": rebuild_sparse,
    "torch._utils._rebuild_sparse_csr_tensor": rebuild_sparse,
    "torch._utils._rebuild_meta_tensor_no_storage": partial(unusable, META),
    "torch._utils._rebuild_qtensor": partial(unusable, QUANTISED),
    "torch._utils._rebuild_nested_tensor": partial(
        unusable, "is a nested tensor, of several shapes"
    ),
}
SCHEMES = ("tensor_affine", "tensor_symmetric", "channel_affine", "channel_symmetric")
OMITTED = (
    "torch.device",
    "torch.Tensor",
    "torch.nn.parameter.Parameter",
    *(f"torch.per_{scheme}" for scheme in SCHEMES),
    "torch.per_channel_affine_float_qparams",
    *(f"torch.{sign}int{bits}" for sign in ("", "u") for bits in range(1, 8)),
    "torch.float4_e2m1fn_x2",
    "collections.Counter",
    "builtins.set",
    "builtins.bytearray",
    "builtins.complex",
    "_codecs.encode",
    # Scores as NumPy scalars, options and paths, as training code saves them.
    "numpy.core.multiarray.scalar",
    "numpy.dtype",
    *(f"numpy.dtypes.{kind}DType" for kind in ("Float64", "Float32", "Int64")),
    "argparse.Namespace",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
    "pathlib._local.PosixPath",  # of Python 3.13
    "pathlib._local.PurePosixPath",
)
PARTS = {
    **REBUILD,
    **dict.fromkeys(OMITTED, Omitted),
    "torch._tensor._rebuild_from_type_v2": rebuild_as,
    "torch.serialization._get_layout": str,
    "torch.Size": tuple,
    "collections.OrderedDict": PlainDict,
    **{f"torch.{name}": dtype for name, dtype in TYPES.items()},
    **{f"torch.{name}Storage": TYPES[kind] for name, kind in STORAGES.items()},
    "torch.storage.UntypedStorage": TYPES["uint8"],  # its size is in bytes
}


class TensorUnpickler(RestrictedUnpickler):
    """Unpickles tensors as records; `storages` are those that it has met."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, PARTS, "utf-8")
        self.storages: dict[str, Storage] = {}

    def persistent_load(self, pid: Any) -> Storage:
        """Returns a storage, or a part of one, as files before PyTorch 1.6 name them."""
        kind, dtype, key, _, size, *view = pid
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise NotAnArray(f"a persistent {kind!s:.40}")
        storage = self.storages.setdefault(key, Storage(dtype, key, size))
        if not view or view[0] is None:
            return storage
        _, start, size = view[0]
        return replace(storage, start=start, size=size, read=lambda _: storage.read(storage))


@contextmanager
def open_tensors(path: Path) -> Iterator[Any]:
    """Yields what a PyTorch file holds, with its tensors as records that `as_array` reads.

    Raises NotAnArray for a file that needs other objects, and almost anything for a damaged one.
    """
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            yield read_old(file)
        return
    with zipfile.ZipFile(path) as archive:
        (pickled,) = (x for x in archive.namelist() if x.split("/")[1:] == ["data.pkl"])
        folder = pickled.removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist():
            if archive.read(f"{folder}byteorder") != b"little":
                raise ValueError("the bytes of numbers are in another order")
        unpickler = TensorUnpickler(archive.open(pickled))
        content = unpickler.load()
        read = lru_cache(maxsize=1)(partial(read_entry, archive, f"{folder}data/"))
        for storage in unpickler.storages.values():
            storage.read = lambda x: np.frombuffer(read(x.key), x.dtype, x.size)
        yield content


def read_entry(archive: zipfile.ZipFile, folder: str, key: str) -> bytes:
    """Returns the bytes of a storage in an archive."""
    entry = archive.getinfo(f"{folder}{key}")
    if entry.compress_type != zipfile.ZIP_STORED:  # could unpack to any size
        raise ValueError("the archive is compressed")
    return archive.read(entry)


def read_old(file: BinaryIO) -> Any:
    """Returns what a file before PyTorch 1.6 holds, with its storages."""
    if TensorUnpickler(file).load() != MAGIC_NUMBER or TensorUnpickler(file).load() != PROTOCOL:
        raise ValueError("no file of PyTorch")
    TensorUnpickler(file).load()  # sizes of C's types
    unpickler = TensorUnpickler(file)
    content = unpickler.load()
    for key in TensorUnpickler(file).load():
        storage = unpickler.storages[key]
        (size,) = np.frombuffer(file.read(8), "<i8")
        data = np.frombuffer(file.read(int(size) * storage.dtype.itemsize), storage.dtype)
        if data.size != size or size != storage.size:
            raise EOFError("a storage is incomplete")
        storage.read = partial(lambda data, _: data, data)
    return content


def as_array(tensor: Tensor) -> np.ndarray:
    """Returns the values of a tensor; floats become float32, since NumPy has no bfloat16.

    Raises UnusableTensor for tensors without an array, ValueError for one beyond its storage.
    """
    if tensor.fault:
        raise UnusableTensor(tensor.fault)
    if tensor.dtype.kind == "c":
        raise UnusableTensor("holds complex numbers, which no network here has")
    if min(tensor.shape, default=0) < 0:
        raise ValueError("a tensor has a negative side")
    count = math.prod(tensor.shape)
    if count > MOST_VALUES:
        raise UnusableTensor(f"claims {count} values")
    dtype = tensor.dtype if tensor.dtype.kind in "iub" else np.float32
    if count == 0:
        return np.zeros(tensor.shape, dtype)
    storage, steps = tensor.storage, tensor.strides
    if storage.read is None:
        raise ValueError("a storage is missing")
    data = storage.read(storage)[storage.start :][: storage.size].view(tensor.dtype)
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, steps, strict=True))
    if min(tensor.offset, *steps, 0) < 0 or last >= data.size:
        raise ValueError("a tensor lies outside its storage")
    strides = [step * data.itemsize for step in steps]
    start = tensor.offset * data.itemsize
    values = np.ndarray(tensor.shape, tensor.dtype, data, start, strides)
    values = values.astype(dtype, order="C")
    return -values if tensor.negative else values
