"""SAM 2 on Meta's own package, `sam2`, for checkpoints in its layout.

The package is optional, and imported only when a card asks for it. Of its parts only the model is
used: torchvision, which its predictor needs, is not.
"""
from __future__ import annotations

import math
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from vr_ros.core.types import PerceptionError, Status
from vr_ros.models.card import SegmenterCard
from vr_ros.models.schema import suggestion
from vr_ros.models.segmenter import Segmenter
from vr_ros.models.weights import check_digests, check_loaded

INSTALL = 'SAM2_BUILD_CUDA=0 pip install --no-build-isolation sam2'
# Pixels per side of the image encoder's coarsest map, which the finer ones are added to.
COARSEST_PX = 32

# Labels of SAM 2's point prompts: those of a box are its corners.
FOREGROUND, TOP_LEFT, BOTTOM_RIGHT = 1, 2, 3


class MetaSam2Segmenter(Segmenter):
    """A SAM 2 or SAM 2.1 checkpoint in Meta's layout, of any size. It has no video memory here.

    :param checkpoint: the `.pt` file. Only tensors are read from it, never code.
    :param config: the name of one of the package's configurations, such as
        'configs/sam2.1/sam2.1_hiera_l.yaml', or the absolute path of a YAML file.
    :param image_size: edge in pixels of the square that the model sees; may differ from the
        checkpoint's own.
    :param device: where to compute, such as 'cuda' or 'cpu'.
    :param dtype: number format of the image encoder and mask decoder.
    :raises PerceptionError: MODEL_UNAVAILABLE: the package or a file is missing, the checkpoint is
        of another model, or the model cannot take that size.
    """

    def __init__(
        self, checkpoint: Path, config: str, image_size: int, device: str | torch.device = 'cpu',
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(image_size, torch.device(device), dtype)
        model = _build(config, image_size)
        _load_weights(model, checkpoint, config)
        # Single images need none, and they are a fifth of the smallest model.
        model.memory_attention = model.memory_encoder = None
        model.image_encoder.to(dtype)
        model.sam_mask_decoder.to(dtype)
        self.model = model.to(self.device).eval()
        with torch.inference_mode():
            self._positions = self.model.sam_prompt_encoder.get_dense_pe().to(dtype)

    @classmethod
    def load(cls, card: SegmenterCard, device: str | torch.device = 'cpu') -> MetaSam2Segmenter:
        """Load a card's checkpoint.

        :raises PerceptionError: MODEL_UNAVAILABLE with one line that says what is wrong.
        """
        device = torch.device(device)
        checkpoint = card.weights.path
        if checkpoint is None:
            raise _unavailable(f'{card.weights}: the sam2 package takes its checkpoint by path')
        if not checkpoint.is_file():
            raise _unavailable(
                f'no checkpoint at {checkpoint}: copy the .pt file there, or correct the card'
            )
        check_digests(card.weights.sha256, [checkpoint])
        dtype = getattr(torch, card.dtype_for(device.type))
        return cls(checkpoint, card.config, card.image_size, device, dtype)

    def _encode(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        maps = self.model.forward_image(pixels)['backbone_fpn'][-self.model.num_feature_levels:]
        # The package adds the maps up in float32, whatever the number format.
        return tuple(seen.to(self.dtype) for seen in maps)

    def _decode(
        self, maps: tuple[torch.Tensor, ...], boxes: torch.Tensor, points: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        coordinates, labels = boxes.view(-1, 2, 2), [TOP_LEFT, BOTTOM_RIGHT]
        if points is not None:
            coordinates = torch.cat((coordinates, points[:, None]), 1)
            labels.append(FOREGROUND)
        sparse, dense = self.model.sam_prompt_encoder(
            points=(coordinates, torch.tensor([labels], device=self.device).expand(len(boxes), -1)),
            boxes=None, masks=None,
        )
        image = maps[-1]
        if self.model.directly_add_no_mem_embed:
            image = image + self.model.no_mem_embed.to(self.dtype).mT[..., None]
        masks, scores, _, _ = self.model.sam_mask_decoder(
            image_embeddings=image, image_pe=self._positions,
            sparse_prompt_embeddings=sparse.to(self.dtype),
            dense_prompt_embeddings=dense.to(self.dtype),
            multimask_output=True, repeat_image=True, high_res_features=list(maps[:-1]),
        )
        return masks, scores


def _build(name: str, image_size: int) -> Any:
    """:return: the package's SAM2Base, with random weights."""
    try:
        import sam2
        from hydra.utils import get_class, instantiate
        from omegaconf import OmegaConf
    except ImportError as error:
        raise _unavailable(
            f'the sam2 package cannot be imported ({error}): install it with "{INSTALL}", '
            'or take a card with backend: transformers'
        ) from error
    file = _config_file(name, Path(sam2.__file__).parent)
    try:
        values: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=True)
        config = values['model'] | {'image_size': image_size, 'compile_image_encoder': False}
        for target in _targets(config):
            # Any function of any package could be named here, and would be called.
            if not get_class(target).__module__.startswith('sam2.modeling.'):
                raise ValueError(f'{target} is no part of a SAM 2 model')
        model = instantiate(config)
        patch_px = model.image_encoder.trunk.patch_embed.proj.stride[0]
        window = model.image_encoder.trunk.window_spec[0]
    except Exception as error:  # YAML's, OmegaConf's, Hydra's, and what it lets through
        reason = ' '.join(str(error).split())
        raise _unavailable(f'{file} is no configuration of a SAM 2 model: {reason}') from error
    step = math.lcm(patch_px * window, COARSEST_PX)
    if image_size % step:
        raise _unavailable(f'{file}: image_size {image_size} is no multiple of {step}')
    return model


def _config_file(name: str, package: Path) -> Path:
    if Path(name).is_absolute():
        if not Path(name).is_file():
            raise _unavailable(f'no sam2 configuration at {name}: correct the card')
        return Path(name)
    known = {
        path.relative_to(package).as_posix(): path
        for path in sorted(package.glob('configs/*/*.yaml')) if 'training' not in path.parent.name
    }
    if name not in known:
        raise _unavailable(
            f'the sam2 package has no configuration "{name}"; '
            f'known: {", ".join(known)}{suggestion(name, list(known))}'
        )
    return known[name]


def _targets(config: object) -> Iterator[str]:
    """Name what a configuration would call."""
    if isinstance(config, Mapping):
        if '_target_' in config:
            yield str(config['_target_'])
        config = list(config.values())
    if isinstance(config, list):
        for value in config:
            yield from _targets(value)


def _load_weights(model: torch.nn.Module, checkpoint: Path, config: str) -> None:
    try:
        weights = torch.load(checkpoint, map_location='cpu', weights_only=True)['model']
        shapes = {name: tensor.shape for name, tensor in weights.items()}
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise _unavailable(
            f'{checkpoint} is damaged, or holds more than tensors: {_first_line(error)}'
        ) from error
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise _unavailable(
            f'{checkpoint} is no checkpoint of the sam2 package: it has no tensors under "model"'
        ) from error
    own = {name: tensor.shape for name, tensor in model.state_dict().items()}
    check_loaded({
        'missing_keys': own.keys() - shapes.keys(),
        'mismatched_keys': [name for name in own.keys() & shapes.keys()
                            if own[name] != shapes[name]],
    }, checkpoint)
    unknown = sorted(map(str, shapes.keys() - own.keys()))
    if unknown:
        raise _unavailable(
            f'{checkpoint} has {len(unknown)} tensors, such as {unknown[0]}, that {config} has no '
            'place for: it is a checkpoint of another configuration'
        )
    model.load_state_dict(weights)


def _first_line(error: BaseException) -> str:
    """torch tells at length how one could load code after all."""
    return str(error).strip().partition('\n')[0]


def _unavailable(message: str) -> PerceptionError:
    return PerceptionError(Status.MODEL_UNAVAILABLE, message)
