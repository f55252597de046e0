"""What the command lines share: arguments, parsers of values, errors in one line."""
