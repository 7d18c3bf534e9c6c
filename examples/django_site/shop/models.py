"""Orders and their payments."""

from django.db import models


class Order(models.Model):
    """What somebody bought."""

    email = models.EmailField()
    cents = models.PositiveIntegerField()
    placed_at = models.DateTimeField(auto_now_add=True)
    job = models.CharField(max_length=329, blank=True, help_text="the job that collects the payment")

    def __str__(self):
        return f"order {self.pk}"


class Payment(models.Model):
    """Money for one order. A row is captured once, however often its job runs."""

    order = models.OneToOneField(Order, models.CASCADE)
    cents = models.PositiveIntegerField()
    captured_at = models.DateTimeField(null=True, blank=True)

    def __str__(self):
        return f"payment of {self.order}"
