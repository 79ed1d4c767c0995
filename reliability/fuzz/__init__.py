"""Fuzzing: random inputs, each of which is made again from its target, the seed and its number.

A module of :mod:`reliability.fuzz.targets` is a target. It has

``try_input(random, folder)``
    Makes an input from ``random`` in an empty folder, gives it to what is tested, checks what must
    hold, and returns what came of it as text: a digest of the results, or the message of a refusal.
    The text must be the same whenever the input is tried. Whatever exception leaves it is a
    finding.
``SHARE``
    The share of the time that the target gets, relative to the others.
``FEW``
    How many inputs the test tries, where a target is slow; by default, 100 times its share.
``SECONDS``
    The bound for one input; more is a hang.
"""
