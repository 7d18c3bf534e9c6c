"""The command line: one file per command family. No rule about jobs lives here, only asking and showing."""
