"""How things are drawn: one message a figure, colours that everyone can tell apart.

Every function returns a matplotlib figure. ``show(fig, alt)`` puts it into a notebook together
with a text for those who cannot see it.
"""

from cxrlib.plots.canvas import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    RED,
    SKY,
    STYLE,
    YELLOW,
    figure,
    overhang,
    png,
    show,
)
from cxrlib.plots.charts import bars, curves, heatmap, intervals, loss_surface
from cxrlib.plots.films import gallery, pointed
from cxrlib.plots.graphs import draw_hierarchy, ink_on, layout, outline
