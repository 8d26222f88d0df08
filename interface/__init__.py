"""The edges of the service: HTTP, the command line and outbound adapters; main.py wires them."""

import gc

# One young collection per about 100 requests instead of several per request; and 15 during the imports instead of 335, which
# cost a tenth of a start.
gc.set_threshold(10_000, 20, 20)
