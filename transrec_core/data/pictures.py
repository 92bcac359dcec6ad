"""Picture files, read with care."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from transrec_core.base.errors import UserError

#: What is opened, whatever a file's name says; Pillow's other formats include some that start outside
#: programs.
FORMATS = ("JPEG", "PNG", "WEBP")
#: Width times height above which a picture is refused before it is decoded.
MAX_PIXELS = 50_000_000


def read_picture(path: Path, size: int) -> np.ndarray:
    """One picture, its shorter side scaled and the middle cut out.

    Args:
        path: a JPEG, PNG or WebP file, whatever its name says.
        size: pixels a side.

    Returns:
        Its pixels, uint8 [3, size, size].

    Raises:
        UserError: if the file is no picture, truncated, or larger than :data:`MAX_PIXELS`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    pixels = f"{image.width} x {image.height} pixels"
                    raise UserError(f"{path}: {pixels} are more than a product picture has; scale it down")
                if image.format == "PNG":  # its decoder does not mind a missing end
                    with Image.open(path, formats=FORMATS) as copy:
                        copy.verify()
                image.draft("RGB", (2 * size, 2 * size))  # lets JPEG skip detail that is thrown away anyway
                return np.asarray(
                    ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BILINEAR)
                ).transpose(2, 0, 1)
    except UserError:
        raise
    except Image.DecompressionBombError:
        raise UserError(
            f"{path}: far more pixels than a product picture has; scale it down or remove it"
        ) from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        broken = "truncated" in str(error).lower() or "broken png" in str(error).lower()
        reason = "truncated or damaged" if broken else "not a readable JPEG, PNG or WebP picture"
        raise UserError(
            f"{path}: {reason}; replace the file, or remove it to leave the item without picture"
        ) from None
