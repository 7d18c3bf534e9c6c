"""The admin, and the shop's views."""

from django.contrib import admin
from django.urls import path

from tests.contrib.django_project.shop import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("order/", views.order),
    path("aorder/", views.aorder),
]
