"""Headless Chromium: a WebRTC publisher that nobody here wrote, with its fake camera and microphone; and a player."""

import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Page, Route, async_playwright

CHROMIUM = Path("/usr/bin/chromium")
SIZE = (320, 240)
"""Of the picture: small, so that a busy machine can encode it."""

_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    # candidates with addresses, which Janus can read, in place of mDNS names
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_PAGE = "https://publisher.test/"
"""Never looked up: the page is given to Chromium as it asks. Cameras are for secure origins only."""

_OFFER = """
async ([name, width, height]) => {
  const media = await navigator.mediaDevices.getUserMedia({
    video: { width, height },
    audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  const connection = new RTCPeerConnection();
  (globalThis.connections ??= {})[name] = connection;
  media.getTracks().forEach((track) => connection.addTrack(track, media));
  await connection.setLocalDescription();
  await new Promise((resolve) => {
    connection.onicegatheringstatechange = () => connection.iceGatheringState === 'complete' && resolve();
    connection.onicegatheringstatechange();
  });
  return connection.localDescription.sdp;
}
"""
_CONNECT = """
async ([name, sdp]) => {
  const connection = connections[name];
  await connection.setRemoteDescription({ type: 'answer', sdp });
  await new Promise((resolve, reject) => {
    connection.onconnectionstatechange = () => {
      if (connection.connectionState === 'connected') resolve();
      if (connection.connectionState === 'failed') reject(new Error('no way to Janus'));
    };
    connection.onconnectionstatechange();
  });
}
"""
_SENT = """
async (name) => {
  const stats = [...(await connections[name].getStats()).values()];
  const video = stats.find((each) => each.type === 'outbound-rtp' && each.kind === 'video');
  return [video.timestamp / 1000, video.framesEncoded, video.pliCount];
}
"""
_PLAY = """
async ([data, type]) => {
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  const video = document.createElement('video');
  video.muted = true;
  video.src = URL.createObjectURL(new Blob([bytes], { type }));
  await video.play();
  await new Promise((resolve, reject) => {
    video.onerror = () => reject(new Error(video.error.message));
    video.ontimeupdate = () => { if (video.currentTime > 1) resolve(); };
  });
  return video.duration;
}
"""


@dataclass(frozen=True, slots=True)
class Sent:
    """What a publisher has sent of its camera until `at_s`, and the PLIs it got, by its own numbers."""

    at_s: float
    frames: int
    plis: int


class Publisher:
    """A page; it publishes under as many names as it is asked to."""

    def __init__(self, page: Page) -> None:
        self._page = page

    async def offer(self, name: str) -> str:
        """The SDP of a new connection with camera and microphone, all candidates in it."""
        return await self._page.evaluate(_OFFER, [name, *SIZE])

    async def connect(self, name: str, answer: str) -> None:
        """Returns once the SFU can be sent to."""
        await self._page.evaluate(_CONNECT, [name, answer])

    async def sent(self, name: str) -> Sent:
        """What went out so far."""
        return Sent(*await self._page.evaluate(_SENT, name))

    async def play(self, file: bytes, container: str) -> float:
        """Plays more than a second of a file; its duration in seconds, as the browser sees it."""
        return await self._page.evaluate(_PLAY, [base64.b64encode(file).decode(), f"video/{container}"])


@asynccontextmanager
async def chromium() -> AsyncGenerator[Publisher]:
    """A browser with one page; it ends with the block."""

    async def blank(route: Route) -> None:
        await route.fulfill(body="<!doctype html>", content_type="text/html")

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        try:
            page = await browser.new_page()
            await page.route("**/*", blank)
            await page.goto(_PAGE)
            yield Publisher(page)
        finally:
            await browser.close()
