"""Bull and Agenda by their own names, on every store where stores matter."""
