#!/bin/sh
# Makes the model again, from the Debian packages on: corpus, stems, the model to start from, training, embedded folder.
#   sh model_cards/waveunet-dialogue-16khz/train.sh
set -eu
card=model_cards/waveunet-dialogue-16khz
runs=runs/waveunet-dialogue-16khz
python model_cards/waveunet-speech-16khz/corpus.py corpus
python $card/stems.py corpus corpus/stems
# The speech model that it starts from is the default of this commit, which later ones may not be.
mkdir -p $runs-speech
for file in config.json model.safetensors preprocessor_config.json; do
    git show ca9c52f:dse_hf/pretrained/waveunet-speech-16khz/$file > $runs-speech/$file
done
python $card/initial.py $runs-speech $runs-initial
# On a GPU it takes minutes; without one, some five hours.
processor=$(python -c 'import torch; print("" if torch.cuda.is_available() else "--use_cpu")')
python -m dse_hf.training.run $card/recipe.yaml --model $runs-initial $processor
python model_cards/embed.py waveunet-dialogue-16khz $runs --both-polarities
