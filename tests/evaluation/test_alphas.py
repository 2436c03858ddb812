import jax
import numpy as np
import pytest
from PIL import Image

from matting_jax.data.evaluation import evaluation_images, names_test_data
from matting_jax.evaluation.alphas import predictions, score_alphas, select_inputs
from matting_jax.prediction.matter import Matter
from matting_jax.prediction.programs import Needed, Program, Programs
from matting_jax.training.state import initial_variables, training_model
from tests.helpers import Quarter

ALPHAS = (0, 40, 80)  # of the test images of tiny_plates, which have one value each
HEIGHT, WIDTH = 24, 20


@pytest.fixture
def fields(config, plates, tmp_path):
    """The fields of config.data.test that name the same three alphas in each of the three ways."""
    for number, value in enumerate(ALPHAS):
        image = Image.fromarray(np.full((HEIGHT, WIDTH, 3), 100 + number, np.uint8))
        for folder, picture in (
            ("image", image),
            ("fg", image),
            ("alpha", Image.new("L", (WIDTH, HEIGHT), value)),
        ):
            (tmp_path / folder).mkdir(exist_ok=True)
            picture.save(tmp_path / folder / f"{number}.png")
    (tmp_path / "list.txt").write_text("".join(f"fg/{i}.png\n" for i in range(len(ALPHAS))))
    config.data.directory = str(plates[1])
    return {
        "images": {"images": str(tmp_path)},
        "dataset": {"dataset": "tiny_plates"},
        "list": {"list": str(tmp_path / "list.txt")},
    }


@pytest.mark.parametrize("field", ["images", "dataset", "list"])
def test_alphas_of_a_folder_a_data_set_or_a_list_are_scored(config, plates, fields, field):
    config.data.test.update(images="", dataset="", list="")
    assert not names_test_data(config)
    config.data.test.update(fields[field])
    assert names_test_data(config)
    images = evaluation_images(config, plates[0])
    scores, pictures = score_alphas(Quarter(), images, config, 0)
    errors = np.abs(0.25 - np.array(ALPHAS) / 255)
    assert scores == pytest.approx(
        {
            "sad": errors.mean() * HEIGHT * WIDTH / 1000,
            "mse": (errors**2).mean(),
            "mad": errors.mean(),
        },
        rel=1e-6,
    )
    assert pictures == []


def test_missing_input_of_a_test_image_is_reported_with_its_folder(config, fields):
    config.data.test.update(fields["images"])
    matter = Quarter()
    matter.name, matter.needs = "quarter", ("background",)
    with pytest.raises(ValueError, match="quarter needs a background for the test image 0: put it"):
        select_inputs(matter, evaluation_images(config)[0])


class Mean(Quarter):
    """A matter that predicts the mean of the photo, by one program for each height."""

    def __init__(self):
        self.programs = Programs("mean", lambda _, inputs, heads: inputs["image"].mean(-1))
        self.programs.variables = {}

    def __call__(self, photo):
        image = np.divide(photo, 255, dtype=np.float32)[None]
        return np.asarray(self.programs.run((), {"image": image}))[0]

    def list_programs(self, height, width):
        return [Needed(self.programs, Program((), (("image", (1, height, width, 3)),)))]


@pytest.mark.parametrize("field", ["images", "list"])
def test_programs_of_test_images_are_known_ahead_and_kept(config, fields, tmp_path, field, caplog):
    caplog.set_level("INFO", "matting_jax")
    for number, height in enumerate((9, 12, 9)):
        for folder, mode in (("image", "RGB"), ("fg", "RGB"), ("alpha", "L")):
            image = np.full((height, 8, 3), 50 * number + 9, np.uint8)
            Image.fromarray(image).convert(mode).save(tmp_path / folder / f"{number}.png")
    config.data.test.update({"images": "", "list": "", **fields[field]})
    matter, images = Mean(), evaluation_images(config)
    for _ in range(2):
        found = list(predictions(matter, images))
        assert [(number, image.name) for number, image, _ in found] == [
            (0, "0"),
            (2, "2"),
            (1, "1"),
        ]
        for _, image, alpha in found:
            np.testing.assert_allclose(alpha, image.image[..., 0] / 255, rtol=1e-6)
    messages = [x for x in caplog.messages if "mean" in x]
    assert messages[0] == "the photos need mean at 2 sizes, each compiled once"
    assert sum(x.startswith("compiling mean for ") for x in messages) == 2
    assert len(messages) == 5


def test_scores_and_pictures_of_one_size_are_one_program(config, fields):
    config.data.test.update(fields["images"])
    variables = initial_variables(config, training_model(config))
    images, compiled = evaluation_images(config), []
    matter = Matter("tiny", variables, test_time=config.test_time)

    def count(event, seconds, fun_name="", **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(fun_name)

    jax.monitoring.register_event_duration_secs_listener(count)
    scores, pictures = score_alphas(matter, images, config, 2)
    jax.monitoring.unregister_event_duration_listener(count)
    assert len(images) == 3 and len(pictures) == 2 and len(compiled) == 1
    alpha, heads = matter.alpha_and_heads(images[0].image)
    np.testing.assert_array_equal(alpha, matter(images[0].image))
    np.testing.assert_array_equal(pictures[0]["alpha"][..., 0], alpha)
    other = Matter("tiny", variables, test_time=config.test_time)
    np.testing.assert_allclose(alpha, other(images[0].image), atol=1e-6)
    expected = other.heads(images[0].image)
    assert heads.keys() == expected.keys()
    for name, head in heads.items():
        np.testing.assert_allclose(head, expected[name], atol=1e-6)
    assert scores == pytest.approx(score_alphas(other, images, config, 0)[0], abs=1e-6)
