"""The shop's addresses, and the admin's."""

from django.contrib import admin
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import path
from shop import views

urlpatterns = [
    path("orders/", views.place),
    path("orders/<int:number>/", views.show),
    path("admin/", admin.site.urls),
    *staticfiles_urlpatterns(),  # while DEBUG is on: style sheets of the admin, from any server
]
