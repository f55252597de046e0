"""The page of `mmmtl demo`."""
