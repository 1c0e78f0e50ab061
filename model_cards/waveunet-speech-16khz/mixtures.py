"""The held-out mixtures of the default model, at 0, 5, 10 and 15 dB: their voices and noises are never trained on."""

from dse_hf.data import ClipCollection, DataArguments, SpeechNoiseMixtures


SNRS = (0, 5, 10, 15)
SECONDS = 6.0
PEERS = ("noisereduce", "rnnoise", "deepfilternet", "dtln")  # the other denoisers in the tables of the card


def held_out_mixtures(corpus: str, per_snr: int, split: str = "test", sampling_rate: int = 16000) -> dict:
    """Returns, for each SNR in dB, `SpeechNoiseMixtures` of `per_snr` clips of 6 seconds: the same every time."""
    return {
        snr: _mixtures(corpus, per_snr, split, sampling_rate, seed=1000 + snr, snr_low=snr, snr_high=snr)
        for snr in SNRS
    }


def held_out_speech(corpus: str, size: int, split: str = "test", sampling_rate: int = 16000) -> SpeechNoiseMixtures:
    """Returns `size` clips of 6 seconds of speech without noise."""
    return _mixtures(corpus, size, split, sampling_rate, seed=2000, clean_share=1)


def held_out_noise(corpus: str, size: int, split: str = "test", sampling_rate: int = 16000) -> SpeechNoiseMixtures:
    """Returns `size` clips of 6 seconds of noise without speech."""
    return _mixtures(corpus, size, split, sampling_rate, seed=3000, noise_only_share=1)


def _mixtures(corpus, size, split, sampling_rate, seed, clean_share=0, noise_only_share=0, snr_low=0, snr_high=0):
    arguments = DataArguments(
        f"{corpus}/speech",
        f"{corpus}/noise",
        snr_low=snr_low,
        snr_high=snr_high,
        level_low=-25,
        level_high=-25,
        clean_share=clean_share,
        noise_only_share=noise_only_share,
        augment=False,
    )
    speech = ClipCollection(f"{corpus}/speech", split, sampling_rate)
    noise = ClipCollection(f"{corpus}/noise", split, sampling_rate)
    return SpeechNoiseMixtures(speech, noise, round(SECONDS * sampling_rate), size, arguments, seed=seed)
