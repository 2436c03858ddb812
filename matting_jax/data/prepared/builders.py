"""TFDS builders of the checkout's folder datasets/, or TFDS's own, read record by record."""

import difflib
import importlib.machinery
import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from etils import epath

from matting_jax.choices import one_of
from matting_jax.data.cpu import tensorflow

CHECKOUT = Path(__file__).resolve().parents[3] / "datasets"


def load_builder(name: str, data_dir: str = "", folder: str | Path = CHECKOUT):
    """Loads and prepares the data set `name`: FOLDER/NAME/NAME.py, else TFDS's own.

    `name` may end in one of the data set's configs, NAME/CONFIG. Returns the
    tfds.core.DatasetBuilder, prepared as array_record in `data_dir` ("": where TFDS keeps its
    data). Raises ValueError when there is none of the name, which names the nearest, and when it
    cannot be downloaded.
    """
    import tensorflow_datasets as tfds

    folder = Path(folder).resolve()
    own, _, variant = name.partition("/")
    if (folder / own / f"{own}.py").is_file():
        builder = _own_builder(folder / own, variant, data_dir)
    else:
        # Community data sets would be asked for on the network.
        known = tfds.list_builders(with_community_datasets=False)
        if re.split("[/:]", name)[0] not in known:
            raise ValueError(_unknown(name, folder, known))
        builder = tfds.builder(name, data_dir=data_dir or None)
    if not builder.is_prepared():
        tensorflow()
        _prepare(builder, name)
    return builder


def _own_builder(folder: Path, variant: str, data_dir: str):
    builder_class = _builder_class(folder)
    if variant:
        one_of(variant, builder_class.builder_configs, f"config of the data set {folder.name}")
    return builder_class(data_dir=data_dir or None, config=variant or None)


def _prepare(builder, name: str) -> None:
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
    from tensorflow_datasets.core.download.util import DownloadError

    try:
        builder.download_and_prepare(file_format="array_record")
    # Of files that the owners hand out themselves TFDS asserts that they are there.
    except (AssertionError, OSError, DownloadError, NonMatchingChecksumError) as error:
        raise ValueError(
            f"The data set {name} cannot be downloaded and prepared in {builder.data_dir} "
            f"({' '.join(str(error).split())}): prepare it where there is a network and copy that "
            "folder, or give folders of images."
        ) from error


def records(builder, split: str) -> Sequence[dict]:
    """The records of a split by index, images left as encoded bytes.

    Raises ValueError, naming the splits there are, when there is none of the name, and when the
    data set was prepared in a format that cannot be read by index.
    """
    import tensorflow_datasets as tfds

    images = [n for n, f in builder.info.features.items() if isinstance(f, tfds.features.Image)]
    decoders = {name: tfds.decode.SkipDecoding() for name in images}
    try:
        return builder.as_data_source(split, decoders=decoders)
    except NotImplementedError:
        raise ValueError(
            f"The data set in {builder.data_dir} was not prepared as array_record: delete it, or "
            "give config.data.directory another folder."
        ) from None


def _builder_class(folder: Path):
    from tensorflow_datasets.core import registered

    name = folder.name
    package = f"matting_jax_datasets_{name}"
    # Unregistered, so that a data set may bear the name of one of TFDS's own.
    with registered.skip_registration():
        if package not in sys.modules or folder != Path(sys.modules[package].__path__[0]):
            _declare(package, folder)
        module = importlib.import_module(f"{package}.{name}")
    builder_class = getattr(module, "".join(word.capitalize() for word in name.split("_")))
    # TFDS cannot find this folder from the name of a module that was loaded by path.
    builder_class.pkg_dir_path = epath.Path(folder)
    return builder_class


def _declare(package: str, folder: Path) -> None:
    """Makes a folder a package of a name that no installed package bears."""
    for loaded in [name for name in sys.modules if f"{name}.".startswith(f"{package}.")]:
        del sys.modules[loaded]
    start = folder / "__init__.py"
    # TFDS asks the loader where the folder is, even of a folder without __init__.py.
    loader = importlib.machinery.SourceFileLoader(package, str(start))
    spec = importlib.util.spec_from_file_location(
        package, start, loader=loader, submodule_search_locations=[str(folder)]
    )
    sys.modules[package] = module = importlib.util.module_from_spec(spec)
    if start.exists():
        loader.exec_module(module)


def _unknown(name: str, folder: Path, builders: list[str]) -> str:
    here = sorted(path.parent.name for path in folder.glob("*/*.py") if _is_builder(path))
    nearest = difflib.get_close_matches(name, here + builders, n=1, cutoff=0.4)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return (
        f"There is no data set {name!r}: {folder} has {', '.join(here) or 'none'}, and TFDS "
        f"has none of that name.{hint}"
    )


def _is_builder(path: Path) -> bool:
    return path.stem == path.parent.name
