"""Conversion of published archives: unpacking, manifests, signs of normals, and the NYUv2 `.mat` file."""
