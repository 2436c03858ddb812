"""A network with its weights and its published test-time rule: photo in, alpha out."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from matting_jax.choices import one_of, refuse_input, require_input
from matting_jax.convert.identity import differences, recall
from matting_jax.image.geometry import padded_size
from matting_jax.models import CHANNELS, create_model, input_names, network_of
from matting_jax.models.layers.folding import fold
from matting_jax.prediction.inputs import as_float_image, as_float_trimap, size_of
from matting_jax.prediction.memory import find_remedy
from matting_jax.prediction.options import check_options
from matting_jax.prediction.padding import check_size_step, run_padded
from matting_jax.prediction.programs import Needed, Program, Programs, select_heads
from matting_jax.prediction.traces import trace_file
from matting_jax.prediction.trimap_from import make_trimap, rule_of
from matting_jax.prediction.video.alphas import predict_frames
from matting_jax.prediction.whole import run_whole

Images = dict[str, np.ndarray]


class Matter:
    """Predicts the alpha of photos with the network's published test-time rule.

    The rule runs on the host around the network, which is compiled, and logged, once per network
    size. A program of all outputs, compiled for `heads` or `alpha_and_heads`, also serves a call.

    Attributes:
        name: name of the network.
        model: its linen module.
        network: its record.
        takes: inputs in addition to the photo: "trimap", "background".
        needs: those of them that must be passed.
        variables: the variables, on the device.
    """

    def __init__(
        self,
        name: str,
        variables: Mapping[str, Any],
        *,
        test_time: Mapping[str, Any] | None = None,
        trimap_from: Matter | None = None,
        trimap_rule: Mapping[str, Any] | None = None,
        size_step: int = 0,
        **keywords: Any,
    ):
        """Creates the network and checks that it fits `trimap_from`.

        Warns if the variables were loaded from a run or a file that is known to use other keywords
        or options; `mj.load` uses theirs.

        Args:
            name: name of the network.
            variables: its variables, as `load_checkpoint` returns them.
            test_time: options of its test-time rule, e.g. `reference_size` of MODNet.
            trimap_from: makes the trimap of a photo that is passed without one.
            trimap_rule: replaces fields of its trimap rule: `head`, `sure`, `margin`.
            size_step: multiple to which both sides of a photo are padded as the rule pads them, for
                networks that get photos at their own size: photos of many sizes then need few
                programs; 0: only as much as the rule needs.
            **keywords: keywords of the network, those of `create_model`.

        Raises:
            ValueError: if `size_step` or `test_time` does not fit, or `trimap_from` makes no trimap
                or the network takes none.
        """
        self.name = name
        self.model = model = create_model(name, **keywords)
        self.network = network_of(model)
        self.takes = [x for x in input_names(model) if x != "image"]
        self.needs = [x for x in self.takes if x != "trimap" or trimap_from is None]
        self.trimap_from, self.trimap_rule = trimap_from, trimap_rule
        if trimap_from is not None:
            refuse_input("trimap", self.takes, name, "trimap_from")
            rule_of(trimap_from.name, trimap_rule)
        identity = recall(variables)
        if identity and (found := differences(identity, model, test_time or {})):
            warnings.warn(
                f"weights of {identity.label} with other options than their own: "
                f"{', '.join(found)}; mj.load() takes theirs",
                stacklevel=2,
            )
        self.options = check_options(name, test_time or {})
        self.size_step = check_size_step(size_step, name, model)
        self.rule = partial(run_padded, self.size_step, self.network.predict, model, self.options)
        self.programs = Programs(name, partial(select_heads, model, name))
        self.whole = Programs(
            f"{name} with its resizes", partial(run_whole, self.rule, self.programs.function)
        )
        self.whole.count_pixels = lambda program: max(
            math.prod(size) for size in self.list_passes(*program.size).values()
        )
        self.whole_sizes: frozenset[tuple[int, int]] = frozenset()
        self.programs.remedy = self.whole.remedy = find_remedy(model, name)
        self.set_variables(variables)

    @property
    def sizes(self) -> set[tuple[int, int]]:
        """The sizes that the network was compiled for."""
        return self.programs.sizes

    def set_variables(self, variables: Mapping[str, Any]) -> None:
        """Replaces the variables; nothing is compiled again."""
        self.variables = jax.device_put(dict(variables))
        self.programs.variables = self.whole.variables = jax.device_put(fold(self.variables))

    def keep_traces(self, folder: Path) -> None:
        """Keeps traced programs in `folder`, and uses those that are there."""
        self.programs.trace_file = partial(trace_file, folder, self.model)

    def __call__(
        self,
        photo: np.ndarray,
        *,
        trimap: np.ndarray | None = None,
        background: np.ndarray | None = None,
    ) -> np.ndarray:
        """Predicts the alpha of one photo.

        Args:
            photo: uint8 or float in [0, 1], [H, W, 3].
            trimap: uint8 (below 85 background, from 170 foreground, else unknown) or float in
                [0, 1] with the same thirds, [H, W]; if the network takes one.
            background: the place without the subject, as the photo; if the network takes one.

        Returns:
            Alpha [H, W] float32 in [0, 1], known pixels set from the trimap; for a segmentation
            network, class probabilities [H, W, num_classes].

        Raises:
            ValueError: for a wrong shape, dtype or range, and for a missing or unexpected input.
        """
        images = self.checked(photo, trimap, background)
        return self.finish(self.run_rule(images), images)

    def resize_on_device(self, sizes: Iterable[tuple[int, int]]) -> None:
        """Lets calls with photos of some sizes, height and width, run as one program for each.

        Photos of other sizes, and networks whose rule does not resize, are prepared on the host. So
        are photos whose program does not fit in memory. Results are equal to rounding.
        """
        if self.trimap_from is not None:
            self.trimap_from.resize_on_device(sizes)
        if self.network.passes is not None and self.network.padding is None:
            self.whole_sizes = frozenset(sizes)

    def run_rule(self, images: Images) -> np.ndarray:
        """Returns the output [H, W, C] of the rule for one photo."""
        if images["image"].shape[1:3] in self.whole_sizes:
            with suppress(MemoryError):  # the network's own program needs less
                return np.asarray(self.whole.run((), images))[0]
        return self.rule(self.apply, **images)[0]

    def video(
        self,
        frames: Iterable[np.ndarray],
        *,
        background: np.ndarray | None = None,
        smooth: float | None = None,
        batch: int = 1,
    ) -> Iterator[np.ndarray]:
        """Yields the alpha of each frame, [H, W] float32 in [0, 1], with few frames in memory.

        The test-time rule is compiled whole for the frames' size. Equal to calls to rounding.

        Args:
            frames: uint8 [H, W, 3], all of one size, read one ahead.
            background: the place without the subject, as a frame; if the network takes one.
            smooth: threshold of MODNet's one-frame delay, 0.1 in its paper; None: not smoothed.
            batch: frames that are computed together; more than one only helps on accelerators.

        Raises:
            ValueError: for a wrong shape, dtype or size, and for a missing or unexpected input.
        """
        return predict_frames(self, frames, background=background, smooth=smooth, batch=batch)

    def cut_out(
        self,
        photo: np.ndarray,
        *,
        trimap: np.ndarray | None = None,
        background: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Predicts the alpha of one photo and the foreground colours of the network, in one pass.

        Takes what a call takes. Returns alpha [H, W] and foreground [H, W, 3], both float32 in
        [0, 1]. Raises ValueError for a network that predicts no foreground colours.
        """
        if self.network.foreground is None:
            raise ValueError(f"{self.name} predicts no foreground colours: estimate them")

        def apply(head: str, **inputs: np.ndarray) -> np.ndarray:
            return np.asarray(self.programs.run((head, self.network.foreground), inputs))

        images = self.checked(photo, trimap, background)
        output = np.clip(self.rule(apply, **images)[0], 0, 1)
        return set_known(output[..., 0], images), output[..., 1:]

    def apply(self, head: str, **inputs: np.ndarray) -> np.ndarray:
        """Runs the network on inputs [N, h, w, C] and returns its output `head`.

        Raises ValueError for an unknown output, with the closest valid one.
        """
        if self.programs.is_compiled((), inputs):
            outputs = self.programs.run((), inputs)
            return np.asarray(outputs[one_of(head, outputs, f"output of this {self.name}")])
        return np.asarray(self.programs.run((head,), inputs))

    def heads(
        self,
        photo: np.ndarray,
        *,
        trimap: np.ndarray | None = None,
        background: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """Returns all outputs of the network for one photo, [h, w, C] at their own sizes.

        A rule that runs the network several times yields those of its last pass.
        """
        *_, inputs = self.passes(self.checked(photo, trimap, background)).values()
        outputs = self.programs.run((), inputs)
        return {name: np.asarray(x)[0] for name, x in outputs.items()}

    def alpha_and_heads(
        self,
        photo: np.ndarray,
        *,
        trimap: np.ndarray | None = None,
        background: np.ndarray | None = None,
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Returns what a call and `heads` return, from one pass of the network.

        Takes what a call takes.
        """
        images = self.checked(photo, trimap, background)
        *_, last = self.passes(images)
        heads = {}

        def apply(head: str, **inputs: np.ndarray) -> np.ndarray:
            if head != last:
                return self.apply(head, **inputs)
            outputs = {x: np.asarray(y) for x, y in self.programs.run((), inputs).items()}
            heads.update({name: output[0] for name, output in outputs.items()})
            return outputs[head]

        return self.finish(self.rule(apply, **images)[0], images), heads

    def output(self, photo: np.ndarray, head: str) -> np.ndarray:
        """Returns one output for a photo [H, W, 3], if the network needs nothing else.

        The output of the test-time rule has the photo's size, [H, W, C]. Any other one has its own
        size, [h, w, C], and is that of the pass in which the rule reads it, or of the last pass.
        """
        if head in ("alpha", self.network.output):
            output = self(photo)
            return output[..., None] if output.ndim == 2 else output
        passes = self.passes(self.checked(photo))
        *_, last = passes.values()
        return self.apply(head, **passes.get(head, last))[0]

    def make_trimap(self, photo: np.ndarray, rule: Mapping[str, Any] | None = None) -> np.ndarray:
        """Makes the trimap [H, W] float32 (0, 0.5, 1) of a photo [H, W, 3], uint8 or float.

        `rule` replaces fields of the network's trimap rule. Raises ValueError for a network that
        makes no trimap.
        """
        chosen = rule_of(self.name, rule)
        return make_trimap(chosen, self.output(photo, chosen.head), *photo.shape[:2])

    def finish(self, output: np.ndarray, images: Images) -> np.ndarray:
        """Clips the output [H, W, C] of the rule, and sets the known pixels of an alpha."""
        output = np.clip(output, 0, 1)
        return set_known(output[..., 0], images) if self.network.output == "alpha" else output

    def passes(self, images: Images) -> dict[str, Images]:
        """Returns the inputs of each pass of the test-time rule by the output that it reads."""
        passes = {}

        def record(head: str, **inputs: np.ndarray) -> np.ndarray:
            passes[head] = inputs
            output = self.programs.output((head,), inputs)
            return np.zeros(output.shape, output.dtype)

        self.rule(record, **images)
        return passes

    def checked(
        self,
        photo: np.ndarray,
        trimap: np.ndarray | None = None,
        background: np.ndarray | None = None,
    ) -> Images:
        """Returns the checked inputs of the rule: [1, H, W, C] float32, a trimap 0, 0.5 and 1."""
        images = {"image": as_float_image(photo)}
        if trimap is None and self.trimap_from is not None:
            trimap = self.trimap_from.make_trimap(photo, self.trimap_rule)
        for name, given in (("trimap", trimap), ("background", background)):
            if given is None:
                continue
            refuse_input(name, self.takes, self.name, f"{name}=")
            check = {"trimap": as_float_trimap, "background": as_float_image}[name]
            images[name] = check(given)
            if images[name].shape[:2] != images["image"].shape[:2]:
                raise ValueError(
                    f"the {name} has the size {size_of(images[name])}, the photo "
                    f"{size_of(images['image'])}: they must be equal"
                )
        for name in self.needs:
            other = " or trimap_from=" if name == "trimap" else ""
            require_input(name, images, self.name, f"pass {name}={other}")
        return {name: image[None] for name, image in images.items()}

    def list_programs(self, height: int, width: int, *, cut_out: bool = False) -> list[Needed]:
        """Returns the programs that a photo of height x width needs, in the order of their calls.

        `cut_out` is for a call of that method. Networks that do not list their sizes need none.
        """
        programs = []
        if self.trimap_from is not None:
            rule = rule_of(self.trimap_from.name, self.trimap_rule)
            programs += self.trimap_from.list_programs_of(rule.head, height, width)
        if (height, width) in self.whole_sizes and not cut_out:
            return [*programs, self.needed((), (height, width), self.whole)]
        more = (self.network.foreground,) if cut_out else ()
        for head, size in self.list_passes(height, width).items():
            programs.append(self.needed((head, *more), size))
        return programs

    def list_programs_of(self, head: str, height: int, width: int) -> list[Needed]:
        """Returns the programs that `output` needs for a photo of height x width."""
        if head in ("alpha", self.network.output):
            return self.list_programs(height, width)
        passes = self.list_passes(height, width)
        return [self.needed((head,), passes.get(head, size)) for size in [*passes.values()][-1:]]

    def list_passes(self, height: int, width: int) -> dict[str, tuple[int, int]]:
        """Returns the network's size in each pass of its rule, by the output that is read."""
        if self.network.passes is None:
            return {}
        size = padded_size(height, width, self.size_step or 1)
        return self.network.passes(*size, model=self.model, **self.options)

    def needed(
        self, heads: tuple[str, ...], size: tuple[int, int], programs: Programs | None = None
    ) -> Needed:
        """Returns the program of the outputs `heads` for inputs of a size, by default a network."""
        shapes = ((name, (1, *size, CHANNELS[name])) for name in sorted(input_names(self.model)))
        return Needed(programs or self.programs, Program(heads, tuple(shapes)))


def set_known(alpha: np.ndarray, images: Images) -> np.ndarray:
    """Returns alpha [H, W] with known pixels set from the trimap of `images`, if it has one."""
    if "trimap" not in images:
        return alpha
    trimap = images["trimap"][0, ..., 0]
    return np.where(trimap == 0.5, alpha, trimap)
