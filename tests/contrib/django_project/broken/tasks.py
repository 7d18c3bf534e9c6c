"""It needs what nobody has."""

import no_such_module_anywhere  # type: ignore[import-not-found]  # noqa: F401  the point of it
