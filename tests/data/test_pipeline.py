import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matting_jax.config import defaults
from matting_jax.data import train_batches, train_source
from matting_jax.data.sources import Composites, Photos


@dataclasses.dataclass(frozen=True)
class Numbers:
    """A source whose samples contain their record and their random numbers."""

    count: int
    channels = {"foreground": 3, "alpha": 1}

    def __len__(self):
        return self.count

    def sample(self, record, rng, crop):
        shape = (crop.size, crop.size)
        return {
            "foreground": np.full((*shape, 3), record, np.uint8),
            "alpha": rng.integers(0, 256, (*shape, 1), np.uint8),
        }


def config_of(seed=0, batch_size=4, workers=2, size=4):
    config = defaults()
    config.seed, config.batch_size, config.data.workers = seed, batch_size, workers
    config.data.crop.update(size=size, rescale=(3, 9))
    return config


def noise_source():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (30 + i, 40, 4), np.uint8) for i in range(7)]
    return Composites(
        [(image[..., :3], image[..., 3]) for image in images], [i[..., :3] for i in images], "noise"
    )


def records(source, config, first, last, **process):
    batches = train_batches(source, config, first, last, **process)
    return np.concatenate([batch["foreground"][:, 0, 0, 0] for batch in batches])


def assert_equal(batches, expected):
    batches, expected = list(batches), list(expected)
    assert len(batches) == len(expected) > 0
    for one, other in zip(batches, expected, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_batch_holds_named_arrays():
    config = config_of(size=16)
    (batch,) = train_batches(noise_source(), config, 3, 4)
    assert {name: (value.shape, value.dtype.name) for name, value in batch.items()} == {
        "foreground": ((4, 16, 16, 3), "uint8"),
        "alpha": ((4, 16, 16, 1), "uint8"),
        "background": ((4, 16, 16, 3), "uint8"),
        "index": ((4,), "int32"),
    }
    assert batch["index"].tolist() == [12, 13, 14, 15]


def test_real_photos_batch_holds_image_and_alpha():
    photos = Photos(noise_source().foregrounds, "noise")
    (batch,) = train_batches(photos, config_of(size=16), 0, 1)
    assert set(batch) == {"image", "alpha", "index"}


def test_resumed_run_sees_the_batches_of_the_uninterrupted_one():
    source, config = noise_source(), config_of(size=16)
    whole = list(train_batches(source, config, 0, 6))
    assert_equal(train_batches(source, config, 3, 6), whole[3:])


def test_processes_share_each_global_batch():
    source, config = noise_source(), config_of(size=16)
    parts = [list(train_batches(source, config, 1, 4, p, 2)) for p in range(2)]
    joined = [
        {name: np.concatenate([one[name], other[name]]) for name in one}
        for one, other in zip(*parts, strict=True)
    ]
    assert_equal(joined, train_batches(source, config, 1, 4))


def test_batches_do_not_depend_on_the_number_of_threads():
    one, many = (config_of(size=16, workers=workers) for workers in (1, 5))
    source = noise_source()
    assert_equal(train_batches(source, one, 0, 5), train_batches(source, many, 0, 5))


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 25), st.integers(1, 9), st.integers(0, 2**31), st.integers(0, 3))
def test_every_record_is_used_once_per_epoch(count, batch_size, seed, epoch):
    config = config_of(seed, batch_size)
    first, last = epoch * count // batch_size, -(-(epoch + 1) * count // batch_size)
    seen = records(Numbers(count), config, first, last)[epoch * count - first * batch_size :]
    assert sorted(seen[:count]) == list(range(count))


def test_order_depends_on_epoch_and_seed():
    orders = {
        tuple(records(Numbers(20), config_of(seed), e, e + 1)) for seed in (0, 1) for e in (0, 5)
    }
    assert len(orders) == 4


def test_each_epoch_draws_new_crops_of_a_record():
    first, second = train_batches(Numbers(4), config_of(), 0, 2)
    order = [b["foreground"][:, 0, 0, 0].argsort() for b in (first, second)]
    crops = [b["alpha"][o] for b, o in zip((first, second), order, strict=True)]
    assert (crops[0] != crops[1]).any((1, 2, 3)).all()


def test_no_steps_give_no_batches():
    assert list(train_batches(Numbers(4), config_of(), 5, 5)) == []


def test_batch_size_must_be_a_multiple_of_the_processes():
    with pytest.raises(ValueError, match="batch_size=4 .* 3 processes"):
        train_batches(Numbers(4), config_of(), 0, 1, 0, 3)


def test_invalid_crop_raises_before_the_first_batch():
    config = config_of()
    config.data.crop.around = "nowhere"
    with pytest.raises(ValueError, match="config.data.crop.around"):
        train_batches(Numbers(4), config, 0, 1)


def test_error_contains_the_name_of_a_deleted_file(config, photos):
    config.data.train.images = str(photos)
    source = train_source(config)
    (photos / "image" / "c.png").unlink()
    with pytest.raises(ValueError, match="c.png: no such file") as error:
        list(train_batches(source, config, 0, 3))
    assert "Traceback" not in str(error.value)
