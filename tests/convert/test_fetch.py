"""Downloads from a local server: whole, broken, resumed, changed, and from none."""

import hashlib
import json
import logging
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from matting_jax.convert import fetch as fetching
from matting_jax.convert.fetch import fetch
from matting_jax.files import WriteError
from tests.limits import file_limit

WEIGHTS = np.random.default_rng(0).integers(0, 256, 500_000, np.uint8).tobytes()
OTHERS = WEIGHTS[::-1]


class Server:
    """A server of one file, which can break off, ignore ranges, and change the file."""

    def __init__(self):
        self.content, self.tag, self.ranges = WEIGHTS, '"1"', True
        self.most = []  # bytes that the next answers send at most
        self.type, self.status = "application/octet-stream", 200
        self.asked = []  # the ranges that were asked for, None for all

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler):
                self.answer(handler)

            def log_message(handler, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}/weights.pth"

    def answer(self, handler):
        wanted = handler.headers["Range"]
        self.asked.append(wanted)
        start = 0
        same = handler.headers["If-Range"] in (None, self.tag)
        if wanted and self.ranges and same:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(self.content):
                handler.send_error(416)
                return
        body = self.content[start:]
        handler.send_response(206 if start else self.status)
        if start:
            last = len(self.content) - 1
            handler.send_header("Content-Range", f"bytes {start}-{last}/{len(self.content)}")
        handler.send_header("Content-Length", str(len(body)))
        handler.send_header("Content-Type", self.type)
        if self.tag:
            handler.send_header("ETag", self.tag)
        handler.end_headers()
        handler.wfile.write(body[: self.most.pop(0)] if self.most else body)


@pytest.fixture
def server():
    server = Server()
    yield server
    server.server.shutdown()
    server.server.server_close()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def files_in(folder):
    return sorted(x.name for x in folder.iterdir() if x.suffix != ".lock")


DONE = ["weights.pth", "weights.pth.json"]


def test_whole_file_arrives_once_with_its_record_and_licence(server, tmp_path, caplog):
    path = tmp_path / "new" / "weights.pth"
    for _ in range(2):
        assert fetch(server.address, path, licence="MIT", facts={"network": "x"}) == path
    assert path.read_bytes() == WEIGHTS and files_in(path.parent) == DONE
    assert server.asked == [None]
    record = json.loads(path.with_name("weights.pth.json").read_text())
    assert record["sha256"] == sha256(WEIGHTS) and record["network"] == "x"
    assert record["origin"] == {"file": "weights.pth", "address": server.address}
    assert [x.getMessage() for x in caplog.records if x.levelno >= logging.WARNING] == [
        "weights.pth: its licence is MIT"
    ]


def test_download_that_breaks_off_is_continued(server, tmp_path):
    server.most = [200_000, 150_000]
    path = fetch(server.address, tmp_path / "weights.pth")
    assert path.read_bytes() == WEIGHTS and files_in(tmp_path) == DONE
    starts = [int(x[6:-1]) for x in server.asked[1:]]
    assert server.asked[0] is None and len(starts) == 2
    assert 0 < starts[0] <= 200_000 and starts[0] < starts[1] <= 350_000


def test_later_run_resumes_what_has_arrived(server, tmp_path):
    path = tmp_path / "weights.pth"
    server.most = [200_000, 0]
    with pytest.raises(
        FileNotFoundError, match="the downloaded part is kept.*save it as .*weights"
    ):
        fetch(server.address, path)
    assert files_in(tmp_path) == ["weights.pth.part", "weights.pth.part.json"]
    arrived = (tmp_path / "weights.pth.part").read_bytes()
    assert 0 < len(arrived) <= 200_000 and WEIGHTS.startswith(arrived)
    fetch(server.address, path)
    assert server.asked[-1] == f"bytes={len(arrived)}-"
    assert path.read_bytes() == WEIGHTS and files_in(tmp_path) == DONE


@pytest.mark.parametrize("change", ["of the file", "without ranges", "without a version"])
def test_download_starts_again_where_it_cannot_resume(server, tmp_path, change):
    path = tmp_path / "weights.pth"
    server.tag = "" if change == "without a version" else server.tag
    server.most = [200_000, 0]
    with pytest.raises(FileNotFoundError):
        fetch(server.address, path)
    server.ranges = change != "without ranges"
    if change == "of the file":
        server.content, server.tag = OTHERS[:300_000], '"2"'
    fetch(server.address, path)
    assert path.read_bytes() == server.content and files_in(tmp_path) == DONE


def test_part_longer_than_the_file_is_fetched_again(server, tmp_path):
    part = tmp_path / "weights.pth.part"
    part.write_bytes(WEIGHTS + b"more")
    fetching.write_version(part, {"ETag": server.tag})
    path = fetch(server.address, tmp_path / "weights.pth")
    assert path.read_bytes() == WEIGHTS and server.asked == [f"bytes={len(WEIGHTS) + 4}-", None]


@pytest.mark.parametrize("digits", [8, 64])
def test_published_checksum_is_compared(server, tmp_path, digits):
    path = tmp_path / "weights.pth"
    with pytest.raises(ValueError, match="not the published file.*damaged or was replaced"):
        fetch(server.address, path, sha256=sha256(OTHERS)[:digits])
    assert files_in(tmp_path) == []
    assert fetch(server.address, path, sha256=sha256(WEIGHTS)[:digits]).read_bytes() == WEIGHTS


def test_file_without_a_published_checksum_is_compared_to_the_first_one(server, tmp_path):
    path = fetch(server.address, tmp_path / "weights.pth")
    path.write_bytes(OTHERS)
    with pytest.raises(ValueError, match="not the file that was first used.*to fetch it again"):
        fetch(server.address, path)
    path.unlink()
    server.content = OTHERS
    with pytest.raises(ValueError, match=f"{server.address} is not the file that was first used"):
        fetch(server.address, path)
    assert files_in(tmp_path) == ["weights.pth.json"]
    (tmp_path / "weights.pth.json").unlink()
    assert fetch(server.address, path).read_bytes() == OTHERS


def test_full_disk_names_the_file_and_a_later_run_resumes(server, tmp_path):
    path = tmp_path / "weights.pth"
    with (
        file_limit(200_000),
        pytest.raises(WriteError, match=f"cannot write {path}: the file would be larger than"),
    ):
        fetch(server.address, path)
    assert files_in(tmp_path) == ["weights.pth.part", "weights.pth.part.json"]
    assert fetch(server.address, path).read_bytes() == WEIGHTS and files_in(tmp_path) == DONE
    assert server.asked == [None, "bytes=200000-"]


def test_web_page_in_place_of_a_file_is_refused(server, tmp_path):
    server.content, server.type = b"<!DOCTYPE html><title>Sign in</title>", "text/html"
    with pytest.raises(ValueError, match="is a web page, not a checkpoint"):
        fetch(server.address, tmp_path / "weights.pth")
    assert files_in(tmp_path) == []


def test_missing_file_and_missing_server_say_what_to_do(server, tmp_path):
    path = tmp_path / "weights.pth"
    server.status = 404
    with pytest.raises(FileNotFoundError, match=f"is answered by 404.*save it as {path}"):
        fetch(server.address, path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/weights.pth"
    with pytest.raises(FileNotFoundError, match=f"{address} cannot be fetched.*save it as {path}"):
        fetch(address, path)
    assert not path.exists()
