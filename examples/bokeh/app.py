"""A small Bokeh application that leaves signing in to the gateway in front of it.

Who looks at it stands in the headers of the page's request, which only the gateway can set. The
application must therefore be reachable through the gateway alone; `bokeh serve` listens on every
address unless told otherwise (`--address 127.0.0.1`).
"""

from html import escape
from math import pi, sin
from urllib.parse import unquote

from bokeh.io import curdoc
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, Div, Slider
from bokeh.plotting import figure

STEPS = 200

headers = curdoc().session_context.request.headers
# Letters outside ASCII come percent-encoded, and people choose their names themselves.
name = escape(unquote(headers.get("X-Auth-Name", "somebody")))


def wave(waves: int) -> dict[str, list[float]]:
    x = [step / STEPS for step in range(STEPS + 1)]
    return {"x": x, "y": [sin(2 * pi * waves * position) for position in x]}


def words(waves: int) -> str:
    return f"Hello, {name}. You see {waves} wave{'' if waves == 1 else 's'}."


source = ColumnDataSource(wave(1))
greeting = Div(text=words(1), styles={"font-size": "150%"})
slider = Slider(title="Waves", start=1, end=10, value=1)
plot = figure(height=300, width=600, toolbar_location=None)
plot.line("x", "y", source=source)


def on_slide(_attribute: str, _old: int, waves: int) -> None:
    """Runs here, in Python, whenever somebody moves the slider in their browser."""
    source.data = wave(waves)
    greeting.text = words(waves)


slider.on_change("value", on_slide)
curdoc().add_root(column(greeting, slider, plot))
curdoc().title = "Waves"
