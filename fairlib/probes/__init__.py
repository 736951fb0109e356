"""Probes: what can be read from each layer, and with how many errors. All layers' probes see the same data.

Three tasks: who speaks (`probe_speakers`: softmax on mean and deviation over time), what is said (`probe_characters`:
CTC on frames), and which phone sounds (`probe_phones`: softmax on force-aligned frames), each in two sizes of probe and
with the controls that tell what an error means. `identify_among` and `verify_speakers` are further views of the first
task, `description_length` of the first and the last. Each returns outcomes (see `fairlib.outcomes`), from the store if
they are there.
"""

from fairlib.probes.characters import CHARACTER_PROBE, probe_characters
from fairlib.probes.classifiers import PHONE_PROBE, SPEAKER_PROBE
from fairlib.probes.controls import description_length, selectivity
from fairlib.probes.frames import compare_frame_modes
from fairlib.probes.phones import control_labels, phone_labels, probe_phones
from fairlib.probes.speakers import confusions, identify_among, probe_speakers, verify_speakers
from fairlib.probes.splits import ProbeError, balanced_seconds, balanced_speech, held_out
from fairlib.probes.stored import kept_features

__all__ = [
    "CHARACTER_PROBE", "PHONE_PROBE", "SPEAKER_PROBE", "ProbeError", "balanced_seconds", "balanced_speech",
    "compare_frame_modes", "confusions", "control_labels", "description_length", "held_out", "identify_among",
    "kept_features", "phone_labels", "probe_characters", "probe_phones", "probe_speakers", "selectivity",
    "verify_speakers",
]  # fmt: skip
