"""Exercises of notebook 04, deriving penalties."""

import numpy as np
import torch

from cxrlib.exercises.core import difference, exercise


@exercise(
    "04",
    1,
    "The penalty of one edge",
    minutes=3,
    hints=(
        "Of the images *without* the parent, how often is the child there all the same?",
        "Keep `children[parents == 0]`. The mean of these 0s and 1s is P(child = 1 | parent = 0); "
        "the penalty is one minus that.",
    ),
)
def edge_penalty(parents, children):
    """How much one edge costs by the data: 1 − P(child = 1 | parent = 0), unsmoothed.

    parents, children: arrays [N] of 0 and 1, the labels of the same N images.
    Returns a number. With parents [0, 0, 0, 1] and children [0, 0, 1, 1] it is 2/3.
    """
    return 1 - children[parents == 0].mean()


@edge_penalty.inputs
def _draw(rng):
    order = rng.permutation(6)
    yield np.array([0, 0, 0, 0, 0, 1])[order], np.array([0, 0, 0, 1, 1, 1])[order]
    for count in (40, 400):
        parents = rng.integers(0, 2, count)
        children = (rng.random(count) < 0.2 + 0.5 * parents).astype(int)
        parents[:4], children[:4] = (0, 1, 0, 1), (1, 1, 0, 0)
        yield parents, children


@edge_penalty.mistake("That is P(child = 1 | parent = 0) itself: frequent breaks would cost most.")
def _not_turned(parents, children):
    return children[parents == 0].mean()


@edge_penalty.mistake("You counted on the images that *have* the parent: there, no edge is broken.")
def _other_images(parents, children):
    return 1 - children[parents == 1].mean()


@edge_penalty.mistake(
    "You divided by all images. A condition, “given parent = 0”, also changes what is divided by."
)
def _joint(parents, children):
    return 1 - ((parents == 0) & (children == 1)).mean()


@edge_penalty.mistake(
    "That is the other conditional, 1 − P(parent = 0 | child = 1): of the images with the child, "
    "those without the parent. Here the images *without the parent* are what is divided by."
)
def _other_conditional(parents, children):
    return 1 - (parents[children == 1] == 0).mean()


@edge_penalty.mistake(
    "That is P(parent = 0 | child = 1), the other conditional, and not taken from 1 either. Divide "
    "by the images *without the parent*; the penalty is one minus that."
)
def _other_conditional_not_turned(parents, children):
    return (parents[children == 1] == 0).mean()


@edge_penalty.mistake(
    "You divided by the right images, but counted every child. Those whose parent is there break "
    "nothing: count the children of the images without the parent."
)
def _every_child(parents, children):
    return 1 - children.sum() / (parents == 0).sum()


@exercise(
    "04",
    2,
    "The hinge, from its formula",
    minutes=5,
    hints=(
        "The gap is about probabilities, not logits; and it is never negative.",
        "`(children.sigmoid() - parents.sigmoid()).clamp(min=0)` is the gap, [B, E]. Then the sum.",
    ),
)
def hinge_penalty(parents, children, penalties):
    """The hinge: penalty · max(0, p_child − p_parent), summed over edges, averaged over images.

    parents, children: logits, tensors [B, E], of both ends of each of E edges.
    penalties: a tensor [E].
    Returns a tensor with one number, whose gradient reaches the logits of both ends: training is to
    feel it. With one image and one edge of penalty 1, a parent's logit of 0 and a child's of 20, it
    is 0.5.
    """
    gap = (children.sigmoid() - parents.sigmoid()).clamp(min=0)
    return (penalties * gap).sum(dim=1).mean()


@hinge_penalty.inputs
def _draw_logits(rng):
    for batch, edges in ((2, 3), (5, 1), (8, 20)):
        logits = 2 * rng.normal(size=(2, batch, edges))
        logits[:, 0, :1], logits[:, 1, :1] = [[-1], [1.5]], [[2], [-1]]  # broken, and not
        if edges > 1:
            logits[:, 0, 1] = 2, -1  # both in one image
        weights = rng.uniform(0.2, 1.2, edges)
        yield tuple(torch.tensor(one, dtype=torch.float32) for one in (*logits, weights))


@hinge_penalty.judged_by
def _is_the_hinge(answer, parents, children, penalties):
    """As the solution; and if it is a sum over the images, say so."""
    arguments = parents, children, penalties
    wrong = hinge_penalty.compare(answer, arguments)
    if wrong and not difference(answer, len(parents) * hinge_penalty.solution(*arguments)):
        return (
            f"Yours is {len(parents)} times as much as expected, and there are {len(parents)} "
            f"images: take their mean, or the penalty grows with the batch.\n{wrong}"
        )
    return wrong


_NO_GRADIENT = (
    "The right number, but it has no gradient, so training would not feel it. Stay with tensors to "
    "the end: no `float`, `item`, `detach`, `numpy` or `no_grad`."
)


@hinge_penalty.behaviour
def _has_a_gradient(answer, parents, children, penalties):
    ends = parents.requires_grad_(), children.requires_grad_()
    try:
        found = answer(*ends, penalties)
    except RuntimeError as error:  # as that of numpy(), which advises to detach
        if "requires grad" in str(error):
            return _NO_GRADIENT
        raise
    if not isinstance(found, torch.Tensor) or not found.requires_grad:
        return _NO_GRADIENT
    right = torch.autograd.grad(hinge_penalty.solution(*ends, penalties), ends)
    mine = torch.autograd.grad(found.sum(), ends, allow_unused=True)
    for name, one, other in zip(("parents", "children"), mine, right, strict=True):
        if one is None:
            return f"The right number, but its gradient does not reach the logits of the {name}."
        if difference(one, other):
            return f"The right number, but not the hinge's gradient by the logits of the {name}."
    return None


@hinge_penalty.mistake("These are differences of logits: the formula asks for probabilities.")
def _of_logits(parents, children, penalties):
    return (penalties * (children - parents).clamp(min=0)).sum(dim=1).mean()


@hinge_penalty.mistake("Your gap may be negative: a parent above its child must not earn a reward.")
def _no_floor(parents, children, penalties):
    return (penalties * (children.sigmoid() - parents.sigmoid())).sum(dim=1).mean()


@hinge_penalty.mistake(
    "That is the mean over edges. The paper sums them, so each edge counts whole."
)
def _mean_of_edges(parents, children, penalties):
    return (penalties * (children.sigmoid() - parents.sigmoid()).clamp(min=0)).mean()


@hinge_penalty.mistake(
    "Turned round: you punish a parent that scores above its child, which is right."
)
def _turned(parents, children, penalties):
    return (penalties * (parents.sigmoid() - children.sigmoid()).clamp(min=0)).sum(dim=1).mean()


@hinge_penalty.mistake(
    "You took the gap without its sign, so that a parent above its child costs as much as one "
    "below. max(0, …) makes nothing of the right order."
)
def _absolute(parents, children, penalties):
    return (penalties * (children.sigmoid() - parents.sigmoid()).abs()).sum(dim=1).mean()


@hinge_penalty.mistake(
    "You cut off below zero only after the sum over edges. So an edge in order pays for a broken "
    "one: take max(0, …) of each edge's gap, then add."
)
def _floor_after_the_sum(parents, children, penalties):
    gap = children.sigmoid() - parents.sigmoid()
    return (penalties * gap).sum(dim=1).clamp(min=0).mean()


@exercise(
    "04",
    3,
    "A readout that cannot contradict itself",
    minutes=6,
    hints=(
        "What if a child's score were a *share* of its parent's?",
        "Let the child's sigmoid be P(child | parent): multiply it by the parent's probability. "
        "Or lower the child to its parent, or raise the parent to its child.",
    ),
)
def coherent_pair(parent, child):
    """Probabilities of a parent and its child, such that the child's is never the higher.

    parent, child: logits, tensors [B].
    Returns two tensors [B], each from 0 to 1, of the parent and of the child. Both must still
    listen. A higher logit never lowers a label's own probability. And where the other's logit is 9,
    moving a label's own from −9 to 9 takes its probability from near 0 to near 1; only, a parent
    need not go below its child. Many answers are right. With the logits 0 and 2, the probabilities
    0.5 and 0.44 would be one; the sigmoids alone, 0.5 and 0.88, contradict each other.
    """
    group = parent.sigmoid()
    return group, group * child.sigmoid()


@coherent_pair.inputs
def _draw_pairs(rng):
    for count in (4, 200):
        yield tuple(torch.tensor(3 * rng.normal(size=(2, count)), dtype=torch.float32))
    yield torch.linspace(-9, 9, 19), torch.full((19,), 9.0)
    yield torch.full((19,), 9.0), torch.linspace(-9, 9, 19)


@coherent_pair.judged_by
def _is_coherent(answer, parent, child):
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        return "Expected two tensors, of the parent and of the child: `return a, b`."
    if not all(isinstance(part, torch.Tensor) for part in answer):
        return "Expected tensors: use the tensors' own methods, as in `parent.sigmoid()`."
    of_parent, of_child = answer
    if of_parent.shape != parent.shape or of_child.shape != child.shape:
        return f"Expected two tensors of the shape {list(parent.shape)}, one number an image."
    if not all(((part >= 0) & (part <= 1)).all() for part in answer):
        return "Some of your numbers are no probabilities: they lie outside 0 … 1."
    if (of_child > of_parent + 1e-6).any():
        worst = (of_child - of_parent).argmax()
        return (
            f"With the logits {parent[worst]:.2f} and {child[worst]:.2f} the child has "
            f"{of_child[worst]:.3f}, more than its parent's {of_parent[worst]:.3f}."
        )
    for name, moved, own in (("parent", parent, of_parent), ("child", child, of_child)):
        fixed = child if name == "parent" else parent
        if len(moved) == 19 and (fixed == fixed[0]).all() and (moved.diff() > 0).all():
            if (own.diff() < -1e-6).any():
                return f"A higher logit of the {name} lowers its own probability."
            low_enough = own[0] < 0.1 or (name == "parent" and own[0] >= of_child[0])
            if own[-1] < 0.9 or not low_enough:
                return (
                    f"The {name} does not listen: between logits of −9 and 9, the other's being 9, "
                    f"its probability goes from {own[0]:.2f} to {own[-1]:.2f}."
                )
    return None


@coherent_pair.mistake("Sigmoids alone know nothing of each other.")
def _plain(parent, child):
    return parent.sigmoid(), child.sigmoid()


@coherent_pair.mistake("Coherent, but deaf: the same number for both says nothing of the child.")
def _deaf(parent, child):
    return parent.sigmoid(), parent.sigmoid()


@coherent_pair.mistake("Coherent, but your child is never there, whatever its logit says.")
def _never(parent, child):
    return parent.sigmoid(), torch.zeros_like(child)


@coherent_pair.mistake(
    "Turned round: you made the larger of the two the child's. The child's must never be the "
    "higher."
)
def _child_on_top(parent, child):
    group, own = parent.sigmoid(), child.sigmoid()
    return torch.minimum(group, own), torch.maximum(group, own)


@coherent_pair.mistake(
    "The smaller logit is right for the child, but a logit is no probability yet."
)
def _no_sigmoid(parent, child):
    return parent, torch.minimum(parent, child)


@exercise(
    "04",
    4,
    "Which edges does the step push?",
    minutes=2,
    hints=(
        "A function is 0 on one side and 1 on the other. What is its derivative, where it has one?",
        "The penalty is constant on both sides of one half: its gradient is zeros, everywhere.",
    ),
)
def gradient_of_step(parents, children):
    """The gradient of the published penalty, Σ over edges [p_parent < 0.5 and p_child > 0.5].

    parents, children: logits, arrays [E], none exactly 0.
    Returns two arrays [E]: the derivative of the sum by each parent's and by each child's logit.
    """
    return np.zeros(len(parents)), np.zeros(len(children))


@gradient_of_step.inputs
def _draw_edges(rng):
    for count in (3, 7):
        parents, children = 2 * rng.normal(size=(2, count))
        parents[0], children[0] = -1.2, 0.7  # one edge at least is broken
        yield parents, children


def _broken(parents, children):
    return ((parents < 0) & (children > 0)).astype(float)


@gradient_of_step.mistake(
    "That is the penalty itself. How does it change when a logit moves a little?"
)
def _penalty_itself(parents, children):
    return _broken(parents, children), _broken(parents, children)


@gradient_of_step.mistake(
    "So one would wish it: parents pulled up, children down. But does a step do it?"
)
def _as_wished(parents, children):
    return -_broken(parents, children), _broken(parents, children)


@gradient_of_step.mistake("That is the hinge's gradient. A step is flat on both sides of its edge.")
def _of_the_hinge(parents, children):
    p, c = 1 / (1 + np.exp(-parents)), 1 / (1 + np.exp(-children))
    above = (c > p).astype(float)
    return -above * p * (1 - p), above * c * (1 - c)
