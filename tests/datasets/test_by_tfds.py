"""TFDS's builder tests on small data; they need the package dill."""

import shutil
import tempfile
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from matting_jax.data.prepared import builders
from tests.datasets.layouts import bgmv2, by_name, composition_1k, distinctions_646

pytest.importorskip("dill")


class Prepared(tfds.testing.DatasetBuilderTestCase):
    """Tests one config of a data set in the owners' layout."""

    __test__ = False
    DATASET_CLASS = builders.builder_class(builders.CHECKOUT / "composition_1k")
    LAID_OUT = composition_1k

    @classmethod
    def setUpClass(cls):
        cls.EXAMPLE_DIR = cls.LAID_OUT.draw(Path(tempfile.mkdtemp()))
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        shutil.rmtree(cls.EXAMPLE_DIR)

    def test_registered(self):
        known = tfds.list_builders(with_community_datasets=False)
        self.assertNotIn(self.DATASET_CLASS.name, known)


class Composition1kForegroundsTest(Prepared):
    __test__ = True
    BUILDER_CONFIG_NAMES_TO_TEST = ["foregrounds"]
    SPLITS = {"train": 4}


class Composition1kCompositesTest(Prepared):
    __test__ = True
    BUILDER_CONFIG_NAMES_TO_TEST = ["composites"]
    SPLITS = {"test": 40}


class PreparedDistinctions(Prepared):
    DATASET_CLASS = builders.builder_class(builders.CHECKOUT / "distinctions_646")
    LAID_OUT = distinctions_646


class Distinctions646ForegroundsTest(PreparedDistinctions):
    __test__ = True
    BUILDER_CONFIG_NAMES_TO_TEST = ["foregrounds"]
    SPLITS = {"train": 4}


class Distinctions646CompositesTest(PreparedDistinctions):
    __test__ = True
    BUILDER_CONFIG_NAMES_TO_TEST = ["composites"]
    SPLITS = {"test": 60}


class PreparedByName(Prepared):
    LAID_OUT = by_name


class Am2kForegroundsTest(PreparedByName):
    __test__ = True
    DATASET_CLASS = builders.builder_class(builders.CHECKOUT / "am2k")
    BUILDER_CONFIG_NAMES_TO_TEST = ["foregrounds_denoised"]
    SPLITS = {"train": 3}


class P3m10kValidationTest(PreparedByName):
    __test__ = True
    DATASET_CLASS = builders.builder_class(builders.CHECKOUT / "p3m10k")
    BUILDER_CONFIG_NAMES_TO_TEST = ["validation"]
    SPLITS = {"p3m_500_p": 2, "p3m_500_np": 1}


class Bg20kTest(PreparedByName):
    __test__ = True
    DATASET_CLASS = builders.builder_class(builders.CHECKOUT / "bg20k")
    BUILDER_CONFIG_NAMES_TO_TEST = ["backgrounds"]
    SPLITS = {"train": 3, "testval": 2}


class Ppm100Test(PreparedByName):
    __test__ = True
    DATASET_CLASS = builders.builder_class(builders.CHECKOUT / "ppm100")
    SPLITS = {"test": 2}


class Aim500Test(PreparedByName):
    __test__ = True
    DATASET_CLASS = builders.builder_class(builders.CHECKOUT / "aim500")
    SPLITS = {"test": 2}


class Videomatte240kTest(Prepared):
    __test__ = True
    DATASET_CLASS = builders.builder_class(builders.CHECKOUT / "videomatte240k")
    LAID_OUT = bgmv2
    BUILDER_CONFIG_NAMES_TO_TEST = ["sd"]
    SPLITS = {"train": 3, "test": 2}


class Photomatte85Test(Prepared):
    __test__ = True
    DATASET_CLASS = builders.builder_class(builders.CHECKOUT / "photomatte85")
    LAID_OUT = bgmv2
    SPLITS = {"test": 2}


class BackgroundsTest(Prepared):
    __test__ = True
    DATASET_CLASS = builders.builder_class(builders.CHECKOUT / "backgrounds")
    LAID_OUT = bgmv2
    SPLITS = {"train": 2, "valid": 2}
