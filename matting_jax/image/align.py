"""Alignment of a captured background with a photo."""

from __future__ import annotations

from typing import Any

import numpy as np

FEATURES = 4000  # maximum number for each image
TOLERANCE = 3.0  # maximum reprojection error of an inlier, in pixels
# Unrelated photos were found to have at most 21 inliers, and at most one match in six.
MIN_COUNT, MIN_FRACTION = 30, 0.2


def align(background: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """Warps `background` uint8 [h, w, 3] to the view of `photo` uint8 [H, W, 3]: [H, W, 3].

    Estimates a homography by RANSAC from ORB features, matched by Hamming distance. Pixels that the
    background does not cover are taken from the photo. Raises ValueError for fewer inliers than
    MIN_COUNT or than MIN_FRACTION of the matches.
    Source: PeterL1n/BackgroundMattingV2, inference_utils.py, which matches by L2 distance and
    accepts any homography.
    """
    cv2 = opencv()
    orb = cv2.ORB_create(FEATURES)
    points, features = zip(*(detect(orb, x) for x in (background, photo)), strict=True)
    matches = []
    if all(x is not None for x in features):
        matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(*features)
    if len(matches) < MIN_COUNT:
        raise ValueError(f"only {len(matches)} features match, expected at least {MIN_COUNT}")
    source = np.float32([points[0][match.queryIdx].pt for match in matches])
    target = np.float32([points[1][match.trainIdx].pt for match in matches])
    homography, inliers = cv2.findHomography(source, target, cv2.RANSAC, TOLERANCE)
    count = 0 if homography is None else int(inliers.sum())
    if count < max(MIN_COUNT, MIN_FRACTION * len(matches)):
        raise ValueError(
            f"only {count} of {len(matches)} matching features agree on one homography, "
            f"expected at least {MIN_COUNT} and {MIN_FRACTION:.0%}"
        )
    size = photo.shape[1::-1]
    warped = cv2.warpPerspective(background, homography, size)
    covered = np.full(background.shape[:2], 255, np.uint8)
    covered = cv2.warpPerspective(covered, homography, size) == 255
    return np.where(covered[..., None], warped, photo)


def detect(orb: Any, image: np.ndarray) -> tuple[Any, np.ndarray | None]:
    """Returns key points and descriptors of an image [H, W, 3]; no descriptors are None."""
    cv2 = opencv()
    return orb.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None)


def opencv() -> Any:
    """Returns OpenCV; raises ImportError that says how to install it."""
    try:
        import cv2  # slow to import, and only for this
    except ImportError as error:
        raise ImportError("--align needs OpenCV: pip install 'matting_jax[align]'") from error
    return cv2
