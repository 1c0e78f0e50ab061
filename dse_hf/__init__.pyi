from .convert import convert_checkpoint as convert_checkpoint
from .export import export_onnx as export_onnx
from .hub.cards import write_card as write_card
from .hub.publishing import publish_model as publish_model
from .hub.publishing import publish_space as publish_space
from .loading import embedded_models as embedded_models
from .loading import load_model as load_model
from .models.configuration_dae import DAEConfig as DAEConfig
from .models.configuration_dvae import DVAEConfig as DVAEConfig
from .models.configuration_waveunet import WaveUNetConfig as WaveUNetConfig
from .models.feature_extraction_spectrogram import SpectrogramFeatureExtractor as SpectrogramFeatureExtractor
from .models.feature_extraction_waveform import WaveformFeatureExtractor as WaveformFeatureExtractor
from .models.modeling_dae import DAEModel as DAEModel
from .models.modeling_dae import DAEOutput as DAEOutput
from .models.modeling_dae import VanillaAutoEncoder as VanillaAutoEncoder
from .models.modeling_dvae import DVAEModel as DVAEModel
from .models.modeling_dvae import DVAEOutput as DVAEOutput
from .models.modeling_dvae import VariationalAutoEncoder as VariationalAutoEncoder
from .models.modeling_separation import SeparationMixin as SeparationMixin
from .models.modeling_separation import SeparationStream as SeparationStream
from .models.modeling_waveunet import WaveUNet as WaveUNet
from .models.modeling_waveunet import WaveUNetModel as WaveUNetModel
from .models.modeling_waveunet import WaveUNetOutput as WaveUNetOutput
from .models.pipeline_audio_to_audio import AudioToAudioPipeline as AudioToAudioPipeline
from .separate import separate_file as separate_file

__version__: str
