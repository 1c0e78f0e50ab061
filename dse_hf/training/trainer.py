"""`transformers.Trainer` for separation models."""

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from torch.utils.data import DataLoader, IterableDataset
from transformers import Trainer
from transformers.integrations import TensorBoardCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, HubStrategy
from transformers.utils import PushInProgress, logging

from ..data import Clip
from ..models.modeling_separation import center_crop
from .arguments import SeparationTrainingArguments
from .losses import WeightedLoss
from .noise_swap import swap_noises
from .validation import log_clips, mean_metrics, score_clips


logger = logging.get_logger(__name__)


class SeparationTrainer(Trainer):
    """Trains on windows of mixtures and their sources, and evaluates whole clips through `model.separate`.

    Examples have `input_values` (C, T), the mixture, and `labels` (K, C, T), its sources. A Wave-U-Net learns the
    losses of `args.losses`; an autoencoder learns its own loss on the spectra of mixture and foreground.

    Args:
        clips (`Callable[[], Iterable[Clip]]`, *optional*): gives the clips that an evaluation separates and scores.
        write_card (`Callable[[], None]`, *optional*): writes the model card, instead of `transformers.Trainer`.
        kwargs: see `transformers.Trainer`.

    Raises:
        ValueError: there is no such loss, or losses are given for an autoencoder, which has its own.
    """

    args: SeparationTrainingArguments  # pyrefly: ignore[bad-override-mutable-attribute]  # a Trainer keeps its class
    model: Any

    def __init__(
        self,
        *args,
        clips: Callable[[], Iterable[Clip]] | None = None,
        write_card: Callable[[], None] | None = None,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.clips, self.write_card = clips, write_card
        self.clip_records: list[dict] = []  # of the last evaluation
        config = self.model.config
        if not self.model.has_own_loss:
            loss = WeightedLoss(self.args.losses, config.sources, config.sampling_rate)
            self.loss = loss.to(self.args.device)
        elif self.args.losses != ["mse"]:
            raise ValueError(f"losses={self.args.losses}: a {config.model_type} has its own loss; leave them out")

    def get_train_dataloader(self) -> DataLoader:
        if not isinstance(self.train_dataset, IterableDataset):
            return super().get_train_dataloader()
        # Each process reads its own part of a stream. With accelerate's loader, one process would read for all.
        return StreamLoader(
            self.train_dataset,
            batch_size=self._train_batch_size,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
            persistent_workers=self.args.dataloader_persistent_workers,
            prefetch_factor=self.args.dataloader_prefetch_factor,
        )

    def training_step(self, *args, **kwargs):
        # All windows have the same length, so cuDNN's search for the fastest kernels is worth its time. Clips do not.
        before = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = before or not torch.backends.cudnn.deterministic
        try:
            return super().training_step(*args, **kwargs)
        finally:
            torch.backends.cudnn.benchmark = before

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        mixture, labels = inputs["input_values"], inputs["labels"]  # (B, C, T), (B, K, C, T)
        if model.training and self.args.noise_swaps:
            labels = swap_noises(labels, self.args.noise_swaps)
            mixture = labels.sum(dim=1)
        if self.model.has_own_loss:
            outputs = model(**self.model.training_inputs(mixture, labels))
            loss = outputs.loss
        else:
            outputs = model(input_values=mixture)
            loss = self.loss(outputs.sources, center_crop(labels, outputs.sources.shape[-1]), outputs.mixture)
        return (loss, outputs) if return_outputs else loss

    def evaluation_loop(  # pyrefly: ignore[bad-override]  # the other arguments go on as they are
        self, dataloader, description, prediction_loss_only=None, ignore_keys=None, **kwargs
    ):
        """Measures the loss on windows and the scores of whole clips. `eval_si_sdr` etc. are of the first source."""
        output = super().evaluation_loop(dataloader, description, True, ignore_keys, **kwargs)
        if self.clips is not None and output.metrics is not None:
            prefix = kwargs.get("metric_key_prefix", "eval")
            self.clip_records = self._score_clips(self.clips())
            metrics = mean_metrics(self.clip_records, self.model.config.sources)
            output.metrics.update({f"{prefix}_{name}": value for name, value in metrics.items()})
        return output

    def _score_clips(self, clips: Iterable[Clip]) -> list[dict]:
        """Scores this process's share of the clips. Returns the records of all processes."""
        model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        rank, processes = self.args.process_index, self.args.world_size
        mine = (clip for number, clip in enumerate(clips) if number % processes == rank)
        keep = self.args.log_audio_clips if self._tensorboard() is not None else 0
        records, heard = score_clips(model, mine, self.args.eval_perceptual, keep)
        if heard:
            log_clips(self._tensorboard(), heard, model.config, self.state.global_step)
        return gather_object(records) if processes > 1 else records

    def _tensorboard(self):
        """The writer of TensorBoard, or None in processes that do not write to it."""
        callbacks = self.callback_handler.callbacks
        return next((c.tb_writer for c in callbacks if isinstance(c, TensorBoardCallback)), None)

    def _save_checkpoint(self, model, trial):
        folder = Path(self._get_output_dir(trial=trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        try:
            super()._save_checkpoint(model, trial)
        except (OSError, RuntimeError) as error:  # torch raises RuntimeError if the disk is full.
            if is_complete(folder):
                raise
            # Otherwise a later run would go on from it, or delete an older checkpoint to keep this one.
            shutil.rmtree(folder, ignore_errors=True)
            raise ValueError(
                f"{folder}: could not be saved ({error}); earlier checkpoints are kept. Make room and run the same "
                "command to go on"
            ) from error

    def init_hf_repo(self, *args, **kwargs):
        try:
            super().init_hf_repo(*args, **kwargs)
        except Exception as error:  # The Hub's client raises errors of many kinds.
            raise ValueError(
                f"hub_model_id={self.args.hub_model_id!r}: the repository cannot be made ({error}); "
                "run `hf auth login`, check the name and the network, or leave out push_to_hub"
            ) from error

    def push_to_hub(self, *args, **kwargs):
        try:
            return super().push_to_hub(*args, **kwargs)
        except Exception as error:
            raise ValueError(
                f"{self.args.output_dir}: trained and saved, but not pushed ({error}); push it with "
                f"`dse-hf publish {self.args.output_dir} {self.hub_model_id}`"
            ) from error

    def _push_from_checkpoint(self, checkpoint_folder):
        """Pushes the model of a checkpoint in the background, without the pickles that Trainer saves beside it."""
        if not self.is_world_process_zero() or self.args.hub_strategy == HubStrategy.END:
            return
        if self.push_in_progress is not None and not self.push_in_progress.is_done():
            return
        try:
            job = HfApi(token=self.args.hub_token).upload_folder(
                repo_id=str(self.hub_model_id),
                folder_path=checkpoint_folder,
                allow_patterns=["*.safetensors", "*.safetensors.index.json", "*config.json", "*.py"],
                commit_message=f"Training in progress, step {self.state.global_step}",
                revision=self.args.hub_revision,
                run_as_future=True,
            )
        except (HfHubHTTPError, OSError) as error:
            _report_failed_push(checkpoint_folder, error)
        else:
            job.add_done_callback(lambda job: _report_failed_push(checkpoint_folder, job.exception()))
            self.push_in_progress = PushInProgress([job])  # pyrefly: ignore[bad-argument-type]  # it takes a list

    def _save(self, output_dir=None, state_dict=None):
        super()._save(output_dir, state_dict)
        folder = Path(str(self.args.output_dir))
        if Path(output_dir or folder) == folder:
            # It is a pickle, which nobody should load. Checkpoints keep theirs, so that training can go on.
            (folder / "training_args.bin").unlink(missing_ok=True)

    def create_model_card(self, *args, **kwargs):
        """Writes our card. Trainer calls this before a push and would overwrite it."""
        if self.write_card is not None and self.is_world_process_zero():
            self.write_card()


class StreamLoader(DataLoader):
    """A loader that passes the number of the epoch on to its dataset, as accelerate's loaders do."""

    def set_epoch(self, epoch: int) -> None:
        self.dataset.set_epoch(epoch)  # pyrefly: ignore[missing-attribute]  # our streams have it


def _report_failed_push(checkpoint_folder, error: BaseException | None) -> None:
    if error is not None:
        logger.warning(f"{checkpoint_folder}: saved, but not pushed to the Hub ({error}); training goes on")


def is_complete(checkpoint: Path) -> bool:
    """Whether a checkpoint was saved completely: `trainer_state.json` is written last."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return (checkpoint / "model.safetensors").exists() or (checkpoint / "model.safetensors.index.json").exists()


def last_complete_checkpoint(output_dir: str) -> str | None:
    """The latest checkpoint in the folder that was saved completely, or None."""
    folders = [path for path in Path(output_dir).glob(f"{PREFIX_CHECKPOINT_DIR}-*") if path.name[11:].isdigit()]
    complete = [path for path in folders if is_complete(path)]
    return str(max(complete, key=lambda path: int(path.name[11:]))) if complete else None
