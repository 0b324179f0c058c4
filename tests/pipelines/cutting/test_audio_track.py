"""Sound never costs pictures: it is carried, converted or left out, and is heard when it was heard in the
source."""

import re
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.layout import AudioLayout
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.cutting.aac import RATES, aac_layout, aac_rate
from pipelines.media.picture import picture_hash
from tests.support.codecs import Source, measure_source, tone
from tests.support.footage import pan, write
from tests.support.sounds import SECONDS, add_sound, film_with_sound

FPS = 25
FIRST, LAST = 31, 80  # of the frames that are cut: neither at the beginning nor at the end
LENGTH_S = (LAST - FIRST) / FPS
HEARD_WITHIN_S = 0.004


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """A folder with four seconds without sound, for AVI and for the other containers."""
    folder, frames = tmp_path_factory.mktemp("pictures"), pan(1, FPS * SECONDS, 48, 64)
    write(folder / "silent.mp4", frames, fps=FPS)
    write(folder / "silent.avi", frames, fps=FPS, codec="mpeg4", options={"qmin": "3", "qmax": "3"})
    return folder


def film(pictures: Path, out: Path, *sound, **how) -> Path:
    """The pictures with sound; see `film_with_sound`."""
    return film_with_sound(
        pictures / ("silent.avi" if out.suffix == ".avi" else "silent.mp4"), out, *sound, **how
    )


def heard(clip: Path) -> tuple[np.ndarray, int, str, str]:
    """What a player makes heard of a clip from the first picture on, of its first speaker; its rate, speakers
    and codec.

    A frame goes on where the one before ends, unless its time says clearly otherwise.
    """
    with av.open(str(clip)) as container:
        frames = list(container.decode(audio=0))
        codec = container.streams.audio[0].codec_context.name
    rate, layout = frames[0].sample_rate, frames[0].layout.name
    line, end = np.zeros(round(LENGTH_S * rate) + 8192, np.float32), -rate
    for frame in frames:
        begin = round(frame.pts * frame.time_base * rate)
        begin = end if abs(begin - end) < 0.02 * rate else begin
        end = begin + frame.samples
        (part,) = av.AudioResampler("flt", frame.layout, rate).resample(frame)
        part = part.to_ndarray().reshape(-1, frame.layout.nb_channels)[:, 0]
        skip = max(0, -begin)
        line[begin + skip : begin + len(part)] = part[skip : max(skip, len(line) - begin)]
    return line, rate, layout, codec


def delay_s(line: np.ndarray, rate: int, begin_s: float, end_s: float) -> float:
    """By how much what is heard between two times of a clip comes too late; raises AssertionError if it is
    not the chirp."""
    at, around = np.arange(round(begin_s * rate), round(end_s * rate)), round(0.1 * rate)
    part = line[at].astype(float)
    wide = tone(FIRST / FPS + np.arange(at[0] - around, at[-1] + 1 + around) / rate)
    match = np.fft.irfft(np.fft.rfft(wide) * np.fft.rfft(part, len(wide)).conj(), len(wide))[: 2 * around + 1]
    best = int(np.argmax(match))
    alike = np.corrcoef(part, wide[best : best + len(part)])[0, 1]
    assert alike > 0.9, f"it is another sound: {alike:.2f}"
    return (around - best) / rate


def cut_with_sound(footage: Path | Source, out: Path, method: str = "auto"):
    """A clip of frames FIRST … LAST; its pictures are held to be the source's."""
    source = footage if isinstance(footage, Source) else measure_source(footage)
    made = source.cut(out, FIRST, LAST, method=method, audio="keep")
    with av.open(str(out)) as container:
        shown = [
            (picture.pts * container.streams.video[0].time_base, picture_hash(picture))
            for picture in container.decode(video=0)
        ]
    assert [time for time, _ in shown] == source.times(FIRST, LAST)
    assert made.method == ("copy" if method == "auto" else "encode"), made.why
    if method == "auto":
        assert [name for _, name in shown] == source.hashes[FIRST:LAST]
    assert not list(out.parent.glob("*.sound"))
    assert not list(out.parent.glob("*.heard"))
    return made


ODD = {
    "odd_rate.mkv": (("pcm_s16le", 22222, "mono"), (24000, "mono")),
    "fast.mkv": (("pcm_s32le", 192000, "stereo"), (96000, "stereo")),
    "tape.mkv": (("pcm_s24le", 176400, "stereo"), (88200, "stereo")),
    "twelve.mkv": (("pcm_s16le", 48000, "7.1.4"), (48000, "stereo")),
    "sixteen.mov": (("pcm_s24le", 48000, "hexadecagonal"), (48000, "stereo")),
    "unnamed.mkv": (("pcm_s16le", 48000, "9 channels"), (48000, "stereo")),
    "side.mov": (("pcm_f32le", 48000, "5.1(side)"), (48000, "5.1")),
    "counted.mkv": (("pcm_f32le", 48000, "5.1(side)"), (48000, "5.1")),  # Matroska tells that they are six
    "seven.mkv": (("pcm_s16le", 44100, "6.1"), (44100, "stereo")),
    "quad.mov": (("pcm_s16le", 48000, "quad"), (48000, "stereo")),
    "eight.avi": (("pcm_u8", 11127, "stereo"), (12000, "stereo")),
    "big.mov": (("pcm_s16be", 37800, "stereo"), (44100, "stereo")),
    "double.mkv": (("pcm_f64le", 48000, "mono"), (48000, "mono")),
    "slow.avi": (("pcm_s16le", 6000, "mono"), (8000, "mono")),
    "law.avi": (("pcm_mulaw", 8000, "mono"), (8000, "mono")),
    "adpcm.avi": (("adpcm_ms", 22050, "stereo"), (22050, "stereo")),
    "ogg.mkv": (("vorbis", 44100, "stereo"), (44100, "stereo")),
    "layer2.ts": (("mp2", 32000, "stereo"), (32000, "stereo")),
    "planar.mkv": (("wavpack", 48000, "22.2"), (48000, "stereo")),
    "phone.mkv": (("libmp3lame", 8000, "mono"), (8000, "mono")),  # mp4 takes no MP3 of such a rate
}


@pytest.mark.parametrize("name", ODD)
def test_sound_that_mp4_does_not_take_becomes_aac_at_the_same_time(pictures, tmp_path, name):
    (codec, rate, layout), wanted = ODD[name]
    footage = film(pictures, tmp_path / name, codec, rate, layout)
    made = cut_with_sound(footage, tmp_path / "clip.mp4")
    assert made.sound.startswith(f"converted: to AAC at {wanted[0]} Hz, {wanted[1]}, as ")
    assert str(tmp_path) not in made.sound
    line, *kind = heard(tmp_path / "clip.mp4")
    assert kind == [*wanted, "aac"]
    assert abs(delay_s(line, wanted[0], 0.05, LENGTH_S - 0.05)) <= HEARD_WITHIN_S
    assert abs(delay_s(line, wanted[0], 0.0, 0.4)) <= HEARD_WITHIN_S
    assert np.abs(line).max() <= 1


KEPT = {
    "plain.mp4": ("aac", 48000, "stereo", "aac"),
    "fast.mkv": ("flac", 192000, "stereo", "flac"),
    "film.mkv": ("ac3", 48000, "5.1(side)", "ac3"),
    "web.webm.mkv": ("libopus", 48000, "stereo", "opus"),
    "song.mkv": ("libmp3lame", 44100, "stereo", "mp3float"),
    "adts.ts": ("aac", 44100, "mono", "aac"),
}


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("method", ["auto", "encode"])
def test_sound_that_mp4_takes_is_the_sources_own(pictures, tmp_path, name, method):
    codec, rate, layout, found = KEPT[name]
    sample_format = {"flac": "s32"}.get(codec)
    footage = film(pictures, tmp_path / name, codec, rate, layout, sample_format)
    made = cut_with_sound(footage, tmp_path / "clip.mp4", method)
    assert made.sound == "kept"
    line, *kind = heard(tmp_path / "clip.mp4")
    assert kind == [rate, layout, found]
    # coders' own delay, which MP3 and AAC come with
    assert abs(delay_s(line, rate, 0.05, LENGTH_S - 0.05)) <= 0.04


@given(rate=st.integers(1, 1_000_000))
@settings(deadline=None)
def test_a_rate_that_aac_has_stays_and_any_other_loses_as_little_as_it_can(rate):
    found = aac_rate(rate)
    assert found in RATES
    if rate <= max(RATES):
        assert found == min(known for known in RATES if known >= rate)
    elif any(rate % known == 0 for known in RATES):
        assert rate % found == 0
        assert not any(rate % known == 0 for known in RATES if known > found)
    else:
        assert found == max(RATES)


def test_speakers_that_aac_has_stay_and_others_become_two():
    kept = {
        "mono": "mono",
        "stereo": "stereo",
        "5.1": "5.1",
        "5.1(side)": "5.1",
        "5.0(side)": "5.0",
        "7.1": "7.1",
    }
    kept |= {"1 channels": "mono", "2 channels": "stereo", "6 channels": "5.1", "8 channels": "7.1"}
    mixed = dict.fromkeys(
        ("2.1", "quad", "6.1", "7.1(wide)", "7.1.4", "22.2", "9 channels", "ambisonic 1"), "stereo"
    )
    assert {name: aac_layout(AudioLayout(name)) for name in kept | mixed} == kept | mixed


def away(start_s: float, end_s: float, rate: int) -> Callable[[int, av.Packet], av.Packet | None]:
    """Take away the packets that begin between two times."""
    return lambda number, packet: None if start_s * rate <= packet.pts < end_s * rate else packet


@pytest.mark.parametrize("codec", ["pcm_s16le", "aac"])
def test_a_gap_is_silent_and_what_follows_is_in_time(pictures, tmp_path, codec):
    cut_s = FIRST / FPS
    footage = film(
        pictures, tmp_path / "gap.mkv", codec, 48000, "mono", alter=away(cut_s + 0.5, cut_s + 1.0, 48000)
    )
    made = cut_with_sound(footage, tmp_path / "clip.mp4")
    assert made.sound.startswith("converted")
    line, rate, *_ = heard(tmp_path / "clip.mp4")
    assert abs(delay_s(line, rate, 0.05, 0.4)) <= (HEARD_WITHIN_S if codec == "pcm_s16le" else 0.03)
    assert np.abs(line[round(0.6 * rate) : round(0.9 * rate)]).max() < 0.02
    assert abs(delay_s(line, rate, 1.1, 1.9)) <= (HEARD_WITHIN_S if codec == "pcm_s16le" else 0.03)


@pytest.mark.parametrize("codec", ["pcm_s16le", "aac", "libopus"])
def test_sound_that_begins_late_and_ends_early_is_heard_in_time(pictures, tmp_path, codec):
    begin_s, end_s = FIRST / FPS + 0.6, FIRST / FPS + 1.4
    footage = film(pictures, tmp_path / "late.mkv", codec, 48000, "stereo", pieces=[(begin_s, end_s)])
    made = cut_with_sound(footage, tmp_path / "clip.mp4")
    assert made.sound == (
        "kept"
        if codec != "pcm_s16le"
        else "converted: to AAC at 48000 Hz, stereo, as mp4 does not carry pcm_s16le"
    )
    line, rate, *_ = heard(tmp_path / "clip.mp4")
    assert np.abs(line[: round(0.55 * rate)]).max() < 0.02
    assert abs(delay_s(line, rate, 0.7, 1.3)) <= 0.03
    assert np.abs(line[round(1.46 * rate) :]).max() < 0.02


def test_sound_elsewhere_than_in_the_span_is_none(pictures, tmp_path):
    for codec in ("pcm_s16le", "aac"):
        footage = film(pictures, tmp_path / "over.mkv", codec, 48000, "mono", pieces=[(0.0, 0.9)])
        assert cut_with_sound(footage, tmp_path / "clip.mp4").sound is None
        with av.open(str(tmp_path / "clip.mp4")) as container:
            assert not container.streams.audio


@pytest.mark.parametrize("suffix", ["mkv", "ts"])
def test_damaged_packets_are_silent_and_their_neighbours_are_heard(pictures, tmp_path, suffix):
    def spoil(number, packet):
        if not 90 <= number < 110:  # about 0.4 s, a third into the clip
            return packet
        noise = np.random.default_rng(number).integers(0, 256, packet.size, np.uint8).tobytes()
        bad = av.Packet(bytes(packet)[:7] + noise[7:] if suffix == "ts" else noise)
        bad.pts, bad.dts, bad.duration, bad.time_base = (
            packet.pts,
            packet.dts,
            packet.duration,
            packet.time_base,
        )
        bad.stream = packet.stream
        return bad

    footage = film(pictures, tmp_path / f"torn.{suffix}", "aac", 48000, "stereo", alter=spoil)
    made = cut_with_sound(footage, tmp_path / "clip.mp4")
    assert re.match(r"converted: to AAC .* \d+ of its packets do not decode \(.*\)$", made.sound), made.sound
    line, rate, *_ = heard(tmp_path / "clip.mp4")
    assert abs(delay_s(line, rate, 0.05, 0.6)) <= 0.03
    assert abs(delay_s(line, rate, 1.2, 1.9)) <= 0.03


def test_sound_of_noise_alone_is_left_out_and_the_reason_told(pictures, tmp_path):
    def spoil(number, packet):
        bad = av.Packet(np.random.default_rng(number).integers(0, 256, packet.size, np.uint8).tobytes())
        bad.pts, bad.dts, bad.duration, bad.time_base = (
            packet.pts,
            packet.dts,
            packet.duration,
            packet.time_base,
        )
        bad.stream = packet.stream
        return bad

    footage = film(pictures, tmp_path / "noise.mkv", "ac3", 48000, "stereo", alter=spoil)
    made = cut_with_sound(footage, tmp_path / "clip.mp4")
    assert made.sound.startswith("left out: "), made.sound
    assert "decode" in made.sound


CODEC_NAMES = {
    "mkv": (b"A_PCM/INT/LIT", b"A_PCX/INT/LIT"),
    "mov": (b"sowt", b"zzzt"),
    "avi": (b"\x11\x01\x01\x00", b""),
}


@pytest.mark.parametrize("suffix", ["mkv", "mov"])
@pytest.mark.parametrize("method", ["auto", "encode"])
def test_sound_that_no_decoder_knows_is_left_out(pictures, tmp_path, suffix, method):
    footage = film(pictures, tmp_path / f"alien.{suffix}", "pcm_s16le", 48000, "stereo")
    known, alien = CODEC_NAMES[suffix]
    data = footage.read_bytes()
    assert known in data
    footage.write_bytes(data.replace(known, alien))
    assert (
        cut_with_sound(footage, tmp_path / "clip.mp4", method).sound
        == "left out: no decoder knows the codec of its sound"
    )


def test_sound_that_changes_on_the_way_goes_on_at_one_rate(pictures, tmp_path):
    """A broadcast: AC-3 in stereo at 48 kHz, then in mono at 32 kHz, in one stream of packets."""
    footage, silent, middle_s = tmp_path / "changes.ts", pictures / "silent.mp4", FIRST / FPS + 1.0
    with av.open(str(silent)) as source, av.open(str(footage), "w") as muxer:
        track = muxer.add_stream_from_template(source.streams.video[0], opaque=True)
        sound = muxer.add_stream("ac3", rate=48000, layout="stereo")
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = track
                muxer.mux(packet)
        add_sound(muxer, sound, [(0.0, middle_s)])
        with av.open(str(tmp_path / "other.ts"), "w") as other:
            second = other.add_stream("ac3", rate=32000, layout="mono")
            later = []
            add_sound(other, second, [(middle_s, SECONDS)], alter=lambda number, packet: later.append(packet))
        for packet in later:
            packet.stream = sound
            muxer.mux(packet)
    made = cut_with_sound(footage, tmp_path / "clip.mp4")
    assert made.sound == (
        "converted: to AAC at 48000 Hz, stereo, as it changes on the way, from 48000 Hz, stereo to "
        "32000 Hz, mono"
    )
    line, rate, *_ = heard(tmp_path / "clip.mp4")
    for begin_s, end_s in ((0.05, 0.9), (1.1, 1.9)):
        assert abs(delay_s(line, rate, begin_s, end_s)) <= 0.03


def without_times(footage: Path, stream_id: int, share: float) -> None:
    """Take the time of presentation from PES packets of a stream (ISO/IEC 13818-1, 2.4.3.7), from a share of
    the file on."""
    data, at = bytearray(footage.read_bytes()), 0
    at = int(len(data) * share)
    mark, taken = bytes((0, 0, 1, stream_id)), 0
    while (at := data.find(mark, at)) >= 0:
        data[at + 7] &= 0x3F
        data[at + 9 : at + 9 + data[at + 8]] = b"\xff" * data[at + 8]
        at, taken = at + 9, taken + 1
    assert taken > 3
    footage.write_bytes(data)


@pytest.mark.parametrize(("share", "outcome"), [(0.0, "left out: "), (0.2, "kept")])
def test_packets_without_times_go_on_from_those_that_have_one(pictures, tmp_path, share, outcome):
    footage = film(pictures, tmp_path / "timeless.ts", "ac3", 48000, "stereo")
    without_times(footage, 0xBD, share)
    made = cut_with_sound(footage, tmp_path / "clip.mp4")
    assert made.sound.startswith(outcome), made.sound
    if outcome == "kept":
        line, rate, *_ = heard(tmp_path / "clip.mp4")
        assert abs(delay_s(line, rate, 0.05, LENGTH_S - 0.05)) <= 0.04


def test_the_same_span_has_the_same_sound_byte_for_byte(pictures, tmp_path):
    footage = measure_source(film(pictures, tmp_path / "odd.mkv", "pcm_s16le", 22222, "5.1"))
    for name in ("a.mp4", "b.mp4"):
        cut_with_sound(footage, tmp_path / name)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
