"""Audio in and out of files: the context that a run starts from, and the WAV that it leaves."""

import io
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
from scipy import signal

from lmdm_bench.errors import InputError
from lmdm_bench.record import Audio, write_whole

Samples = npt.NDArray[np.float32]

NUM_CHANNELS = 2
PEAK_DBFS = -3.0

# Past these a header is broken, and the resampling filter for it would fill the memory.
MIN_SAMPLE_RATE_HZ = 1_000
MAX_SAMPLE_RATE_HZ = 768_000

# scipy's resampling filter reaches this many samples of the slower of the two rates.
RESAMPLE_REACH = 10

# After a jump an MP3 decoder lacks the bits of the frames before, and its first samples are wrong.
PREROLL_SECONDS = 1.0


def load_audio(path: Path, sample_rate_hz: int, num_samples: int) -> Samples:
    """The last ``num_samples`` of a file at ``sample_rate_hz``: [2, num_samples], float32.

    The newest audio is the context. A shorter file has silence before it. Mono goes to both
    channels; of more than two, the first two are left and right, each further one goes to both
    3 dB lower, and the sum is divided by its weights so that it cannot clip.

    Raises InputError where the file cannot be read, is not audio, is empty or holds NaN.
    """
    if sample_rate_hz <= 0 or num_samples <= 0:
        raise ValueError(f"cannot load {num_samples} samples at {sample_rate_hz} Hz")
    source, source_rate_hz = _read_end(path, sample_rate_hz, num_samples)
    if source.size == 0:
        raise InputError(f"the audio file {path} has no samples")
    if not np.isfinite(source).all():
        raise InputError(f"the audio file {path} holds samples that are not finite numbers")
    if not MIN_SAMPLE_RATE_HZ <= source_rate_hz <= MAX_SAMPLE_RATE_HZ:
        raise InputError(f"the audio file {path} claims a sample rate of {source_rate_hz} Hz")
    stereo = _stereo(source.T)
    up, down = _rational(source_rate_hz, sample_rate_hz)
    if up != down:
        stereo = signal.resample_poly(stereo, up, down, axis=1)
    newest = stereo[:, -num_samples:].astype(np.float32)
    return np.pad(newest, ((0, 0), (num_samples - newest.shape[1], 0)))


def write_wav(path: Path, samples: npt.ArrayLike, sample_rate_hz: int) -> Audio:
    """Write [2, samples] as a whole 16-bit WAV file, scaled to a peak 3 dB below full.

    Returns what was written: the file's name without its folder, ``peak`` and ``rms`` as they were
    before the gain (1 is full scale), and the gain in dB (0 for silence). Raises ValueError on
    samples that are not finite or not [2, samples], OSError where the file cannot be written.
    """
    values = np.asarray(samples, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != NUM_CHANNELS or values.shape[1] == 0:
        raise ValueError(f"expected samples of shape [2, samples], got {list(values.shape)}")
    if not np.isfinite(values).all():
        raise ValueError(f"the audio for {path.name} holds NaN or infinity and was not written")
    peak = float(np.abs(values).max())
    gain_db = PEAK_DBFS - 20 * math.log10(peak) if peak > 0 else 0.0
    # Divided first: the gain of a peak near the smallest float is itself no float.
    scaled = values / peak * 10 ** (PEAK_DBFS / 20) if peak > 0 else values
    buffer = io.BytesIO()
    soundfile.write(buffer, scaled.T, sample_rate_hz, format="WAV", subtype="PCM_16")
    write_whole(path, buffer.getvalue())
    return Audio(
        path=path.name,
        seconds=values.shape[1] / sample_rate_hz,
        peak=peak,
        rms=float(np.sqrt(np.mean(values**2))),
        gain_db=gain_db,
    )


# The built-in phrase: four chords, each arpeggiated upwards and back over a held bass note.
PHRASE_PEAK = 0.5
CHORDS_MIDI = ((57, 60, 64, 69), (53, 57, 60, 65), (48, 55, 60, 64), (55, 59, 62, 67))
ARPEGGIO = (0, 1, 2, 3, 2, 1)
CHORD_SECONDS = 3.0
PLUCK_SECONDS = 2.5
PLUCK_DECAY_PER_SECOND = 3.0
BASS_DECAY_PER_SECOND = 0.6
ATTACK_SECONDS = 0.004
DETUNE_CENTS = 4.0
NUM_PARTIALS = 10
A4_HZ, A4_MIDI, NOTES_PER_OCTAVE, CENTS_PER_OCTAVE = 440.0, 69, 12, 1200


def phrase(sample_rate_hz: int, seconds: float = 12.0) -> Samples:
    """The built-in context: plucked, detuned chords, [2, samples] float32 with a peak of 0.5.

    The same on each machine, down to rounding: it is arithmetic without chance. Raises ValueError
    on a rate or a length that gives no sample.
    """
    num_samples = round(seconds * sample_rate_hz)
    if num_samples <= 0:
        raise ValueError(f"a phrase of {seconds} s at {sample_rate_hz} Hz has no samples")
    mix = np.zeros((NUM_CHANNELS, num_samples))
    for chord_index in range(math.ceil(seconds / CHORD_SECONDS)):
        chord = CHORDS_MIDI[chord_index % len(CHORDS_MIDI)]
        begin_seconds = chord_index * CHORD_SECONDS
        bass = chord[0] - NOTES_PER_OCTAVE
        decay = BASS_DECAY_PER_SECOND
        _add_note(mix, sample_rate_hz, begin_seconds, bass, CHORD_SECONDS, decay, 0.5)
        for place, voice in enumerate(ARPEGGIO):
            pluck_seconds = begin_seconds + place * CHORD_SECONDS / len(ARPEGGIO)
            pan = (voice + 0.5) / len(chord)
            decay = PLUCK_DECAY_PER_SECOND
            _add_note(mix, sample_rate_hz, pluck_seconds, chord[voice], PLUCK_SECONDS, decay, pan)
    return (mix * (PHRASE_PEAK / np.abs(mix).max())).astype(np.float32)


def _add_note(
    mix: npt.NDArray[np.float64],
    sample_rate_hz: int,
    begin_seconds: float,
    midi: int,
    note_seconds: float,
    decay_per_second: float,
    pan: float,
) -> None:
    """Add one note in place, tuned a little higher on the right than on the left."""
    begin = round(begin_seconds * sample_rate_hz)
    length = min(round(note_seconds * sample_rate_hz), mix.shape[1] - begin)
    if length <= 0:
        return
    time = np.arange(length) / sample_rate_hz
    envelope = np.exp(-decay_per_second * time) * np.minimum(1.0, time / ATTACK_SECONDS)
    # Faded to nothing at its end, so that a note cut short by the next chord does not click.
    envelope *= 1.0 - time / note_seconds
    damping = np.exp(-0.5 * decay_per_second * time)
    gains = (math.cos(pan * math.pi / 2), math.sin(pan * math.pi / 2))
    for channel, detune_cents in enumerate((-DETUNE_CENTS, DETUNE_CENTS)):
        octaves = (midi - A4_MIDI) / NOTES_PER_OCTAVE + detune_cents / CENTS_PER_OCTAVE
        pitch_hz = A4_HZ * 2.0**octaves
        strength = gains[channel] * envelope
        for partial in range(1, NUM_PARTIALS + 1):
            if partial * pitch_hz < sample_rate_hz / 2:
                tone = np.sin(2 * math.pi * partial * pitch_hz * time) / partial**1.5
                mix[channel, begin : begin + length] += strength * tone
            # Higher partials die sooner, as on a string.
            strength = strength * damping


def _read_end(path: Path, sample_rate_hz: int, num_samples: int) -> tuple[Samples, int]:
    """As much of the file's end as the samples asked for need, [samples, channels], with its rate.

    An hour of music is not read for the ten seconds at its end.
    """
    try:
        with path.open("rb") as file, soundfile.SoundFile(file) as sound:
            up, down = _rational(sound.samplerate, sample_rate_hz)
            reach = math.ceil(RESAMPLE_REACH * max(up, down) / up) + 1
            wanted = math.ceil(num_samples * down / up) + reach
            # The skipped part is a whole number of output samples, so that they fall on the same
            # instants as if the whole file had been resampled.
            skipped = max(0, sound.frames - wanted) // down * down
            begin = max(0, skipped - round(PREROLL_SECONDS * sound.samplerate))
            if not sound.seekable():
                begin = 0
            elif begin > 0:
                sound.seek(begin)
            # One reading: soundfile jumps to where it already is before each further one.
            end = sound.read(dtype="float32", always_2d=True)
            return end[skipped - begin :], int(sound.samplerate)
    except FileNotFoundError as error:
        raise InputError(f"there is no audio file {path}") from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder, not an audio file") from error
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"cannot read {path} as audio: {_why(error)}") from error


def _rational(source_rate_hz: int, sample_rate_hz: int) -> tuple[int, int]:
    divisor = math.gcd(source_rate_hz, sample_rate_hz)
    return sample_rate_hz // divisor, source_rate_hz // divisor


def _stereo(channels: Samples) -> Samples:
    if channels.shape[0] == 1:
        return np.repeat(channels, NUM_CHANNELS, axis=0)
    sides, others = channels[:NUM_CHANNELS], channels[NUM_CHANNELS:]
    weight = math.sqrt(0.5)
    mixed: Samples = (sides + weight * others.sum(axis=0)) / (1 + weight * others.shape[0])
    return mixed


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or getattr(error, "error_string", None) or str(error)
