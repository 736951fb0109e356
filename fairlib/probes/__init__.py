"""Probes: what can be read from each layer, and with how many errors. All layers' probes see the same data.

Three tasks, a dataclass each: who speaks (`SpeakerProbe`), what is said (`CharacterProbe`), and which phone sounds
(`PhoneProbe`), each in two sizes of probe and with the controls that tell what an error means. `probe` runs them;
`identify_among` and `verify_speakers` are further views of the first task, `description_length` of the first and the
last. Each returns outcomes (see `fairlib.outcomes`), from the store if they are there.
"""

from fairlib.probes.characters import CharacterProbe
from fairlib.probes.controls import description_length, selectivity
from fairlib.probes.frames import compare_frame_modes
from fairlib.probes.phones import PhoneProbe, control_labels, phone_labels
from fairlib.probes.probing import probe, probe_characters, probe_of, probe_phones, probe_speakers, with_controls
from fairlib.probes.speakers import SpeakerProbe, confusions, identify_among, verify_speakers
from fairlib.probes.splits import ProbeError, balanced_seconds, balanced_speech, held_out
from fairlib.probes.stored import kept_features

__all__ = [
    "CharacterProbe", "PhoneProbe", "ProbeError", "SpeakerProbe", "balanced_seconds", "balanced_speech",
    "compare_frame_modes", "confusions", "control_labels", "description_length", "held_out", "identify_among",
    "kept_features", "phone_labels", "probe", "probe_characters", "probe_of", "probe_phones", "probe_speakers",
    "selectivity", "verify_speakers", "with_controls",
]  # fmt: skip
