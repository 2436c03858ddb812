import os
import signal
import socket
import subprocess
import sys
import threading
import time

import jax
import pytest

from matting_jax.stopping import Stopped, stop_signal
from matting_jax.tasks.task import mad
from matting_jax.training import train as training
from matting_jax.training.train import train
from matting_jax.workdir import checkpoint
from matting_jax.workdir.claim import claim, claim_alone
from tests.helpers import ROOT, assert_same, scores_of

SIGNALS = (signal.SIGTERM, signal.SIGINT)
CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}


def steps_of(workdir):
    return sorted(checkpoint.open_checkpoints(workdir, mad, reading=True).all_steps())


def batches_that_raise(monkeypatch, numbers, step):
    """Makes the data of `step` raise signals."""
    original = training.train_batches

    def batches(*arguments):
        for done, batch in enumerate(original(*arguments), 1):
            if done == step:
                for number in numbers:
                    signal.raise_signal(number)
            yield batch

    monkeypatch.setattr(training, "train_batches", batches)


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_ends_a_run_after_its_step_which_is_saved_and_resumed_from(
    finished, config, tmp_path, monkeypatch, number
):
    whole, _, expected = finished
    config.save_every = 0
    before = [signal.getsignal(number) for number in SIGNALS]
    with monkeypatch.context() as patch:
        batches_that_raise(patch, [number], step=2)
        with pytest.raises(Stopped, match="saved at step 2 of 4; the same command") as stopped:
            train(config, tmp_path / "run")
    assert stopped.value.exit_code == CODES[number]
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert steps_of(tmp_path / "run") == [2]
    assert_same(jax.device_get(train(config, tmp_path / "run")), expected)
    assert scores_of(tmp_path / "run") == scores_of(whole)


@pytest.mark.parametrize("error", [ValueError, FloatingPointError, MemoryError, SystemExit])
def test_save_that_began_is_finished_before_an_error_ends_the_run(
    config, tmp_path, monkeypatch, error
):
    config.steps, config.save_every, config.evaluate_every, config.ema_decay = 20, 10, 0, 0.0
    original = training.train_batches

    def batches(*arguments):
        for step, batch in enumerate(original(*arguments), 1):
            if step == 11:
                raise error("broken.png cannot be read")
            yield batch

    monkeypatch.setattr(training, "train_batches", batches)
    with pytest.raises(error, match=r"^broken.png cannot be read$"):
        train(config, tmp_path / "run")
    assert steps_of(tmp_path / "run") == [10]
    assert not list((tmp_path / "run" / "checkpoints").glob("*tmp*"))
    assert checkpoint.load_variables(tmp_path / "run").keys() >= {"params", "batch_stats"}


def test_error_of_a_save_does_not_hide_the_one_that_ended_the_loop(caplog):
    class Checkpoints:
        directory = "runs"

        def wait_until_finished(self):
            raise OSError("unplugged")

    with pytest.raises(ValueError, match="broken"), checkpoint.finish_saves(Checkpoints()):
        raise ValueError("broken")
    assert "could not be saved in runs: OSError: unplugged; the ones before" in caplog.text
    with pytest.raises(OSError, match="unplugged"), checkpoint.finish_saves(Checkpoints()):
        pass


@pytest.mark.parametrize("words", ["[Errno 28] No space left on device", "os: No space left ..."])
def test_full_disk_is_one_sentence_with_the_folder(words, caplog):
    class Checkpoints:
        directory = "runs/checkpoints"

        def wait_until_finished(self):
            raise ValueError(words)

    expected = (
        "could not be saved in runs/checkpoints: the disk is full: free some space and run the "
        "command again; the ones before it are whole"
    )
    with pytest.raises(checkpoint.SaveError, match=expected):
        with checkpoint.finish_saves(Checkpoints()):
            pass
    # A save that failed in the loop is reported once.
    with pytest.raises(checkpoint.SaveError), checkpoint.finish_saves(Checkpoints()):
        with checkpoint.plain_errors(Checkpoints()):
            raise OSError(words)
    assert not caplog.text


def test_workdir_of_a_running_program_is_refused(config, tmp_path):
    claim(tmp_path / "run", config)
    with (
        claim_alone(tmp_path / "run", config),
        pytest.raises(ValueError, match="another program is training"),
    ):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_second_signal_stops_immediately(config, tmp_path, monkeypatch):
    batches_that_raise(monkeypatch, [signal.SIGINT, signal.SIGINT], step=2)
    with pytest.raises(KeyboardInterrupt) as stopped:
        train(config, tmp_path / "run")
    assert not isinstance(stopped.value, Stopped)
    assert 2 not in steps_of(tmp_path / "run")


def test_signal_in_the_last_step_does_not_change_how_a_run_ends(
    config, tmp_path, monkeypatch, finished
):
    batches_that_raise(monkeypatch, [signal.SIGTERM], step=4)
    assert_same(jax.device_get(train(config, tmp_path / "run")), finished[2])


@pytest.fixture
def heard():
    """The signals that reached the handlers which the caller of a run had installed."""
    heard = []
    before = {n: signal.signal(n, lambda number, frame: heard.append(number)) for n in SIGNALS}
    yield heard
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_only_the_first_signal_within_the_block_is_caught(heard, number):
    signal.raise_signal(number)
    assert heard == [number]
    with stop_signal() as asked:
        assert asked(1) == 0
        signal.raise_signal(number)
        assert asked(1) == asked(2) == number and heard == [number]
        signal.raise_signal(number)
        assert heard == [number] * 2
    signal.raise_signal(number)
    assert heard == [number] * 3


def test_handlers_are_restored_after_an_error(heard):
    with pytest.raises(ValueError), stop_signal():
        raise ValueError
    signal.raise_signal(signal.SIGTERM)
    assert heard == [signal.SIGTERM]


def test_signal_that_was_ignored_stays_ignored(heard):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with stop_signal() as asked:
        signal.raise_signal(signal.SIGINT)
        assert asked(1) == 0
        signal.raise_signal(signal.SIGTERM)
        assert asked(1) == signal.SIGTERM


def test_thread_and_job_do_not_change_the_handlers(heard):
    def in_thread():
        with stop_signal() as asked:
            signal.raise_signal(signal.SIGTERM)
            answers.append(asked(1))

    answers = []
    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    with stop_signal(lambda step: step == 3) as asked:
        signal.raise_signal(signal.SIGINT)
        answers += [asked(2), asked(3)]
    assert answers == [0, 0, signal.SIGTERM] and heard == [signal.SIGTERM, signal.SIGINT]


def start(workdir, **variables):
    """Starts the training of a workdir in a separate process."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.launch_tiny", f"--workdir={workdir}"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"} | variables,
    )


def endless(config, workdir):
    config.steps = 1_000_000
    config.log_every, config.save_every, config.evaluate_every = 1, 0, 0
    claim(workdir, config)


def wait_for_lines(workdir, count, program):
    """Waits until the log of a run has `count` lines."""
    log = workdir / "metrics.jsonl"
    end = time.monotonic() + 300
    while not log.exists() or len(log.read_text().splitlines()) < count:
        assert program.poll() is None, program.stderr.read()[-4000:]
        assert time.monotonic() < end, "the run makes no progress"
        time.sleep(0.05)


@pytest.mark.slow
def test_program_reports_in_one_line_where_it_stopped_and_resumes_there(config, tmp_path):
    workdir = tmp_path / "run"
    endless(config, workdir)
    last = 0
    for number in SIGNALS:
        program = start(workdir)
        wait_for_lines(workdir, last + 3, program)
        program.send_signal(number)
        _, errors = program.communicate(timeout=60)
        assert program.returncode == CODES[number], errors
        first, last = last, max(steps_of(workdir))
        assert last > first
        said = f"{number.name}: saved at step {last} of 1000000; the same command resumes it"
        assert errors.splitlines()[-1] == f"launch_tiny.py: {said}" and "Traceback" not in errors


@pytest.mark.slow
def test_second_signal_ends_a_program_that_saves_within_seconds(config, tmp_path):
    workdir = tmp_path / "run"
    endless(config, workdir)
    config.save_every = 1
    claim(workdir, config)
    for gap in (0.0, 0.3, 1.0):
        last = len((workdir / "metrics.jsonl").read_text().splitlines()) if gap else 0
        program = start(workdir)
        wait_for_lines(workdir, last + 3, program)
        program.send_signal(signal.SIGINT)
        time.sleep(gap)
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=20)
        assert program.returncode == 130 and "Traceback" not in errors, errors


@pytest.mark.slow
def test_processes_of_a_job_stop_after_the_same_step(config, tmp_path):
    workdir = tmp_path / "run"
    config.batch_size = 4
    endless(config, workdir)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    job = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    programs = [start(workdir, JAX_PROCESS_ID=str(index), **job) for index in range(2)]
    wait_for_lines(workdir, 4, programs[0])
    programs[1].send_signal(signal.SIGTERM)
    errors = [program.communicate(timeout=120)[1] for program in programs]
    assert [program.returncode for program in programs] == [143, 143], errors
    (step,) = steps_of(workdir)
    for text in errors:
        assert f"SIGTERM: saved at step {step} of" in text


# The main thread computes without Python for half a minute; a thread or a destructor never ends.
BUSY = "import hashlib; hashlib.pbkdf2_hmac('sha512', b'', b'', 50_000_000)"
THREAD = "threading.Thread(target=threading.Event().wait).start(); end_with(lambda: 130)"
DESTRUCTOR = """
class Waiting:
    def __del__(self):
        threading.Event().wait()

waiting = Waiting()
end_with(lambda: print("done") or 1)
"""
INTERRUPTED = """
import signal
from matting_jax.stopping import keep_from_interrupts

class Interrupted:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

def run():
    local = Interrupted()
    keep_from_interrupts()
    return print("done") or 130

end_with(run)
"""


@pytest.mark.parametrize(
    ("code", "signals", "ends"),
    [
        (BUSY, 2, (130, b"", b"x.py: stopped\n")),
        (THREAD, 0, (130, b"", b"")),
        (DESTRUCTOR, 0, (1, b"done\n", b"")),
        (INTERRUPTED, 0, (130, b"done\n", b"")),
    ],
)
def test_process_ends_soon_whatever_it_left_undone(code, signals, ends):
    start = "import threading; from matting_jax.stopping import end_with, watch_signals"
    code = f"{start}; watch_signals('x.py'); print('ready', flush=True)\n{code}"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    program = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, bufsize=0, **pipes)
    assert program.stdout.readline() == b"ready\n"
    time.sleep(0.2)
    for _ in range(signals):
        program.send_signal(signal.SIGINT)
        time.sleep(0.1)
    output = program.communicate(timeout=20)
    assert (program.returncode, *output) == ends
