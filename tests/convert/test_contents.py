"""Files of weights hold arrays of every kind, and nothing that runs."""

import io
import json
import os
import pickle
import re
import zipfile
from collections import OrderedDict
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from matting_jax.convert.files import (
    read_state_dict,
    write_state_dict,
)
from tests.convert.weights import TENSORS, rejection


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_does_not_run(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    path, mark = tmp_path / "evil.pth", tmp_path / "ran"
    content = {"module.a.weight": torch.zeros(2), "trap": Trap(mark)}
    if zipped:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps({"trap": Trap(mark)}))
    message = rejection(path)
    assert not mark.exists()
    assert "weights_only=False" not in message and "[" not in message
    pickle.loads(pickle.dumps(Trap(mark)))
    assert mark.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_pickled_arrays_of_every_protocol_are_read(tmp_path, protocol):
    """Plain arrays, and tensors as Paddle writes them among others: with their own names."""
    content = OrderedDict(a=np.arange(6, dtype="f4").reshape(2, 3), b=("conv_0.w_0", np.ones(2)))
    content["c"] = np.asfortranarray(content["a"])
    content["StructuredToParameterName@@"] = {"a": "linear_0.w_0"}
    path = tmp_path / "x.pdparams"
    path.write_bytes(pickle.dumps(content, protocol))
    back = read_state_dict(path)
    assert list(back) == ["a", "b", "c"]
    np.testing.assert_array_equal(back["a"], content["a"])
    np.testing.assert_array_equal(back["b"], np.ones(2))
    np.testing.assert_array_equal(back["c"], content["a"])


def test_arrays_that_numpy_1_pickled_are_read(tmp_path):
    path = tmp_path / "x.pdparams"
    content = pickle.dumps({"a": np.arange(3.0)}, protocol=2)
    assert b"numpy._core.multiarray\n" in content
    path.write_bytes(content.replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n"))
    np.testing.assert_array_equal(read_state_dict(path)["a"], np.arange(3))


def test_arrays_that_python_2_pickled_are_read(tmp_path):
    """Python 2 had no bytes type: the bytes of an array are the characters of a string."""
    array = np.array([-1.5, 2.0, 3e9], "<f4")
    content = (
        b"\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
        b"(K\x01(K\x03tcnumpy\ndtype\n(U\x02f4K\x00K\x01tR(K\x03U\x01<NNN"
        b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x0c" + array.tobytes() + b"tbs."
    )
    (tmp_path / "x.pdparams").write_bytes(content)
    np.testing.assert_array_equal(read_state_dict(tmp_path / "x.pdparams")["a"], array)


class Call:
    """Calls a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("function", "name"),
    [
        (Path.touch, "getattr"),
        (os.system, "posix.system"),
        (eval, "builtins.eval"),
        (np.load, "numpy.load"),
        (np.fromfile, "numpy.fromfile"),
    ],
)
def test_paddle_file_with_more_than_arrays_is_rejected_with_the_name(
    tmp_path, function, name, protocol
):
    path, mark = tmp_path / "evil.pdparams", tmp_path / "ran"
    argument = {"posix.system": f"touch {mark}", "builtins.eval": f"open({str(mark)!r}, 'w')"}
    trap = Call(function, argument.get(name, mark))
    path.write_bytes(pickle.dumps({"a": np.ones(2), "trap": trap}, protocol))
    message = rejection(path)
    assert " needs " in message and not mark.exists()
    assert name.rpartition(".")[2] in message or function is Path.touch


@pytest.mark.parametrize(
    "content",
    [[1, 2], {"a": 3}, {"a": np.array(["x"])}, {"a": np.array([None])}, {"a": {"b": "x"}}],
)
def test_pickle_without_numeric_arrays_is_rejected(tmp_path, content):
    (tmp_path / "x.pdparams").write_bytes(pickle.dumps(content))
    assert "does not hold a dict of arrays" in rejection(tmp_path / "x.pdparams")


def test_dict_under_state_dict_is_found(tmp_path):
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(x) for name, x in TENSORS.items()}
    torch.save({"epoch": 3, "state_dict": tensors}, tmp_path / "lightning.ckpt")
    back = read_state_dict(tmp_path / "lightning.ckpt")
    assert back.keys() == TENSORS.keys()
    np.testing.assert_array_equal(back["module.a.weight"], TENSORS["module.a.weight"])


@pytest.mark.parametrize("kind", ["parameter", "bfloat16", "float16", "strided"])
def test_tensors_of_every_kind_become_arrays_of_their_values(tmp_path, kind):
    torch = pytest.importorskip("torch")
    tensor = torch.tensor([[1.0, -2.5], [0.25, 4.0]])
    tensor = {
        "parameter": torch.nn.Parameter(tensor),
        "bfloat16": tensor.bfloat16(),
        "float16": tensor.half(),
        "strided": tensor.T,
    }[kind]
    torch.save({"a.weight": tensor}, tmp_path / "x.pth")
    array = read_state_dict(tmp_path / "x.pth")["a.weight"]
    expected = [[1.0, 0.25], [-2.5, 4.0]] if kind == "strided" else [[1.0, -2.5], [0.25, 4.0]]
    np.testing.assert_array_equal(np.asarray(array, np.float32), expected)


@pytest.mark.parametrize("content", [[1, 2], {"a": 3}, {"state_dict": "x"}, {"state_dict": {}}])
def test_file_without_tensors_is_rejected(tmp_path, content):
    torch = pytest.importorskip("torch")
    torch.save(content, tmp_path / "x.pth")
    assert "does not hold a dict of tensors" in rejection(tmp_path / "x.pth")


@pytest.mark.parametrize("extension", [".safetensors", ".pdparams", ".ckpt"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.98])
def test_truncated_file_is_rejected_in_one_line(tmp_path, extension, share):
    if extension == ".ckpt":
        pytest.importorskip("torch")
    path = tmp_path / f"x{extension}"
    write_state_dict(path, TENSORS)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    rejection(path)


def test_text_file_is_rejected_in_one_line(tmp_path):
    pytest.importorskip("torch")
    for extension in (".safetensors", ".pdparams", ".pth"):
        path = tmp_path / f"x{extension}"
        path.write_text("<html>404: not found</html>\n" * 20)
        rejection(path)


@pytest.mark.parametrize("extension", [".safetensors", ".pdparams", ".pth", ".BIN"])
@pytest.mark.parametrize(
    "start, words",
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 25\n",
            "Git LFS pointer",
        ),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><html><title>Google Drive</title>", "web page"),
        (b"<HTML>\n<head>", "web page"),
    ],
)
def test_pointer_or_web_page_in_place_of_a_file_is_called_that(tmp_path, extension, start, words):
    (tmp_path / f"x{extension}").write_bytes(start)
    assert words in rejection(tmp_path / f"x{extension}")


ODD = {
    "sparse": (lambda torch: torch.eye(3).to_sparse(), "sparse tensor"),
    "CSR": (lambda torch: torch.eye(3).to_sparse_csr(), "sparse tensor"),
    "meta": (lambda torch: torch.ones(2, device="meta"), "device meta"),
    "quantised": (
        lambda torch: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8),
        "quantised",
    ),
    "complex": (lambda torch: torch.ones(2, dtype=torch.complex64), "complex"),
    "conjugate": (lambda torch: torch.ones(2, dtype=torch.complex64).conj(), "complex"),
    "nested": (
        lambda torch: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        "nested tensor",
    ),
    "huge view": (lambda torch: torch.ones(1).half().expand(10**6, 10**6), "10000+ values"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ODD)
def test_tensor_without_a_numeric_array_is_rejected_by_name_and_kind(tmp_path, kind):
    torch = pytest.importorskip("torch")
    make, words = ODD[kind]
    torch.save({"a": torch.ones(2), "odd.weight": make(torch)}, tmp_path / "x.pth")
    assert re.search(f"odd.weight .*{words}", rejection(tmp_path / "x.pth"))


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "float8_e5m2", "negative view", "integer keys"])
def test_rare_kinds_of_tensors_that_have_values_are_read(tmp_path, kind):
    torch = pytest.importorskip("torch")
    values = torch.tensor([1.0, -2.0])
    if kind == "negative view":
        values = torch.complex(torch.zeros(2), -values).conj().imag
    elif kind != "integer keys":
        values = values.to(getattr(torch, kind))
    torch.save({0 if kind == "integer keys" else "0": values}, tmp_path / "x.pth")
    np.testing.assert_array_equal(read_state_dict(tmp_path / "x.pth")["0"], [1, -2])


@pytest.mark.parametrize("extension", [".pth", ".safetensors", ".pdparams"])
def test_name_of_a_megabyte_is_one_short_line(tmp_path, extension):
    if extension == ".pth":
        pytest.importorskip("torch")
    path = tmp_path / f"x{extension}"
    write_state_dict(path, {"a." * 500_000: np.ones(2, np.float32)})
    message = rejection(path)
    assert "a name of 1000000 characters" in message and len(message) < 500


def safetensors_of(dtype, data, shape):
    header = json.dumps({"a": {"dtype": dtype, "shape": shape, "data_offsets": [0, len(data)]}})
    return len(header).to_bytes(8, "little") + header.encode() + data


@pytest.mark.parametrize(
    "dtype, kind",
    [
        ("BF16", ml_dtypes.bfloat16),
        ("F16", np.float16),
        ("F32", np.float32),
        ("F64", np.float64),
        ("F8_E4M3", ml_dtypes.float8_e4m3fn),
        ("F8_E5M2", ml_dtypes.float8_e5m2),
        ("I64", np.int64),
        ("U8", np.uint8),
        ("BOOL", np.bool_),
    ],
)
def test_numbers_of_every_type_of_safetensors_are_read(tmp_path, dtype, kind):
    values = np.array([[1, 0, 1], [0, 1, 1]]).astype(kind)
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors_of(dtype, values.tobytes(), [2, 3]))
    array = read_state_dict(path)["a"]
    assert array.dtype.kind in "fiub" and array.dtype.itemsize >= values.itemsize
    np.testing.assert_array_equal(array, [[1, 0, 1], [0, 1, 1]])


def zip_of(name):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, "x")
    return stream.getvalue()


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("x.pth", b"", "is empty"),
        ("x.safetensors", b"", "is empty"),
        ("x.pdparams", b"", "is empty"),
        ("x.pth", zip_of("cat.jpg"), r"zip archive of other files \(cat.jpg\)"),
        ("x.ckpt", zip_of("a.npy"), "zip archive of other files"),
        ("x.pth", zip_of("archive/constants.pkl"), "TorchScript"),
        ("x.bin", zip_of("archive/data.pkl")[:-9], "incomplete"),
        ("x.safetensors", zip_of("archive/data.pkl"), "a PyTorch file: rename it to x.pth"),
        ("x.PDPARAMS", zip_of("archive/data.pkl"), "a PyTorch file: rename it to x.pth"),
        ("x.pth", safetensors_of("F32", bytes(4), [1]), "rename it to x.safetensors"),
        ("x.pth", b"\x1f\x8b\x08" + bytes(50), "gzip archive"),
        ("x.pth", b"\x89PNG\r\n\x1a\n" + bytes(50), "PNG image"),
        ("x.pth", b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5"),
    ],
)
def test_file_of_another_kind_is_called_that(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    assert re.search(words, rejection(tmp_path / name))


def test_model_that_was_saved_whole_is_refused_with_its_class_and_a_way(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "x.pth")
    message = rejection(tmp_path / "x.pth")
    assert "torch.nn.modules.linear.Linear" in message and "model.state_dict()" in message
