"""Loads TFDS builders, of the folder datasets/ or TFDS's own, and reads their records."""

from __future__ import annotations

import difflib
import importlib.machinery
import importlib.util
import io
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epath
from tqdm import tqdm

from matting_jax.caches import one_at_a_time
from matting_jax.choices import one_of
from matting_jax.data.cpu import tensorflow
from matting_jax.files import WriteError, shipped_folder, writing

if TYPE_CHECKING:  # slow to import
    import tensorflow_datasets as tfds

logger = logging.getLogger("matting_jax")

CHECKOUT = shipped_folder("datasets")


def load_builder(
    name: str, data_dir: str = "", folder: str | Path = CHECKOUT
) -> tfds.core.DatasetBuilder:
    """Loads the data set `name`, FOLDER/NAME/NAME.py or TFDS's own, and prepares it if needed.

    `name` may be NAME/CONFIG. The data set is prepared as array_record in `data_dir` ("": the
    default of TFDS). Raises ValueError if there is none of the name, or if it cannot be downloaded.
    """
    builder = create_builder(name, data_dir, folder)
    if not builder.is_prepared():
        tensorflow()
        root = Path(data_dir).expanduser() if data_dir else Path(tfds_directory())
        lock = root / f".{re.sub('[^A-Za-z0-9]+', '_', name)}.lock"
        with one_at_a_time(lock, f"prepares {name} in {root}"):
            # Again, since another program may have prepared it meanwhile.
            builder = create_builder(name, data_dir, folder)
            if not builder.is_prepared():
                prepare(builder, name, is_own(name, Path(folder)))
    return builder


def tfds_directory() -> str:
    """Returns TFDS's default folder of prepared data sets."""
    from tensorflow_datasets.core import constants

    return os.path.expanduser(constants.DATA_DIR)


def create_builder(name: str, data_dir: str, folder: str | Path) -> tfds.core.DatasetBuilder:
    """Returns the builder of the data set `name`, prepared or not; see `load_builder`."""
    import tensorflow_datasets as tfds

    folder = Path(folder).resolve()
    if is_own(name, folder):
        own, _, variant = name.partition("/")
        return own_builder(folder / own, variant, data_dir)
    # Listing community data sets would need the network.
    known = tfds.list_builders(with_community_datasets=False)
    if re.split("[/:]", name)[0] not in known:
        raise ValueError(unknown_message(name, folder, known))
    return tfds.builder(name, data_dir=data_dir or None)


def is_own(name: str, folder: Path) -> bool:
    """Returns whether the builder of the data set `name` is in `folder`."""
    own = name.partition("/")[0]
    return (folder / own / f"{own}.py").is_file()


def own_builder(folder: Path, variant: str, data_dir: str) -> tfds.core.DatasetBuilder:
    """Returns the builder in a folder, for one of its configs ("": the default)."""
    own_class = builder_class(folder)
    if variant:
        one_of(variant, own_class.builder_configs, f"config of the data set {folder.name}")
    return own_class(data_dir=data_dir or None, config=variant or None)


def prepare(builder: tfds.core.DatasetBuilder, name: str, own: bool) -> None:
    """Downloads and prepares a data set.

    Raises ValueError if that fails, WriteError if the disk is full. `own` builders download
    nothing, so that their examples are counted instead.
    """
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
    from tensorflow_datasets.core.download.util import DownloadError

    try:
        shown = counted_examples(builder, name) if own else nullcontext()
        with shown, writing(Path(builder.data_dir)):
            builder.download_and_prepare(file_format="array_record")
    except WriteError:
        raise
    # TFDS raises AssertionError if files to be downloaded by hand are missing.
    except (AssertionError, OSError, DownloadError, NonMatchingChecksumError) as error:
        raise ValueError(
            f"the data set {name} cannot be downloaded and prepared in {builder.data_dir} "
            f"({' '.join(str(error).split())}): prepare it on a machine with a network and copy "
            "that folder, or give folders of images"
        ) from error


@contextmanager
def counted_examples(builder: tfds.core.DatasetBuilder, name: str) -> Iterator[None]:
    """Shows one bar that counts examples while a builder runs, in place of TFDS's output.

    TFDS reports a download of unknown size, and a bar for each split and file.
    """
    import tensorflow_datasets as tfds

    logger.info(f"preparing the data set {name} in {builder.data_dir}, once")
    split_generators = builder._split_generators

    def counted(manager: Any) -> dict[str, Iterator]:
        def count(examples: Iterable) -> Iterator:
            for example in examples:
                yield example
                bar.update()

        return {split: count(examples) for split, examples in split_generators(manager).items()}

    builder._split_generators = counted
    tfds.disable_progress_bar()
    try:
        form = "{desc}: {n} images, {elapsed}"  # how many there will be is not known
        bar = tqdm(desc=f"prepare {name}", bar_format=form, leave=False, disable=None)
        with bar, redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()
        del builder._split_generators


def records(builder: tfds.core.DatasetBuilder, split: str) -> Sequence[dict]:
    """Returns the records of a split by index, with images as encoded bytes.

    Raises ValueError, with the valid splits, if there is none of the name, or if the data set was
    prepared in a format that cannot be read by index.
    """
    import tensorflow_datasets as tfds

    images = [n for n, f in builder.info.features.items() if isinstance(f, tfds.features.Image)]
    decoders = {name: tfds.decode.SkipDecoding() for name in images}
    try:
        return builder.as_data_source(split, decoders=decoders)
    except NotImplementedError:
        raise ValueError(
            f"the data set in {builder.data_dir} was not prepared as array_record: delete it, or "
            "set config.data.directory to another folder"
        ) from None


def builder_class(folder: Path) -> type[tfds.core.DatasetBuilder]:
    """Returns the class of the builder in a folder."""
    from tensorflow_datasets.core import registered

    name = folder.name
    package = f"matting_jax_datasets_{name}"
    # Unregistered, so that a data set may have the name of one of TFDS's own.
    with registered.skip_registration():
        if package not in sys.modules or folder != Path(sys.modules[package].__path__[0]):
            declare_package(package, folder)
        module = importlib.import_module(f"{package}.{name}")
    found = getattr(module, "".join(word.capitalize() for word in name.split("_")))
    # TFDS cannot find this folder from the name of a module that was loaded by path.
    found.pkg_dir_path = epath.Path(folder)
    return found


def declare_package(package: str, folder: Path) -> None:
    """Makes a folder an imported package, under a name that no installed package has."""
    for loaded in [name for name in sys.modules if f"{name}.".startswith(f"{package}.")]:
        del sys.modules[loaded]
    start = folder / "__init__.py"
    # TFDS asks the loader for the folder, even without an __init__.py.
    loader = importlib.machinery.SourceFileLoader(package, str(start))
    spec = importlib.util.spec_from_file_location(
        package, start, loader=loader, submodule_search_locations=[str(folder)]
    )
    sys.modules[package] = module = importlib.util.module_from_spec(spec)
    if start.exists():
        loader.exec_module(module)


def unknown_message(name: str, folder: Path, builders: Iterable[str]) -> str:
    """Returns the error message for an unknown data set, with the closest valid name."""
    here = sorted(path.parent.name for path in folder.glob("*/*.py") if is_builder(path))
    nearest = difflib.get_close_matches(name, [*here, *builders], n=1, cutoff=0.4)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return (
        f"there is no data set {name!r}: {folder} has {', '.join(here) or 'none'}, and TFDS "
        f"has none of that name{hint}"
    )


def is_builder(path: Path) -> bool:
    """Returns whether a file is the builder of its folder."""
    return path.stem == path.parent.name
