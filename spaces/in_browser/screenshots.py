"""Takes the pictures of README.md, with headless Chromium: `python screenshots.py [--output FOLDER]`."""

import argparse
import shutil
import threading
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from dse_hf.app.in_browser import built_page, page_server


FOLDER = Path(__file__).parent / "screenshots"
SIZES = {"desktop": (1180, 900), "phone": (390, 844)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=FOLDER)
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    server = page_server(built_page(), "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for size, (width, height) in SIZES.items():
            for theme in ("light", "dark"):
                page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
                page.goto(f"http://127.0.0.1:{server.server_port}/")
                page.get_by_role("button", name="Speech beside a train").click()
                page.locator("body[data-done='1']").wait_for(timeout=240_000)
                page.locator("#seek").fill("2.3")
                page.wait_for_timeout(500)
                path = folder / f"{size}_{theme}.png"
                page.screenshot(path=path, full_page=True)
                with Image.open(path) as image:  # 128 colours are enough, and make the file small
                    image.convert("RGB").quantize(128).save(path, optimize=True)
                page.close()
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main()
