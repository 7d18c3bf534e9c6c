"""Glue to frameworks, one room each: nothing here is imported unless the framework is there and asks for it.

It stands above everything else, the command line included, which knows no framework (docs/decisions/107).
"""
