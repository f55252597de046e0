"""Conversion of published archives: unpacking, command line, manifests, signs of normals, and the NYUv2 `.mat` file."""
