"""Tools for converting published archives: unpacking, manifests, signs of normals, and the NYUv2 `.mat` file."""
