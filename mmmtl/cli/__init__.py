"""Arguments, parsers of values and one-line errors that the command lines share."""
