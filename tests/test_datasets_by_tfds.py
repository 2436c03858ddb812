"""TFDS's own checks of the builders, on few and small files; they need the package dill."""

import shutil
import tempfile
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from matting_jax.data import builders
from tests.test_datasets_composition_1k import draw

pytest.importorskip("dill")


class Prepared(tfds.testing.DatasetBuilderTestCase):
    """Composition-1k, as it is laid out by hand."""

    __test__ = False
    DATASET_CLASS = builders._builder_class(builders.CHECKOUT / "composition_1k")

    @classmethod
    def setUpClass(cls):
        cls.EXAMPLE_DIR = draw(Path(tempfile.mkdtemp()))
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        shutil.rmtree(cls.EXAMPLE_DIR)

    def test_registered(self):
        self.assertNotIn("composition_1k", tfds.list_builders(with_community_datasets=False))


class ForegroundsTest(Prepared):
    __test__ = True
    BUILDER_CONFIG_NAMES_TO_TEST = ["foregrounds"]
    SPLITS = {"train": 4}


class CompositesTest(Prepared):
    __test__ = True
    BUILDER_CONFIG_NAMES_TO_TEST = ["composites"]
    SPLITS = {"test": 40}
