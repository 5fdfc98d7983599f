"""Implements the image processor of `LLMPathMLPForImageClassification`: it turns images into its inputs."""

import numpy as np
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import PILImageResampling


class LLMPathMLPImageProcessor(PilBackend):
    """Produces one gray channel, resized to `size`, scaled to 0..1, and standardized by mean and deviation.

    Colors become gray (ITU-R 601 luma). Transparent pixels become black, the background of the training
    images.
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
        """Returns the content of preprocessor_config.json.

        Only config.json names the class. If preprocessor_config.json named it too, `pipeline` of transformers
        5 would also take the class for a video processor and ask whether to run its code.
        """
        content = super().to_dict()
        for name in ("auto_map", "image_processor_type"):
            content.pop(name, None)
        return content

    def process_image(self, image, *args, **kwargs) -> np.ndarray:
        """Converts one image of any kind to `(1, height, width)` with values 0..255."""
        from PIL import Image

        if isinstance(image, Image.Image):
            return np.array(gray(image))[None]  # (1, height, width)
        image = super().process_image(image, *args, **kwargs)  # (channels, height, width)
        if len(image) == 1:
            return image
        pixels = np.moveaxis(image, 0, -1).astype(np.uint8)  # (height, width, channels), as PIL reads it
        return np.array(gray(Image.fromarray(pixels)))[None]  # (1, height, width)


def gray(image):
    """Converts a PIL image of any mode to mode `L`, scaling 16-bit gray and putting alpha on black."""
    from PIL import Image

    # Keep the upper 8 of 16 bits, because PIL's own conversion clips all values above 255.
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.array(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("L")
    return image.convert("L")
