#!/bin/sh
# Makes the model again, from the Debian packages on: corpus, stems, the model to start from, training, embedded folder.
#   sh model_cards/waveunet-dialogue-16khz/train.sh
set -eu
card=model_cards/waveunet-dialogue-16khz
runs=runs/waveunet-dialogue-16khz
python model_cards/waveunet-speech-16khz/corpus.py corpus
python $card/stems.py corpus corpus/stems
python $card/initial.py $runs-initial
python -m dse_hf.training.run $card/recipe.yaml --model $runs-initial
python model_cards/embed.py waveunet-dialogue-16khz $runs
