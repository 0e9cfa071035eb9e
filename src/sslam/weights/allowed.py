"""The fixed list of names that a checkpoint may mention, and what each may be used for.

``type``: it may stand as a value, but not be called. ``object``: it may also be called or
instantiated, which makes an inert record and nothing else. Every other name ends the reading.
The names are those that fairseq, omegaconf and torch write into EAT's and SSLAM's checkpoints.
"""

from __future__ import annotations

from typing import Final

STORAGE_DTYPES: Final[dict[str, str]] = {
    "torch.FloatStorage": "float32",
    "torch.DoubleStorage": "float64",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
}

_TYPES = """
    builtins: bool bytes dict float int list long object str tuple unicode
    typing: Any Dict List Optional Tuple Union
    pathlib: Path PosixPath
"""

_OBJECTS = """
    torch: Size
    torch._utils: _rebuild_tensor_v2 _rebuild_parameter
    builtins: set
    collections: OrderedDict defaultdict
    argparse: Namespace
    _codecs: encode
    numpy: dtype
    numpy.core.multiarray: scalar
    numpy._core.multiarray: scalar
    omegaconf.base: ContainerMetadata Metadata SCMode
    omegaconf.dictconfig: DictConfig
    omegaconf.listconfig: ListConfig
    omegaconf.nodes: AnyNode BooleanNode BytesNode EnumNode FloatNode IntegerNode
    omegaconf.nodes: PathNode StringNode InterpolationResultNode
    fairseq.dataclass.configs: FairseqConfig CommonConfig CommonEvalConfig DistributedTrainingConfig
    fairseq.dataclass.configs: DatasetConfig OptimizationConfig CheckpointConfig GenerationConfig
    fairseq.dataclass.configs: EvalLMConfig InteractiveConfig EMAConfig FairseqBMUFConfig
    fairseq.dataclass.constants: ChoiceEnum Choices StrEnum
    fairseq.criterions.model_criterion: ModelCriterionConfig
    fairseq.optim.adam: FairseqAdamConfig
    fairseq.optim.composite: CompositeOptimizerConfig OptimizerAndSchedulerConfig
    fairseq.optim.lr_scheduler.cosine_lr_scheduler: CosineLRScheduleConfig
    fairseq.optim.lr_scheduler.pass_through: PassThroughScheduleConfig
"""

# Modules of a fairseq user folder take the folder's name as their package.
_USER_FOLDERS = (
    "EAT",
    "SSLAM_Stage2",
    "SSLAM_Ft_AS2M",
    "SSLAM_Ft_AS20K",
    "SSLAM_Ft_SPASS",
    "SSLAM_LinearEval_SPASS",
    "SSLAM_Inference",
    "examples.data2vec",
)
_USER_OBJECTS = """
    data.modality: Modality
    models.base: D2vModalityConfig
    models.images: D2vImageConfig
    models.modalities.base: D2vModalityConfig
    models.modalities.images: D2vImageConfig
    models.modules: D2vDecoderConfig
    models.modalities.modules: D2vDecoderConfig
    models.data2vec2: D2vModalitiesConfig Data2VecMultiConfig
    models.EAT_pretraining: D2vModalitiesConfig Data2VecMultiConfig
    models.EAT_audio_classification: MaeImageClassificationConfig PredictionMode
    tasks.pretraining_AS2M: MaeImagePretrainingConfig
    tasks.finetuning: MaeImageClassificationConfig
"""


def _names(table: str) -> list[str]:
    rows = (row.split(":") for row in table.strip().splitlines())
    return [f"{module.strip()}.{name}" for module, names in rows for name in names.split()]


ALLOWED: Final[dict[str, str]] = (
    dict.fromkeys([*STORAGE_DTYPES, *_names(_TYPES)], "type")
    | dict.fromkeys(_names(_OBJECTS), "object")
    | {f"{folder}.{n}": "object" for folder in _USER_FOLDERS for n in _names(_USER_OBJECTS)}
)
