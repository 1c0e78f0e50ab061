"""Takes the pictures of the README: `python spaces/source_separation/screenshots.py` (needs Debian's chromium)."""

import argparse
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from dse_hf.app.interface import build_app, launch_app


FOLDER = Path(__file__).parent / "screenshots"
SIZES = {"desktop": (1200, 900), "phone": (390, 844)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, default=FOLDER)
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    _, url, _ = launch_app(build_app(), prevent_thread_lock=True, quiet=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for size, (width, height) in SIZES.items():
            for theme in ("light", "dark"):
                page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
                page.goto(f"{url}?__theme={theme}")
                separate_tab(page)
                shoot(page, folder / f"separate_{size}_{theme}.png")
                mix_tab(page)
                shoot(page, folder / f"mix_{size}_{theme}.png")
                page.close()
        browser.close()


def separate_tab(page: Page) -> None:
    page.get_by_text("Speech beside a train").click()
    page.locator("#results .pictures img").first.wait_for(timeout=120_000)
    page.wait_for_timeout(1500)


def mix_tab(page: Page) -> None:
    page.get_by_role("tab", name="Noise mix").click()
    page.locator("#mix-button").click()
    page.locator("#score-button:not([disabled])").click(timeout=60_000)
    page.locator("#scores table").wait_for(timeout=120_000)
    page.wait_for_timeout(1500)


def shoot(page: Page, path: Path) -> None:
    """Takes a picture of the whole page. 128 colours are enough, and make the file small."""
    page.evaluate("window.scrollTo(0, 0)")
    page.screenshot(path=path, full_page=True)
    with Image.open(path) as image:
        image.convert("RGB").quantize(128).save(path, optimize=True)


if __name__ == "__main__":
    main()
