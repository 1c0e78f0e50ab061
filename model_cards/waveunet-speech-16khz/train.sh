#!/bin/sh
# Makes the model again, from the Debian packages on: the corpus, the twenty stages, the embedded folder.
#   sh model_cards/waveunet-speech-16khz/train.sh
set -eu
card=model_cards/waveunet-speech-16khz
runs=runs/waveunet-speech-16khz
python $card/corpus.py corpus
python -m dse_hf.training.run $card/recipe.yaml
python -m dse_hf.training.run $card/finetune.yaml --model $runs
python -m dse_hf.training.run $card/intelligibility.yaml --model $runs-finetuned
python -m dse_hf.training.run $card/long.yaml --model $runs-intelligibility
python -m dse_hf.training.run $card/quality.yaml --model $runs-long
python -m dse_hf.training.run $card/perception.yaml --model $runs-quality
python model_cards/embed.py waveunet-speech-16khz $runs-quality $runs-perception --dtype float32
python $card/widen.py waveunet-speech-16khz $runs-wider --channel-growth 24
python -m dse_hf.training.run $card/width.yaml --model $runs-wider
python -m dse_hf.training.run $card/hearing.yaml --model $runs-width
# The last one counts twice in the mean.
python model_cards/embed.py waveunet-speech-16khz $runs-width $runs-hearing $runs-hearing
python $card/widen.py waveunet-speech-16khz $runs-deeper --one-more-level --channel-growth 28
python -m dse_hf.training.run $card/depth.yaml --model $runs-deeper
python model_cards/embed.py waveunet-speech-16khz $runs-depth
python -m dse_hf.training.run $card/noises.yaml --model waveunet-speech-16khz
# The last one counts twice in the mean.
python model_cards/embed.py waveunet-speech-16khz $runs-depth $runs-noises $runs-noises --both-polarities
python -m dse_hf.training.run $card/voices.yaml --model waveunet-speech-16khz
# The start counts once in the mean, the last one twice.
python model_cards/embed.py waveunet-speech-16khz waveunet-speech-16khz $runs-voices $runs-voices --both-polarities
python -m dse_hf.training.run $card/speakers.yaml --model waveunet-speech-16khz
python model_cards/embed.py waveunet-speech-16khz $runs-speakers --both-polarities
python -m dse_hf.training.run $card/targets.yaml --model waveunet-speech-16khz
# The start counts once in the mean, the last one twice.
python model_cards/embed.py waveunet-speech-16khz waveunet-speech-16khz $runs-targets $runs-targets --both-polarities
python -m dse_hf.training.run $card/cleaner.yaml --model waveunet-speech-16khz
# Chosen by: python $card/choose.py corpus waveunet-speech-16khz $runs-cleaner
python model_cards/embed.py waveunet-speech-16khz waveunet-speech-16khz $runs-cleaner --both-polarities
python $card/widen.py waveunet-speech-16khz $runs-wider30 --channel-growth 30
python -m dse_hf.training.run $card/wide.yaml --model $runs-wider30
# Chosen by: python $card/choose.py corpus $runs-wider30 $runs-wide
python model_cards/embed.py waveunet-speech-16khz $runs-wider30 $runs-wide --both-polarities
python -m dse_hf.training.run $card/spectra.yaml --model waveunet-speech-16khz
# Chosen by: python $card/choose.py corpus waveunet-speech-16khz $runs-spectra
python model_cards/embed.py waveunet-speech-16khz waveunet-speech-16khz $runs-spectra --both-polarities
# On a GPU it takes minutes; without one, some eight hours.
processor=$(python -c 'import torch; print("" if torch.cuda.is_available() else "--use_cpu")')
python -m dse_hf.training.run $card/batches.yaml --model waveunet-speech-16khz $processor
# The start counts once in the mean, the last one twice; chosen by:
# python $card/choose.py corpus waveunet-speech-16khz $runs-batches
python model_cards/embed.py waveunet-speech-16khz waveunet-speech-16khz $runs-batches $runs-batches --both-polarities
# Two runs from the same start, which counts twice in the mean with both; chosen by:
# python $card/choose.py corpus waveunet-speech-16khz $runs-suppression $runs-variety
python -m dse_hf.training.run $card/suppression.yaml --model waveunet-speech-16khz $processor
python -m dse_hf.training.run $card/variety.yaml --model waveunet-speech-16khz $processor
python model_cards/embed.py waveunet-speech-16khz waveunet-speech-16khz waveunet-speech-16khz \
    $runs-suppression $runs-variety --both-polarities
# Two more runs from the same start. All mixes are level by the measure of choose.py, which has the start ahead by 0.04 of
# 70: python $card/choose.py corpus waveunet-speech-16khz $runs-exchange $runs-exchange $runs-clearer
# This one has more PESQ, ESTOI and DNSMOS, and 0.2 dB less SI-SDR.
python -m dse_hf.training.run $card/exchange.yaml --model waveunet-speech-16khz $processor
python -m dse_hf.training.run $card/clearer.yaml --model waveunet-speech-16khz $processor
python model_cards/embed.py waveunet-speech-16khz waveunet-speech-16khz waveunet-speech-16khz waveunet-speech-16khz \
    waveunet-speech-16khz $runs-exchange $runs-exchange $runs-clearer --both-polarities
# Three runs on the recordings without their own noise. By the measure of choose.py the mixes with the start are 0.26 to 0.29
# of 70 ahead of it. This one is 0.005 behind the first (the start twice), and has more DNSMOS:
# python $card/choose.py corpus waveunet-speech-16khz $runs-cleaned $runs-harder $runs-energy
python $card/cleaned.py corpus
for run in cleaned harder energy; do
    python -m dse_hf.training.run $card/$run.yaml --model waveunet-speech-16khz $processor
done
python model_cards/embed.py waveunet-speech-16khz waveunet-speech-16khz $runs-cleaned $runs-harder $runs-energy \
    --both-polarities
