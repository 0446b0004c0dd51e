"""What may go wrong around Switchboard, injected on loopback; `make faults` runs it and writes docs/faults.md.

    harness       a fault, what is found, the list of all          __main__    the command line
    switchboard   the server under test, a process of its own      page        docs/faults.md
    launcher      the same with a hand inside: clock, names, block, disk
    fakes         upstreams that misbehave                         load        callers, and how long they wait
    names         a small name server and its client           tokens      an upstream that issues tokens
    steps         those of token exchanges, and kills at them      runs        what a run says of itself
    disks         a small disk under a server                  grants      connections to a sandbox, and its tricks
    torture       what keeps tokens, killed a thousand times: `make torture`

The other modules hold the faults, a group each; a fault is a function under its number.
"""
