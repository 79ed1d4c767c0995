"""Simulated brains under known fields: a truth by which corrections and their settings are judged.

``phantoms`` makes a case, ``fields`` its field, ``judge`` the error of an estimated field;
``methods`` are the corrections that are compared, and ``grid`` the cases that they are compared on.
"""
