"""`python -m quart_app` is `switchboard`."""

from quart_app.cli import main

main()
