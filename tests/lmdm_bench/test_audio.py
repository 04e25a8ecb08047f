"""Any audio file becomes the context asked for, or one sentence; what is written is the WAV."""

import math

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from lmdm_bench import audio
from lmdm_bench.audio import load_audio, phrase, write_wav
from lmdm_bench.errors import InputError

RATE_HZ = 44100


def sine(frequency_hz, sample_rate_hz, num_samples):
    return 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(num_samples) / sample_rate_hz)


def write(path, samples, sample_rate_hz=RATE_HZ, **how):
    soundfile.write(path, np.asarray(samples), sample_rate_hz, **({"subtype": "FLOAT"} | how))
    return path


@pytest.fixture
def stereo():
    return np.random.default_rng(0).uniform(-0.5, 0.5, (5000, 2)).astype(np.float32)


def test_the_newest_samples_are_the_context(tmp_path, stereo):
    path = write(tmp_path / "a.wav", stereo)
    loaded = load_audio(path, RATE_HZ, 1000)
    assert loaded.dtype == np.float32 and loaded.shape == (2, 1000)
    assert np.array_equal(loaded, stereo[-1000:].T)


def test_a_shorter_file_has_silence_before_it(tmp_path, stereo):
    loaded = load_audio(write(tmp_path / "a.wav", stereo), RATE_HZ, 6000)
    assert np.array_equal(loaded[:, 1000:], stereo.T)
    assert not loaded[:, :1000].any()


def test_mono_goes_to_both_channels(tmp_path, stereo):
    loaded = load_audio(write(tmp_path / "a.wav", stereo[:, 0]), RATE_HZ, 5000)
    assert np.array_equal(loaded[0], stereo[:, 0])
    assert np.array_equal(loaded[1], stereo[:, 0])


@pytest.mark.parametrize("num_channels", [3, 4, 6])
def test_further_channels_go_to_both_sides_and_cannot_clip(tmp_path, num_channels):
    channels = np.zeros((num_channels, num_channels), dtype=np.float32)
    np.fill_diagonal(channels, 1.0)
    loaded = load_audio(write(tmp_path / "a.wav", channels), RATE_HZ, num_channels)
    weight = math.sqrt(0.5)
    total = 1 + weight * (num_channels - 2)
    further = [weight / total] * (num_channels - 2)
    assert loaded[0] == pytest.approx([1 / total, 0, *further])
    assert loaded[1] == pytest.approx([0, 1 / total, *further])
    loud = write(tmp_path / "loud.wav", np.ones((10, num_channels), dtype=np.float32))
    assert load_audio(loud, RATE_HZ, 10) == pytest.approx(np.ones((2, 10)))


@pytest.mark.parametrize("source_rate_hz", [8000, 22050, 32000, 48000, 96000, 44101])
def test_a_tone_keeps_its_pitch_at_any_sample_rate(tmp_path, source_rate_hz):
    path = write(tmp_path / "a.wav", sine(440, source_rate_hz, source_rate_hz), source_rate_hz)
    loaded = load_audio(path, RATE_HZ, RATE_HZ)
    expected = sine(440, RATE_HZ, RATE_HZ)
    # Away from the file's two ends, where the filter meets silence.
    inner = slice(RATE_HZ // 10, -RATE_HZ // 10)
    assert np.abs(loaded[0] - expected)[inner].max() < 0.005


@given(
    st.sampled_from([8000, 22050, 48000, 96000]),
    st.integers(1, 9000),
    st.integers(1, 4000),
)
@settings(max_examples=25, deadline=None)
def test_reading_only_the_end_equals_resampling_the_whole_file(
    tmp_path_factory, source_rate_hz, source_samples, num_samples
):
    source = np.random.default_rng(source_samples).uniform(-0.5, 0.5, source_samples)
    path = write(tmp_path_factory.mktemp("end") / "a.wav", source, source_rate_hz)
    divisor = math.gcd(source_rate_hz, RATE_HZ)
    whole = signal.resample_poly(
        source.astype(np.float32), RATE_HZ // divisor, source_rate_hz // divisor
    )
    newest = whole[-num_samples:]
    loaded = load_audio(path, RATE_HZ, num_samples)[0]
    assert np.allclose(loaded[num_samples - newest.size :], newest, atol=1e-6)


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.mp3", "a.aiff"])
def test_the_end_of_other_file_formats_is_that_of_the_whole_file(tmp_path, name):
    path = tmp_path / name
    soundfile.write(path, sine(440, RATE_HZ, 4 * RATE_HZ), RATE_HZ)
    loaded = load_audio(path, RATE_HZ, RATE_HZ // 2)
    whole = soundfile.read(path, dtype="float32")[0]
    assert loaded[0] == pytest.approx(whole[-RATE_HZ // 2 :], abs=1e-4)


def test_what_is_no_audio_file_is_one_sentence(tmp_path, stereo):
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("not audio\n" * 100)
    whole = write(tmp_path / "whole.wav", stereo).read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[:20])
    write(tmp_path / "none.wav", np.zeros((0, 2)))
    (tmp_path / "bare.raw").write_bytes(whole)
    write(tmp_path / "rate.wav", stereo, 2**31 - 1)
    broken = stereo.copy()
    broken[-3, 1] = np.nan
    write(tmp_path / "nan.wav", broken)
    for name, message in (
        ("missing.wav", "there is no audio file"),
        ("", "is a folder"),
        ("empty.wav", "cannot read .* as audio"),
        ("text.wav", "cannot read .* as audio"),
        ("cut.wav", "cannot read .* as audio"),
        ("bare.raw", "cannot read .* as audio"),
        ("rate.wav", "claims a sample rate of 2147483647 Hz"),
        ("a" * 300, "cannot read .* as audio: File name too long"),
        ("none.wav", "has no samples"),
        ("nan.wav", "not finite numbers"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            load_audio(tmp_path / name, RATE_HZ, 1000)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_file_that_may_not_be_opened_is_one_sentence(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    path.touch()

    def refuse(self, mode):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(InputError, match=r"as audio: Permission denied$"):
        load_audio(path, RATE_HZ, 1000)


@pytest.mark.parametrize(("rate_hz", "num_samples"), [(0, 10), (RATE_HZ, 0)])
def test_loading_nothing_is_refused(tmp_path, rate_hz, num_samples):
    with pytest.raises(ValueError, match="cannot load"):
        load_audio(tmp_path / "a.wav", rate_hz, num_samples)


@pytest.mark.parametrize("rate_hz", [8000, 44100])
def test_the_phrase_is_twelve_seconds_of_stereo_with_a_peak_of_a_half(rate_hz):
    samples = phrase(rate_hz)
    assert samples.dtype == np.float32 and samples.shape == (2, 12 * rate_hz)
    assert np.abs(samples).max() == pytest.approx(0.5)
    assert np.array_equal(samples, phrase(rate_hz))
    assert not np.array_equal(samples[0], samples[1])


def test_the_phrase_sounds_all_the_way_through():
    seconds = phrase(8000).reshape(2, 24, 4000)
    assert (np.sqrt((seconds**2).mean(axis=2)) > 0.005).all()


def test_the_phrase_changes_its_chord():
    chords = np.abs(np.fft.rfft(phrase(8000).reshape(2, 4, 24000)[0], axis=1))
    likeness = np.corrcoef(chords)
    assert (likeness[~np.eye(4, dtype=bool)] < 0.9).all()


def test_a_longer_phrase_goes_on_and_a_shorter_one_stops():
    assert phrase(8000, seconds=30.5).shape == (2, 244000)
    assert phrase(8000, seconds=0.01).shape == (2, 80)
    with pytest.raises(ValueError, match="has no samples"):
        phrase(8000, seconds=0)


@pytest.mark.parametrize("loudness", [1e-300, 1e-3, 0.5, 40.0])
def test_a_wav_is_written_with_its_peak_three_decibels_below_full_scale(tmp_path, loudness):
    samples = loudness * np.stack([sine(100, 8000, 4000), 0.5 * sine(200, 8000, 4000)])
    facts = write_wav(tmp_path / "a.wav", samples, 8000)
    written, rate_hz = soundfile.read(tmp_path / "a.wav")
    info = soundfile.info(tmp_path / "a.wav")
    assert (rate_hz, info.format, info.subtype, info.channels) == (8000, "WAV", "PCM_16", 2)
    assert 20 * math.log10(np.abs(written).max()) == pytest.approx(-3.0, abs=0.01)
    assert facts.peak == np.abs(samples).max()
    assert facts.gain_db == pytest.approx(-3.0 - 20 * math.log10(facts.peak))
    assert facts.seconds == 0.5
    assert facts.peak / 3 < facts.rms < facts.peak or loudness < 1e-150


def test_what_was_written_is_what_is_loaded_again(tmp_path):
    write_wav(tmp_path / "a.wav", phrase(8000), 8000)
    loaded = load_audio(tmp_path / "a.wav", 8000, 96000)
    scaled = phrase(8000) * 10 ** (-3 / 20) / 0.5
    assert np.abs(loaded - scaled).max() < 2**-14


def test_facts_name_the_file_and_not_its_folder(tmp_path):
    assert write_wav(tmp_path / "a.wav", phrase(8000, 0.1), 8000).path == "a.wav"


def test_silence_is_written_as_it_is(tmp_path):
    facts = write_wav(tmp_path / "a.wav", np.zeros((2, 100)), 8000)
    assert (facts.peak, facts.rms, facts.gain_db) == (0.0, 0.0, 0.0)
    assert not soundfile.read(tmp_path / "a.wav")[0].any()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_audio_that_is_not_finite_is_not_written(tmp_path, bad):
    with pytest.raises(ValueError, match=r"a\.wav holds NaN or infinity and was not written"):
        write_wav(tmp_path / "a.wav", [[0.0, bad], [0.0, 0.0]], 8000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(100,), (1, 100), (2, 0), (1, 2, 100)])
def test_what_is_not_stereo_is_not_written(tmp_path, shape):
    with pytest.raises(ValueError, match=r"expected samples of shape \[2, samples\]"):
        write_wav(tmp_path / "a.wav", np.zeros(shape), 8000)


def test_each_chord_of_the_phrase_has_the_voices_that_its_arpeggio_plays():
    assert all(len(chord) == max(audio.ARPEGGIO) + 1 for chord in audio.CHORDS_MIDI)
