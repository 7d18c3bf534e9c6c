"""An app whose task module cannot be imported."""
