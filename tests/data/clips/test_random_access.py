import numpy as np
import pytest
from PIL import Image

from matting_jax.data.clips.random_access import find_photos, list_frames, read_frame
from matting_jax.data.clips.reader import open_clip
from matting_jax.data.training import unlabelled_photos
from tests.clips import TIMES, composites, moving_alpha, write_clip


def test_each_frame_can_be_read_alone_and_in_any_order(tmp_path):
    """Several key frames, and frames that depend on later ones."""
    options = {"g": "5", "bf": "2", "crf": "10"}
    path = write_clip(tmp_path / "a.mp4", composites(moving_alpha()), times=TIMES, options=options)
    expected = [frame.image for frame in open_clip(path).read()]
    frames = list_frames(path)
    assert len(frames) == 12
    for number in (11, 0, 7, 4, 5, 1):
        np.testing.assert_array_equal(read_frame(frames[number]), expected[number])


def test_photos_and_frames_of_clips_are_one_source(config, tmp_path):
    folder = tmp_path / "mixed"
    (folder / "deep").mkdir(parents=True)
    write_clip(folder / "deep" / "a.mkv", composites(moving_alpha(4)), "ffv1", "bgra")
    config.data.train.dataset, config.data.train.photos = "", str(folder)
    config.data.crop.around = "anywhere"
    source = unlabelled_photos(config)
    assert len(source) == 4 and source.description.startswith("4 photos without alpha, with the")
    np.testing.assert_array_equal(source.photos[2], composites(moving_alpha(4))[2])
    assert source.sample(3, np.random.default_rng(0), config.data.crop)["image"].shape == (
        32,
        32,
        3,
    )
    Image.new("RGB", (50, 40), "red").save(folder / "photo.png")
    assert len(unlabelled_photos(config)) == 5
    (folder / "broken.mp4").write_bytes(b"no clip")
    with pytest.raises(ValueError, match=r"1 fault in config.data.train.photos.*skip_bad"):
        unlabelled_photos(config)
    config.data.skip_bad = True
    assert len(unlabelled_photos(config)) == 5
    with pytest.raises(ValueError, match="no image file"):
        (tmp_path / "empty").mkdir()
        find_photos(tmp_path / "empty", "config.data.train.photos", tmp_path / "cache", 1)
