"""Records of this tool as figures: PNG, SVG or PDF by matplotlib, and a page by plotly.

A figure is fed with records and asks nothing else. The two libraries are an extra and are imported when
something is drawn, so a command calls ``require_drawable`` or ``require_interactive`` before a long run.
"""

from lsa_onnx.report.figures.drawing import require_drawable as require_drawable
from lsa_onnx.report.figures.drawing import require_interactive as require_interactive
