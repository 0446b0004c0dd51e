"""`python -m quart_app.sandbox`: the same as `switchboard sandbox`."""

from quart_app.sandbox.command import sandbox

sandbox(prog_name="python -m quart_app.sandbox")
