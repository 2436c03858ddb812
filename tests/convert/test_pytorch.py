"""PyTorch's files are read without PyTorch, as PyTorch reads them, and nothing in them runs."""

import io
import pickle
import random
import sys
import zipfile

import numpy as np
import pytest

from matting_jax.convert.files import read_content, read_state_dict
from matting_jax.convert.pickles import NotAnArray, RestrictedUnpickler, UnusableTensor
from matting_jax.convert.pytorch import TYPES, Storage, Tensor, as_array, rebuild_as
from tests.helpers import ROOT

FILES = ("torch_zip.pth", "torch_old.pth")  # of PyTorch 2.13, and in the format before 1.6


def golden(name):
    return ROOT / "tests" / "goldens" / name


@pytest.mark.parametrize("name", FILES)
def test_files_are_read_without_pytorch(name, monkeypatch):
    """A transposed tensor, a part of its storage, bfloat16, half precision and a counter."""
    monkeypatch.setitem(sys.modules, "torch", None)
    back = read_content(golden(name))
    assert back.keys() == {"state_dict"}  # the epoch is no array
    whole = np.arange(24.0).reshape(2, 3, 4)
    expected = {
        "module.a.weight": whole.transpose(2, 0, 1),
        "module.a.part": whole[1, 1:],
        "module.b": [1.5, -2.0],
        "module.c": [[0.25, -8.0]],
        "module.num_batches_tracked": 7,
    }
    assert list(back["state_dict"]) == list(expected)
    for key, value in expected.items():
        array = back["state_dict"][key]
        assert array.dtype == (np.int64 if "num" in key else np.float32)
        assert array.shape == np.shape(value)
        np.testing.assert_array_equal(array, value)


def draw_view(torch, rng):
    """Returns a random tensor: of any type, transposed, cut, expanded, strided, or empty."""
    names = [name for name in TYPES if hasattr(torch, name) and TYPES[name].kind != "c"]
    names.remove("float8_e8m0fnu")  # has neither zero nor sign
    x = torch.randn([rng.randint(1, 5) for _ in range(rng.randint(0, 3))]).mul(8)
    name = rng.choice(names)
    x = (x.abs() if name.startswith("uint") else x).to(getattr(torch, name))
    for _ in range(rng.randint(0, 3) if x.ndim else 0):
        axis = rng.randrange(x.ndim)
        match rng.randint(0, 3):
            case 0:
                x = x.transpose(0, axis)
            case 1:
                start = rng.randint(0, x.shape[axis])
                x = x.narrow(axis, start, rng.randint(0, x.shape[axis] - start))
            case 2:
                x = x.unsqueeze(0).expand(2, *x.shape)
            case 3:
                x = x[..., ::2]
    return x


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_are_those_that_pytorch_reads(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    rng, path = random.Random(0), tmp_path / "x.pth"
    torch.manual_seed(0)
    for _ in range(40):
        tensors = {str(i): draw_view(torch, rng) for i in range(5)}
        tensors["again"] = tensors["0"]
        tensors["part"] = tensors["1"].reshape(-1)[:1]
        torch.save({"model": tensors}, path, _use_new_zipfile_serialization=zipped)
        back = read_state_dict(path)
        assert back.keys() == tensors.keys()
        for name, x in tensors.items():
            expected = (x.float() if x.is_floating_point() else x).numpy()
            assert back[name].dtype == expected.dtype and back[name].shape == expected.shape
            np.testing.assert_array_equal(back[name], expected)


@pytest.mark.parametrize("name", FILES)
def test_flipped_bit_is_one_line_or_leaves_numbers(tmp_path, name):
    rng, content, path = random.Random(0), golden(name).read_bytes(), tmp_path / "x.pth"
    rejected = 0
    for _ in range(200):
        damaged = bytearray(content)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            arrays = read_state_dict(path)
        except ValueError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            rejected += 1
        else:
            assert all(x.dtype.kind in "fiub" for x in arrays.values())
    assert rejected > 50


def storage_of(count):
    data = np.arange(count, dtype=np.float32)
    return Storage(data.dtype, "0", count, read=lambda _: data)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (7,), (1,)), (5, (2,), (1,)), (-1, (1,), (1,)), (5, (2,), (-1,)), (0, (2, 2), (1, 5))],
)
def test_tensor_outside_its_storage_is_refused(offset, shape, strides):
    dtype = np.dtype(np.float32)
    with pytest.raises(ValueError, match="outside its storage"):
        as_array(Tensor(storage_of(6), offset, shape, strides, dtype))


def test_last_numbers_of_a_storage_are_read():
    tensor = Tensor(storage_of(6), 1, (2, 2), (3, 1), np.dtype(np.float32))
    np.testing.assert_array_equal(as_array(tensor), [[1, 2], [4, 5]])
    with pytest.raises(UnusableTensor, match="claims 1099511627776 values"):
        as_array(Tensor(storage_of(6), 0, (2**40,), (0,), np.dtype(np.float32)))


def test_only_functions_that_rebuild_tensors_are_called_for_a_subclass():
    with pytest.raises(NotAnArray):
        rebuild_as(print, None, ("ran",), None)


def test_pickle_gets_no_memory_for_what_it_claims():
    """The index of a memo and the length of bytes may be any number."""
    memo = b"\x80\x02}r\xff\xff\xff\xff."
    assert RestrictedUnpickler(io.BytesIO(memo), {}, "utf-8").load() == {}
    with pytest.raises((pickle.UnpicklingError, EOFError)):
        RestrictedUnpickler(io.BytesIO(b"\x80\x04B\xff\xff\xff\x7fab."), {}, "utf-8").load()


def rewrite(name, path, compression=zipfile.ZIP_STORED, **replaced):
    """Writes a golden archive again, with other contents of some entries."""
    with zipfile.ZipFile(golden(name)) as old, zipfile.ZipFile(path, "w", compression) as new:
        for entry in old.namelist():
            part = entry.rpartition("/")[2]
            new.writestr(entry, replaced.get(part, old.read(entry)))


@pytest.mark.parametrize(
    "options",
    [{"compression": zipfile.ZIP_DEFLATED}, {"byteorder": b"big"}],
)
def test_archive_that_pytorch_does_not_write_here_is_refused(tmp_path, options):
    rewrite("torch_zip.pth", tmp_path / "same.pth")
    assert read_state_dict(tmp_path / "same.pth")
    rewrite("torch_zip.pth", tmp_path / "x.pth", **options)
    with pytest.raises(ValueError, match="x.pth is damaged or not a file of PyTorch"):
        read_state_dict(tmp_path / "x.pth")


def test_tar_archive_of_the_first_pytorch_is_called_that(tmp_path):
    (tmp_path / "x.pth.tar").write_bytes(bytes(257) + b"ustar\x0000" + bytes(600))
    with pytest.raises(ValueError, match="is a tar archive.*torch.save"):
        read_state_dict(tmp_path / "x.pth.tar")
