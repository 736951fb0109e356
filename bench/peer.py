"""One peer's extraction in an environment of its own: all hidden states of each utterance, one at a time, kept.

Run by bench/speed.py: ``python bench/peer.py PEER ENCODER_FOLDER AUDIO.npz``. For each line on standard input it passes
once over the audio and answers with its seconds, of its processor and by the clock.
"""

import logging
import sys
import time

import numpy as np
import torch


def lfeats(folder):
    from lfeats import Extractor
    from lfeats.models.hubert import HuBERTModel, HuBERTVariant
    from transformers import AutoConfig

    layers = AutoConfig.from_pretrained(folder).num_hidden_layers
    HuBERTVariant.model_name = property(lambda self: folder)  # it knows hub ids only
    HuBERTModel.num_layers = property(lambda self: layers)
    extractor = Extractor("hubert", "base")
    extractor.load(quiet=True)
    return lambda audio: extractor(audio, 16000, layers="all")


def ssl_kaldi_feats(folder):
    from ssl_kaldi_feats.extractor import SSLExtractor
    from transformers import AutoConfig

    every = range(1, AutoConfig.from_pretrained(folder).num_hidden_layers + 1)
    return SSLExtractor(folder, list(every), final_layer_norm="strip", device="cpu").extract


def s3prl(folder):
    from s3prl.upstream.hf_hubert.expert import UpstreamExpert

    upstream = UpstreamExpert(folder).eval()

    def extract(audio):
        with torch.no_grad():
            return upstream([torch.from_numpy(audio)])["hidden_states"]

    return extract


def main(peer: str, folder: str, audio: str) -> None:
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    extract = {"lfeats": lfeats, "ssl-kaldi-feats": ssl_kaldi_feats, "s3prl": s3prl}[peer](folder)
    utterances = list(np.load(audio).values())
    print("ready", flush=True)
    for _ in sys.stdin:
        processor, clock = time.process_time(), time.perf_counter()
        kept = [extract(one) for one in utterances]
        print(time.process_time() - processor, time.perf_counter() - clock, len(kept), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
