"""The seam: what every store promises, one protocol a family. No driver, no Lua, no SQL here."""
