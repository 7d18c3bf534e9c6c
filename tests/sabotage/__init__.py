"""One-line breaks of promises, each as a patch that must turn a test red. `python -m tests.sabotage` applies them.

Nothing here is imported by a test of a behaviour; the patches say which tests guard it.
"""
