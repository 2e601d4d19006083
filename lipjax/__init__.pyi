# SPDX-License-Identifier: Apache-2.0
# The public names for type checkers and editors; tests/test_public.py holds them to the table.

from lipjax.config_files import load_config as load_config
from lipjax.data.babble.corpus import make_babble as make_babble
from lipjax.data.prepare.job import prepare as prepare
from lipjax.data.prepare.settings import PrepareSettings as PrepareSettings
from lipjax.data.reading import Corpus as Corpus
from lipjax.data.reading import open_corpus as open_corpus
from lipjax.data.views import Streams as Streams
from lipjax.data.views import View as View
from lipjax.data.windows import Windows as Windows
from lipjax.errors import ConfigError as ConfigError
from lipjax.errors import CorpusError as CorpusError
from lipjax.errors import LipjaxError as LipjaxError
from lipjax.errors import MediaError as MediaError
from lipjax.jobs import evaluate_workdir as evaluate_workdir
from lipjax.library import Talker as Talker
from lipjax.library import load as load
from lipjax.media.audio import Sound as Sound
from lipjax.media.audio import read_sound as read_sound
from lipjax.media.draw import contact_sheet as contact_sheet
from lipjax.media.image import read_image as read_image
from lipjax.media.log_mel import LogMel as LogMel
from lipjax.media.optical_flow import farneback as farneback
from lipjax.media.optical_flow import flow_picture as flow_picture
from lipjax.media.video_writing import write_video as write_video
from lipjax.metrics.cpbd import cpbd as cpbd
from lipjax.metrics.image import psnr as psnr
from lipjax.metrics.image import ssim as ssim
from lipjax.metrics.landmarks import lmd as lmd
from lipjax.models.at_a_glance import Generator as Generator
from lipjax.models.baselines import ChungGenerator as ChungGenerator
from lipjax.models.correlation import FlowEncoder as FlowEncoder
from lipjax.models.correlation import SpeechDerivativeEncoder as SpeechDerivativeEncoder
from lipjax.models.discriminators import Discriminator as Discriminator
from lipjax.models.discriminators import SoundStream as SoundStream
from lipjax.models.discriminators import VideoStream as VideoStream
from lipjax.models.map_sizes import strides_for as strides_for
from lipjax.models.optical_flow import FlowNet as FlowNet
from lipjax.models.perceptual import PerceptualAutoencoder as PerceptualAutoencoder
from lipjax.models.perceptual import PerceptualEncoder as PerceptualEncoder
from lipjax.models.vondrick import VondrickGenerator as VondrickGenerator
from lipjax.nn.log_mel import log_mel as log_mel
from lipjax.pretrained import installed_models as installed_models
from lipjax.speakers.at_a_glance import AtAGlanceSpeaker as AtAGlanceSpeaker
from lipjax.speakers.chunks import speak as speak
from lipjax.speakers.stream import stream as stream
from lipjax.tasks.at_a_glance import GeneratorTask as GeneratorTask
from lipjax.train import train_recipe as train_recipe
from lipjax.training.logging import read_metrics as read_metrics

__version__: str
