"""Self-contained pages: styles and pictures included, every text escaped, no script."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2


def write_page(path: Path, template: str, content: dict[str, Any]) -> None:
    """Write a page as HTML.

    :param template: name of a file in templates/.
    :param content: what it shows.
    :raises OSError: when the file cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader('vr_ros.evaluation'), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )
    page = environment.get_template(template).render(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(page.encode('utf-8', 'replace'))
