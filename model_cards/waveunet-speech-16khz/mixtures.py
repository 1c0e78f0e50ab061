"""The held-out mixtures of the default model: voices and noises that no training saw, at 0, 5, 10 and 15 dB."""

from dse_hf.data import ClipCollection, DataArguments, SpeechNoiseMixtures


SNRS = (0, 5, 10, 15)
SECONDS = 6.0


def held_out_mixtures(corpus: str, per_snr: int, split: str = "test", sampling_rate: int = 16000) -> dict:
    """SNR in dB → `SpeechNoiseMixtures` of `per_snr` clips of 6 seconds, the same ones every time."""
    speech = ClipCollection(f"{corpus}/speech", split, sampling_rate)
    noise = ClipCollection(f"{corpus}/noise", split, sampling_rate)
    mixtures = {}
    for snr in SNRS:
        arguments = DataArguments(
            f"{corpus}/speech",
            f"{corpus}/noise",
            snr_low=snr,
            snr_high=snr,
            level_low=-25,
            level_high=-25,
            clean_share=0,
            noise_only_share=0,
            augment=False,
        )
        length = round(SECONDS * sampling_rate)
        mixtures[snr] = SpeechNoiseMixtures(speech, noise, length, per_snr, arguments, seed=1000 + snr)
    return mixtures
