"""One job queue for Python, several stores."""
