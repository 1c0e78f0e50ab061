#!/bin/sh
# Makes the model again, from the Debian packages on: the corpus, training, the embedded folder.
#   sh model_cards/dae-speech-8khz/train.sh
set -eu
python model_cards/waveunet-speech-16khz/corpus.py corpus
python -m dse_hf.training.run model_cards/dae-speech-8khz/recipe.yaml
python model_cards/embed.py dae-speech-8khz runs/dae-speech-8khz
