"""The command that writes denoised copies."""

import sys

import numpy as np
import pytest
from PIL import Image

from matting_jax.data.estimated import denoise
from tests.goldens import synth


def photo(deviation, height=96, width=120):
    """Returns a clean and a noisy image, uint8: smooth colours with one sharp edge."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    clean = np.stack([90 + 60 * np.sin(x / 25), 120 + 0 * x, 100 + 50 * np.cos(y / 20)], -1)
    clean[:, width // 2 :] += 40
    noisy = clean + deviation * rng.standard_normal(clean.shape)
    return clean, np.rint(np.clip(noisy, 0, 255)).astype(np.uint8)


@pytest.mark.parametrize("deviation", [2, 5, 12])
def test_deviation_of_the_noise_is_estimated(deviation):
    assert denoise.noise_deviation(photo(deviation)[1]) == pytest.approx(deviation, rel=0.15)


def test_deviation_is_0_without_noise():
    assert denoise.noise_deviation(np.full((9, 9, 3), 7, np.uint8)) == 0
    assert denoise.noise_deviation(np.full((1, 9, 3), 7, np.uint8)) == 0


def test_noise_is_removed_and_edges_are_kept():
    pytest.importorskip("skimage")
    clean, noisy = photo(10)
    quiet = denoise.denoise(noisy)
    errors = [np.sqrt(np.mean((image - clean) ** 2)) for image in (noisy, quiet)]
    assert errors[1] < 0.4 * errors[0]
    step = quiet[:, 60].astype(float).mean(0) - quiet[:, 59].astype(float).mean(0)
    assert np.all(step > 25)


def test_folder_is_copied_once_with_its_transparency(tmp_path, capsys):
    pytest.importorskip("skimage")
    folder, output = tmp_path / "photos", tmp_path / "quiet"
    (folder / "below").mkdir(parents=True)
    _, noisy = photo(10, 24, 32)
    alpha = np.rint(255 * synth.image(24, 32, 1, 1, 0)[0]).astype(np.uint8)
    Image.fromarray(noisy).save(folder / "below" / "a.jpg", quality=95)
    Image.fromarray(np.dstack([noisy, alpha])).save(folder / "b.png")
    command = [str(folder), "--output", str(output), "--workers", "1"]
    assert denoise.main(command) == 0
    assert "2 copies written" in capsys.readouterr().out
    copy = np.asarray(Image.open(output / "b.png"))
    np.testing.assert_array_equal(copy[..., 3:], alpha)
    np.testing.assert_array_equal(copy[..., :3], denoise.denoise(noisy))
    assert Image.open(output / "below" / "a.png").mode == "RGB"
    assert denoise.main(command) == 0
    assert "0 copies written" in capsys.readouterr().out


def test_unreadable_files_are_reported_and_the_others_written(tmp_path, capsys):
    pytest.importorskip("skimage")
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"no picture")
    Image.new("RGB", (8, 8), (9, 9, 9)).save(folder / "b.png")
    assert denoise.main([str(folder), "--workers", "1"]) == 1
    assert f"cannot read the image {folder}/a.jpg" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "photos_denoise").iterdir()] == ["b.png"]


def test_errors_are_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    assert denoise.main([str(tmp_path), "--output", str(tmp_path / "out")]) == 1
    assert "pip install 'matting_jax[denoise]'" in capsys.readouterr().err
    with pytest.raises(ValueError, match="has no image file"):
        denoise.denoise_folder(tmp_path, tmp_path / "out", 1)
    with pytest.raises(ValueError, match=f"there is no folder {tmp_path}/x"):
        denoise.denoise_folder(tmp_path / "x", tmp_path / "out", 1)
    for suffix in ("png", "jpg"):
        Image.new("RGB", (4, 4)).save(tmp_path / f"a.{suffix}")
    with pytest.raises(ValueError, match="have the same copy: rename one"):
        denoise.denoise_folder(tmp_path, tmp_path / "out", 1)
