"""The benchmark of exported files prints their size, error and time."""

from matting_jax.benchmark import export


def test_format_gets_a_row_with_its_error_and_time(capsys, monkeypatch):
    monkeypatch.setattr(export, "keep_freed_memory", lambda: None)
    export.main(["tiny_trimap", "--size=32x64", "--runs=1", "--formats", ".stablehlo"])
    _, row = capsys.readouterr().out.splitlines()
    network, extension, size, _, error, seconds, _, by_jax, _ = row.split()
    assert (network, extension) == ("tiny_trimap", ".stablehlo")
    assert 0 <= float(size) < 0.1 and float(error) < 1e-6
    assert float(seconds) >= 0 and float(by_jax) >= 0
