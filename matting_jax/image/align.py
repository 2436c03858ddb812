"""The captured background moved to where the photo's camera saw it."""

from __future__ import annotations

import numpy as np

# So many features are looked for in each image, and so many pixels may a match lie off.
FEATURES = 4000
TOLERANCE = 3.0
# Of unrelated photos at most 21 matches, and one in six, were found to agree by chance.
LEAST_COUNT, LEAST_SHARE = 30, 0.2


def align(background: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """`background` [h, w, 3] as the camera of `photo` [H, W, 3] saw it, both uint8: [H, W, 3].

    The homography between ORB features of both, matched by Hamming distance, by RANSAC. Where the
    background does not reach, the photo itself is taken. ValueError where the features that agree
    on one movement are fewer than LEAST_COUNT, or than LEAST_SHARE of those that match.
    Source: PeterL1n/BackgroundMattingV2, inference_utils.py, which matches by L2 distance and
    trusts any result.
    """
    import cv2  # slow to import, and only for this

    orb = cv2.ORB_create(FEATURES)
    places, features = zip(*(described(orb, x) for x in (background, photo)), strict=True)
    matches = []
    if all(x is not None for x in features):
        matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(*features)
    if len(matches) < LEAST_COUNT:
        raise ValueError(f"{len(matches)} features match, too few to trust")
    source = np.float32([places[0][match.queryIdx].pt for match in matches])
    target = np.float32([places[1][match.trainIdx].pt for match in matches])
    homography, agree = cv2.findHomography(source, target, cv2.RANSAC, TOLERANCE)
    count = 0 if homography is None else int(agree.sum())
    if count < max(LEAST_COUNT, LEAST_SHARE * len(matches)):
        raise ValueError(
            f"{count} of {len(matches)} matching features agree on one movement, too few to trust"
        )
    size = photo.shape[1::-1]
    moved = cv2.warpPerspective(background, homography, size)
    whole = np.full(background.shape[:2], 255, np.uint8)
    reached = cv2.warpPerspective(whole, homography, size) == 255
    return np.where(reached[..., None], moved, photo)


def described(orb, image: np.ndarray) -> tuple:
    """Places and descriptors of the features of an image [H, W, 3]; None where it has none."""
    import cv2

    return orb.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None)
