"""An app with a model, a task module and views."""
