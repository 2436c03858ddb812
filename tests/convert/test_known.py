"""Weights by name and by address: which file is meant, and where it comes from."""

import errno
import hashlib
import json
import re
import sys
import types
from pathlib import Path

import jax
import pytest

import matting_jax as mj
from matting_jax.convert import known
from matting_jax.convert.files import write_state_dict
from matting_jax.convert.hosts import fetch_from_drive, fetch_from_hub
from matting_jax.convert.identity import config_of
from matting_jax.convert.known import find_known, known_files, locate
from matting_jax.convert.names import OfficialFile
from matting_jax.models import NETWORKS, create_model, example_inputs
from tests.helpers import ROOT


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of fetched weights."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "matting_jax" / "weights"


ALL = {x.label: x for x in known_files()}


def test_every_network_has_files_of_its_own_keywords_and_options():
    assert {x.network for x in ALL.values()} == set(NETWORKS) - {
        name for name in NETWORKS if name.startswith("tiny")
    }
    for label, x in ALL.items():
        assert find_known(label) == x
        create_model(x.network, **x.file.keywords)
        config = config_of(x.identity)
        assert {**config.model, **x.file.keywords} == dict(config.model), label
        assert {**config.test_time, **x.file.test_time} == dict(config.test_time), label


@pytest.mark.parametrize("label", ALL)
def test_addresses_and_checksums_have_their_form(label):
    file = ALL[label].file
    assert file.page and file.licence and "/" not in file.file
    assert not file.address or (
        file.address.startswith("https://") and file.address.endswith(f"/{file.file}")
    )
    assert all(x in "0123456789abcdef" for x in file.sha256)
    assert file.sha256 == "" or f"-{file.sha256}." in file.file


def test_page_of_the_weights_lists_every_file():
    rows = {}
    for line in (ROOT / "docs" / "weights.md").read_text().splitlines():
        if line.startswith("| `"):
            label, file, how, licence = (cell.strip() for cell in line.strip("|").split("|"))
            rows[label.strip("`")] = (file.strip("`"), how, licence)
    assert rows.keys() == ALL.keys()
    for label, (file, how, licence) in rows.items():
        x = ALL[label].file
        assert (file, licence) == (x.file, x.licence)
        assert how.startswith("fetched" if x.address else "by hand"), label


@pytest.mark.parametrize("network", sorted({x.network for x in ALL.values()}))
def test_page_of_a_network_says_which_flag_takes_which_file(network):
    text = (ROOT / "docs" / f"{network}.md").read_text()
    files = text.partition("take these names")[2].partition("\n\n")[0]
    whole, _, backbones = files.partition("`--config.init.backbone` takes")
    for part, of_backbones in (whole, False), (backbones, True):
        wanted = [label for label, x in ALL.items() if x.file.backbone == of_backbones]
        wanted = {label for label in wanted if label.startswith(f"{network}:")}
        assert set(re.findall(r"`(\w+:\w+)`", part)) == wanted


def test_existing_file_is_what_its_path_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bisenet_v2:cityscapes").write_bytes(b"")
    assert locate("bisenet_v2:cityscapes") == Path("bisenet_v2:cityscapes")
    assert find_known("bisenet_v2:cityscapes") is None


@pytest.mark.parametrize("path", ["C:model.pth", "C:/modnet.pth", "runs/x:y", "a:b.pth", "x.pth"])
def test_paths_are_no_names(path):
    assert find_known(path) is None and locate(path) == Path(path)


@pytest.mark.parametrize(
    "name, message",
    [
        ("bisenet_v2:cityscape", "file of bisenet_v2.*did you mean 'cityscapes'"),
        ("bisenet:coco", "network 'bisenet'.*did you mean 'bisenet_v2'"),
        ("tiny:photos", "tiny has no published files"),
    ],
)
def test_unknown_name_suggests_the_closest(name, message):
    with pytest.raises(ValueError, match=message):
        locate(name)


def test_file_that_a_person_must_download_is_named_with_its_place(cache, caplog):
    path = cache / "gfm" / "gfm_r34_ft.pth"
    with pytest.raises(FileNotFoundError) as error:
        locate("gfm:r34_ft")
    for words in ("by hand", "https://github.com/JizhiziLi/GFM", str(path), "MIT"):
        assert words in str(error.value)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    assert locate("gfm:r34_ft") == path and "licence is MIT" in caplog.text
    record = json.loads(path.with_name(f"{path.name}.json").read_text())
    assert record["keywords"] == {"backbone": "resnet34", "rosta": "ft"}
    caplog.clear()
    assert locate("gfm:r34_ft") == path and caplog.text == ""
    path.write_bytes(b"others")
    with pytest.raises(ValueError, match="not the file that was first used"):
        locate("gfm:r34_ft")


def test_published_checksum_of_a_file_saved_by_hand_is_compared(cache):
    path = cache / "modnet" / "mobilenet_v2-b0353104.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    with pytest.raises(ValueError, match="published one begins with b0353104"):
        locate("modnet:imagenet")


def test_fetched_file_is_loaded_by_its_name(tmp_path, monkeypatch, cache, tiny):
    """The file is served from a folder in place of the web."""
    model = mj.create_model("tiny")
    variables = model.init(jax.random.key(0), **example_inputs(model))
    served = tmp_path / "served.safetensors"
    write_state_dict(served, mj.to_state_dict("tiny", variables))
    digits = hashlib.sha256(served.read_bytes()).hexdigest()[:8]
    asked = []

    def download(address, part, path):
        asked.append(address)
        part.write_bytes(served.read_bytes())

    monkeypatch.setattr("matting_jax.convert.fetch.download", download)
    address = "https://nowhere.example/tiny.safetensors"
    file = OfficialFile(
        "tiny.safetensors", "page", "MIT", address, digits, test_time={"reference_size": 64}
    )
    monkeypatch.setattr(known, "files_of", lambda network: {"x": file} if network == tiny else {})
    matter = mj.load("tiny:x")
    assert matter.options["reference_size"] == 64 and asked == [address]
    assert (cache / "tiny" / "tiny.safetensors").read_bytes() == served.read_bytes()
    with pytest.warns(UserWarning, match="tiny:x.*reference_size is 512, theirs 64"):
        mj.Matter("tiny", mj.load_checkpoint("tiny", "tiny:x"))
    by_address = mj.load(address, network="tiny")
    assert by_address.options["reference_size"] == 64  # by the name of the file
    assert len(asked) == 2
    mj.load(address, network="tiny")
    assert len(asked) == 2


def test_backbone_is_no_checkpoint(cache):
    path = cache / "gca" / "model_best_resnet34_En_nomixup.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    with pytest.raises(ValueError, match="--config.init.backbone=gca:imagenet"):
        mj.load("gca:imagenet")


def module(monkeypatch, name, **members):
    """Replaces a library, which need not be installed."""
    monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(**members))


@pytest.mark.parametrize(
    "address, expected",
    [
        ("hf://owner/repo/model.safetensors", ("owner/repo", "model.safetensors", None)),
        ("hf://owner/repo@v1/a/b.pth", ("owner/repo", "a/b.pth", "v1")),
    ],
)
def test_file_of_the_hub_is_fetched_by_its_library(monkeypatch, address, expected):
    def hf_hub_download(repo_id, filename, revision=None):
        return f"/cache/{repo_id}/{filename}/{revision}"

    module(monkeypatch, "huggingface_hub", hf_hub_download=hf_hub_download)
    assert locate(address) == Path("/cache", *map(str, expected))


def test_hub_errors_say_how_to_get_the_file(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install 'matting_jax\[hub\]'"):
        fetch_from_hub("hf://owner/repo/x.pth")

    def fail(*_, **__):
        raise RuntimeError("no such repository\nand more")

    module(monkeypatch, "huggingface_hub", hf_hub_download=fail)
    with pytest.raises(FileNotFoundError, match=r"no such repository\): download x.pth by other"):
        fetch_from_hub("hf://owner/repo/x.pth")
    with pytest.raises(ValueError, match="must be hf://OWNER/REPOSITORY/FILE"):
        fetch_from_hub("hf://owner/x.pth")


DRIVE = "https://drive.google.com/file/d/1a-B_c/view?usp=sharing"


def test_full_disk_is_said_of_the_hub_and_of_google_drive(monkeypatch, tmp_path):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    module(monkeypatch, "huggingface_hub", hf_hub_download=fail)
    module(monkeypatch, "gdown", download=fail)
    with pytest.raises(OSError, match="hf://owner/repo/x.pth cannot be fetched: the disk is full"):
        fetch_from_hub("hf://owner/repo/x.pth")
    with pytest.raises(OSError, match=f"cannot write {tmp_path}/arriving: the disk is full"):
        fetch_from_drive(DRIVE, tmp_path)


@pytest.mark.parametrize("address", [DRIVE, "https://drive.google.com/uc?export=x&id=1a-B_c"])
def test_file_of_google_drive_is_fetched_once_under_its_own_name(monkeypatch, cache, address):
    asked = []

    def download(id, output, resume):
        asked.append((id, resume))
        Path(output, "model.ckpt").write_bytes(b"weights")
        return f"{output}model.ckpt"

    module(monkeypatch, "gdown", download=download)
    path = locate(address)
    assert path.name == "model.ckpt" and path.read_bytes() == b"weights"
    assert locate(address) == path and asked == [("1a-B_c", True)]
    path.write_bytes(b"others")
    with pytest.raises(ValueError, match="not the file that was first used"):
        locate(address)


def test_google_drive_without_library_file_or_form(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(ImportError, match=r"pip install 'matting_jax\[drive\]'"):
        fetch_from_drive(DRIVE, tmp_path)

    def fail(**_):
        raise RuntimeError("too many users")

    module(monkeypatch, "gdown", download=fail)
    with pytest.raises(FileNotFoundError, match="too many users.*with a browser"):
        fetch_from_drive(DRIVE, tmp_path)
    with pytest.raises(ValueError, match="not the link of one file"):
        fetch_from_drive("https://drive.google.com/drive/folders/1abc", tmp_path)
