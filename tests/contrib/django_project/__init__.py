"""A Django project for the tests of `queuekit.contrib.django`: in this process (`tests/contrib/conftest.py`), or in its
own, with DJANGO_SETTINGS_MODULE=tests.contrib.django_project.settings and the repository as the working directory.
"""
