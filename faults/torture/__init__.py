"""`make torture`: the promise of the tokens, proved by killing the process that keeps them; writes docs/torture.md.

victims      connections to a sandbox, and what became of their tokens
kills        kill -9 at and between the steps of exchanges, restart, and look
crowd        two hundred callers at each of four processes, tokens of one second
freezes      a process that stands still past its lease, and the other one that takes over
aftermath    what must be true of a data folder when all is over
page         docs/torture.md          __main__    the command line          rows    the same in small, for `make faults`
"""
