"""Take the pictures of the README: `python -m tests.app.screenshots [HOME]` writes them to docs/images.

Without HOME they show the recorded runs that come with the project.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import Literal

from PIL import Image

from tests.app import dumps
from tests.app.browsing import chromium, opened, served, settled
from warehouse.connection import open_current
from warehouse.home import Home

IMAGES = dumps.ROOT / "docs" / "images"
MOST_BYTES = 250_000
_RUN = """
select summary.run_id from run_summary as summary
where is_complete and planner = 'NonUniformPlanner-opt' and workflow = 'image_like' and sla = 'p90'
order by submitted_at desc limit 1
"""


def main(home: Home) -> None:
    """Write one PNG per page, small enough for a README."""
    with open_current(home) as reader:
        run = reader.value(_RUN) or reader.value("select run_id from run_summary where is_complete limit 1")
    IMAGES.mkdir(parents=True, exist_ok=True)
    pages: dict[str, tuple[str, int, Literal["light", "dark"]]] = {
        "summary": ("summary", 1180, "light"),
        "experiments": ("experiments", 1180, "light"),
        "cold-starts": ("cold_starts", 1250, "dark"),
        "run": (f"run?run={run}", 1450, "light"),
    }
    with served(home) as address, chromium() as browser:
        for name, (page, height, scheme) in pages.items():
            with opened(browser, f"{address}/{page}", 1440, height, scheme) as visit:
                settled(visit.page)
                picture = Image.open(io.BytesIO(visit.page.screenshot()))
                path = IMAGES / f"{name}.png"
                picture.convert("RGB").save(path, optimize=True)
                if path.stat().st_size > MOST_BYTES:
                    raise SystemExit(f"{path} has {path.stat().st_size:,} bytes, more than {MOST_BYTES:,}.")
                sys.stdout.write(f"{path}: {path.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Home(Path(sys.argv[1]).resolve()))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(dumps.sample(Path(folder) / "home"))
