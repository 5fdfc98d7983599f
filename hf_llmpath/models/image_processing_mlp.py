"""From an image to the numbers that `LLMPathMLPForImageClassification` reads."""

import numpy as np
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import PILImageResampling


class LLMPathMLPImageProcessor(PilBackend):
    """One gray channel, resized to `size`, scaled to 0..1, then standardized by `image_mean` and `image_std`.

    Colors become gray (ITU-R 601 luma); what is transparent is black, the background of the training images.
    """

    model_input_names = ["pixel_values"]
    resample = PILImageResampling.BILINEAR
    size = {"height": 28, "width": 28}
    image_mean = [0.1307]
    image_std = [0.3081]
    do_resize = True
    do_rescale = True
    do_normalize = True

    def to_dict(self) -> dict:
        """As for preprocessor_config.json. The class is named in config.json alone: if
        preprocessor_config.json named it, `pipeline` would take it for a video processor's as well and
        ask whether to run its code (transformers 5)."""
        own = super().to_dict()
        for name in ("auto_map", "image_processor_type"):
            own.pop(name, None)
        return own

    def process_image(self, image, *args, **kwargs) -> np.ndarray:
        """One image of any kind as `(1, height, width)`, values 0..255."""
        from PIL import Image

        if isinstance(image, Image.Image):
            return np.array(gray(image))[None]
        image = super().process_image(image, *args, **kwargs)  # (channels, height, width)
        if len(image) == 1:
            return image
        return np.array(gray(Image.fromarray(np.moveaxis(image, 0, -1).astype(np.uint8))))[None]


def gray(image):
    """A PIL image of any mode as mode `L`; 16-bit gray keeps its range, alpha is laid on black."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        return Image.fromarray((np.array(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("L")
    return image.convert("L")
