"""The pure part: values and rules that every store and every worker share. No I/O, no clock, no async."""
