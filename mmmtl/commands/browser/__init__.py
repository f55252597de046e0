"""The page of `mmmtl demo`; `page` alone needs gradio."""
