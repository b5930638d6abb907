"""Twenty-one maps and thirty dropout passes for one image, beside the plain way of making them.

    python benchmarks/inference.py [--repeats 5] [--threads 2]

The plain way asks the whole network once for every label and once for every pass. Ours computes the
features once, for maps and passes together where both are wanted, asks the head about all labels in
one batch (the pointing head's maps need no gradient at all), and repeats only what comes after the
first dropout. All take turns, so that other work on the machine slows all. The last line of each is
the work that the paper's program does for one image: 10 passes and 21 maps, of DenseNet121 at 320
pixels. For that, 49.6 s were measured with the authors' code on two cores.
"""

import argparse
import time

import numpy as np
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from cxrlib import models
from cxrlib.explanations import explain, features_of
from cxrlib.uncertainty import DROPOUT, mc_dropout

SETUPS = [
    (preset, size, head)
    for preset, size in (("tiny", 96), ("densenet121", 320))
    for head in models.HEADS
]


def plain_maps(model, image):
    """One map for each output by Grad-CAM, the whole network each time."""
    model.eval()
    with GradCAM(model=model, target_layers=[model.head.relu]) as cam:
        for label in range(len(model.head.logits.bias)):
            cam(input_tensor=image, targets=[ClassifierOutputTarget(label)])


def plain_passes(model, image, passes):
    """The whole network once a pass, with dropout on."""
    model.eval()
    for module in model.modules():
        module.training = isinstance(module, DROPOUT)
    with torch.inference_mode():
        scores = [model(image).sigmoid() for _ in range(passes)]
    model.eval()
    return torch.stack(scores)


def both(model, image, passes, method):
    """All maps and the passes of one image, of the same features."""
    features = features_of(model, image)
    explain(model, image, method=method, features=features)
    mc_dropout(model, image, passes, features=features)


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for preset, size, head in SETUPS:
        torch.manual_seed(0)
        model, image = models.build(preset, head=head), torch.rand(1, 1, size, size)
        way = "pointing" if head == "pointing" else "gradcam"
        work = {
            "21 maps, plain": lambda m=model, i=image: plain_maps(m, i),
            "21 maps, ours": lambda m=model, i=image, w=way: explain(m, i, method=w),
            "30 passes, plain": lambda m=model, i=image: plain_passes(m, i, 30),
            "30 passes, ours": lambda m=model, i=image: mc_dropout(m, i, 30),
            "both, ours": lambda m=model, i=image, w=way: both(m, i, 30, w),
            "10 and 21, ours": lambda m=model, i=image, w=way: both(m, i, 10, w),
        }
        times = {name: [] for name in work}
        for repeat in range(options.repeats + 1):
            for name, do in work.items():
                took = seconds(do)
                if repeat:  # the first one warms up
                    times[name].append(took)
        median = {name: float(np.median(values)) for name, values in times.items()}
        print(f"{preset} at {size} pixels, {head} head")
        for name, value in median.items():
            print(f"  {name:17} {1000 * value:8.1f} ms")
        maps = median["21 maps, plain"] / median["21 maps, ours"]
        passes = median["30 passes, plain"] / median["30 passes, ours"]
        plain = median["21 maps, plain"] + median["30 passes, plain"]
        together = plain / median["both, ours"]
        if head == "pointing":
            print("  (21 maps, plain: Grad-CAM of the same model, which needs none)")
        print(
            f"  times as fast: maps {maps:.0f}, passes {passes:.0f}, both together {together:.0f}"
        )
        print(f"  10 passes and 21 maps, ours: {median['10 and 21, ours']:.2f} s")


if __name__ == "__main__":
    main()
