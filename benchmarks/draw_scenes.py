"""Draw a few scenes with their masks and boxes: the picture in docs/scenes.md.

python benchmarks/draw_scenes.py docs/images/scenes.png
"""

import argparse
import io
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from trials.scenes import SceneSet, draw_scene

COLOURS = np.array(matplotlib.color_sequences["tab10"])


def main() -> None:
    """Write the picture: images in the first row, masks and boxes in the second."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--shapes", type=int, default=8)
    given = parser.parse_args()
    scenes = SceneSet(size=64, num_shapes=given.shapes)
    figure = Figure(figsize=(1.6 * given.images, 3.6), dpi=80, layout="constrained")
    axes = figure.subplots(2, given.images)
    for number in range(given.images):
        scene = draw_scene(scenes, number)
        axes[0, number].imshow(scene.image.transpose(1, 2, 0))
        axes[1, number].imshow(np.concatenate([np.full((1, 3), 0.93), COLOURS])[scene.mask])
        for left, top, right, bottom in scene.boxes:
            corner, size = (left - 0.5, top - 0.5), (right - left, bottom - top)
            axes[1, number].add_patch(Rectangle(corner, *size, fill=False, linewidth=0.7))
    for each in axes.flat:
        each.set_axis_off()
    used = list(zip(scenes.classes[1:], COLOURS, strict=False))
    patches = [Rectangle((0, 0), 1, 1, color=colour) for _, colour in used]
    figure.legend(patches, [name for name, _ in used], loc="outside lower center", ncols=len(used), fontsize=7)
    picture = io.BytesIO()
    FigureCanvasAgg(figure).print_png(picture)
    Image.open(picture).convert("RGB").quantize(256).save(given.out, optimize=True)


if __name__ == "__main__":
    main()
