import pytest

from matting_jax.benchmark import steps
from tests.helpers import MODNET


@pytest.mark.parametrize("arguments", [["configs/modnt.py"], [str(MODNET), "--config.stps=3"]])
def test_unknown_recipes_and_fields_are_named(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        steps.main(arguments)
    assert error.value.code == 2
    assert "did you mean" in capsys.readouterr().err
