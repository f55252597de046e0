"""The documentation, as files in Markdown."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ('docs', 'configs', 'projects', 'benchmarks', 'demo', 'tools', 'mmmtl/weights')
FILES = {
    path: path.read_text(encoding='utf-8')
    for path in sorted([*ROOT.glob('*.md'), *(path for room in ROOMS for path in (ROOT / room).rglob('*.md'))])
}
"""Every file in Markdown, also outside the site."""
