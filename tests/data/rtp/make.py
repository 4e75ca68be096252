"""Makes the vectors beside it: frames of real encoders, and the RTP that FFmpeg and GStreamer made of them.

Run `python tests/data/rtp/make.py` with `gst-launch-1.0` installed; the vectors are checked in, so that tests need
neither it nor sockets. A vector `<codec>-<packetizer>.bin` is a row of records: a letter (`K` for an encoder's key
frame, `F` for another frame, `P` for an RTP packet), the length of the data (u32, little endian), the data. Frames
come first. Packets are in the order they were sent, RTCP left out.
"""

import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FOLDER = Path(__file__).parent
SIZE = (192, 108)
PICTURES = 11
VIDEO = {
    "vp8": ("libvpx", {"deadline": "realtime", "cpu-used": "8", "g": "5", "b": "300k", "error-resilient": "1"}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "g": "5", "b": "300k", "lag-in-frames": "0"}),
    "h264": (
        "libx264",
        {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "g": "5",
            "crf": "32",
            "x264-params": "slices=2:repeat-headers=1",
        },
    ),
    "av1": ("libsvtav1", {"preset": "12", "g": "5", "crf": "40", "svtav1-params": "pred-struct=1:lookahead=0"}),
}
AUDIO = {"opus": ("libopus", 48000), "pcmu": ("pcm_mulaw", 8000)}
GSTREAMER = {
    "vp8": ("matroska", "matroskademux ! rtpvp8pay picture-id-mode=2"),
    "vp9": ("matroska", "matroskademux ! rtpvp9pay picture-id-mode=2"),
    "h264": ("matroska", "matroskademux ! h264parse ! rtph264pay aggregate-mode=1"),
    "opus": ("matroska", "matroskademux ! rtpopuspay"),
}
MTU = 400


def pictures() -> Iterator[av.VideoFrame]:
    """A moving gradient under noise, so that frames need several packets."""
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    for number in range(PICTURES):
        gray = (rows + columns + 8 * number) % 256 + rng.normal(0, 6, rows.shape)
        frame = av.VideoFrame.from_ndarray(np.clip(gray, 0, 255).astype(np.uint8), format="gray")
        frame = frame.reformat(format="yuv420p")
        frame.pts = number
        frame.time_base = Fraction(1, 25)
        yield frame


def sound(rate: int, samples: int) -> Iterator[av.AudioFrame]:
    """Half a second of a tone."""
    for start in range(0, rate // 2, samples):
        wave = 12000 * np.sin(2 * np.pi * 440 * np.arange(start, start + samples) / rate)
        frame = av.AudioFrame.from_ndarray(wave.astype(np.int16).reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = rate
        frame.pts = start
        frame.time_base = Fraction(1, rate)
        yield frame


def encode(codec: str, url: str, format_: str, options: dict[str, str]) -> list[av.Packet]:
    """Encode into a container; what the encoder made, the same each time."""
    with av.open(url, "w", format=format_, container_options=options) as out:
        if codec in VIDEO:
            name, encoder_options = VIDEO[codec]
            stream = out.add_stream(name, rate=25, options=encoder_options)
            stream.width, stream.height = SIZE
            stream.pix_fmt = "yuv420p"
            source = pictures()
        else:
            name, rate = AUDIO[codec]
            stream = out.add_stream(name, rate=rate, layout="mono", format="s16")
            source = sound(rate, rate // 50)
        packets = [packet for frame in source for packet in stream.encode(frame)] + stream.encode(None)
        for packet in packets:
            out.mux(packet)
    return packets


def received(sock: socket.socket) -> list[bytes]:
    """The RTP packets that have come; the sender has ended."""
    packets: list[bytes] = []
    sock.setblocking(False)
    while True:
        try:
            packet = sock.recv(65536)
        except BlockingIOError:
            return packets
        if not 192 <= packet[1] <= 223:
            packets.append(packet)


def main() -> None:
    """Make every vector."""
    for codec in (*VIDEO, *AUDIO):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            url = f"rtp://127.0.0.1:{sock.getsockname()[1]}?pkt_size={MTU}"
            packets = encode(codec, url, "rtp", {"strict": "experimental"})
            write(f"{codec}-ffmpeg", packets, received(sock))
    for codec, (format_, pipeline) in GSTREAMER.items():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, tempfile.TemporaryDirectory() as folder:
            sock.bind(("127.0.0.1", 0))
            packets = encode(codec, f"{folder}/in", format_, {})
            sink = f"mtu={MTU} ! udpsink host=127.0.0.1 port={sock.getsockname()[1]} sync=false"
            command = f"gst-launch-1.0 -q filesrc location={folder}/in ! {pipeline} {sink}"
            subprocess.run(command.split(), check=True, timeout=30)
            write(f"{codec}-gstreamer", packets, received(sock))


def write(name: str, packets: list[av.Packet], sent: list[bytes]) -> None:
    """Write one vector."""
    frames = [record("K" if packet.is_keyframe else "F", bytes(packet)) for packet in packets]
    (FOLDER / f"{name}.bin").write_bytes(b"".join(frames + [record("P", packet) for packet in sent]))


def record(letter: str, data: bytes) -> bytes:
    """One record of a vector."""
    return letter.encode() + struct.pack("<I", len(data)) + data


if __name__ == "__main__":
    main()
