"""Orders, and what was done for them."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """Something that was bought."""

    name: models.CharField[str, str] = models.CharField(max_length=100)
    receipt: models.CharField[str, str] = models.CharField(max_length=100, default="")

    class Meta:
        app_label = "shop"
