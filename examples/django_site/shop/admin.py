"""The shop's rows in the admin; queuekit brings its own pages."""

from django.contrib import admin

from shop.models import Order, Payment


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    list_display = ("id", "email", "cents", "placed_at", "job")


@admin.register(Payment)
class PaymentAdmin(admin.ModelAdmin):
    list_display = ("order", "cents", "captured_at")
