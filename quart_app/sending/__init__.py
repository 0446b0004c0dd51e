"""A call on its way: the flight that a caller flies, the attempts it is made of, and what is written down of both."""
