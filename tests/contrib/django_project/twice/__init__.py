"""An app with a task of another one's name."""
