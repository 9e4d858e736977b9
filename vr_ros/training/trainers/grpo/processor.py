"""The processor that TRL wants of a vision-language model: the node's own pre-processing.

transformers builds no processor of the Qwen-VL families without torchvision; and a model is to be
trained on exactly the tokens and pixels that the node shows it.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import BatchFeature, PreTrainedTokenizerBase, ProcessorMixin

from vr_ros.core.prompt import PromptTemplate, render_chat
from vr_ros.core.types import Size
from vr_ros.models.preprocess import PatchSpec, image_grid, patchify

Message = dict[str, Any]
# A chat whose user message is already rendered.
_AS_IT_IS = '{Question}'


class CardProcessor(ProcessorMixin):
    """Chats and images to the inputs of a Qwen-VL model.

    Images come at the size that the model sees, see :mod:`~.rows`; each chat has at most one.

    :param tokenizer: of the checkpoint; pads on the left.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(tokenizer)
        tokenizer.padding_side = 'left'
        self.patches: PatchSpec | None = None

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, patches: PatchSpec) -> CardProcessor:
        """Make the processor of a family.

        :param patches: how it cuts images.
        """
        processor = cls(tokenizer)
        processor.patches = patches
        return processor

    def apply_chat_template(
        self, conversation: Sequence[Any], *_: Any, tokenize: bool = False,
        return_dict: bool = False, **__: Any,
    ) -> Any:
        """Render one chat, or several, up to where the model starts to write.

        :return: text; token ids with ``tokenize``, and the inputs of the images beside them with
            ``return_dict``.
        """
        is_one = bool(conversation) and isinstance(conversation[0], dict)
        chats = [conversation] if is_one else list(conversation)
        texts = [self._render(chat) for chat in chats]
        if not tokenize:
            return texts[0] if is_one else texts
        images = [_image_of(chat) for chat in chats]
        inputs = self._inputs(texts, images)
        return inputs if return_dict else inputs['input_ids']

    def __call__(
        self, images: Sequence[Any] | None = None, text: Sequence[str] | None = None,
        padding: bool = False, return_tensors: str | None = None, **_: Any,
    ) -> BatchFeature:
        """Give the inputs of rendered chats.

        :param images: of each chat a list of at most one image, or None.
        :param padding: with it and ``return_tensors``, everything is a tensor, padded on the left.
        """
        texts = [text] if isinstance(text, str) else list(text or ())
        each = [None] * len(texts) if images is None else [_sole(some) for some in images]
        inputs = self._inputs(texts, each)
        if not padding or return_tensors is None:
            return BatchFeature(inputs)
        per_token = {key: inputs.pop(key)
                     for key in ('input_ids', 'attention_mask', 'mm_token_type_ids')
                     if key in inputs}
        fill = {'input_ids': self.tokenizer.pad_token_id}
        padded = {key: _left_padded(rows, fill.get(key, 0)) for key, rows in per_token.items()}
        return BatchFeature({**padded, **inputs})

    def batch_decode(self, *args: Any, **options: Any) -> list[str]:
        """Write token ids out as the tokenizer does."""
        return self.tokenizer.batch_decode(*args, **options)

    def save_pretrained(self, save_directory: Any, **_: Any) -> list[str]:
        """Write the tokenizer: there is nothing else to know."""
        return list(self.tokenizer.save_pretrained(save_directory))

    def _render(self, chat: Sequence[Message]) -> str:
        texts = {message['role']: _text_of(message) for message in chat}
        image = _image_of(chat)
        tokens = 0 if image is None else self.patches.image_tokens(Size(*image.size))
        template = PromptTemplate(texts.get('system', ''), _AS_IT_IS)
        return render_chat(template, texts['user'], tokens)

    def _inputs(
        self, texts: Sequence[str], images: Sequence[Image.Image | None]
    ) -> dict[str, Any]:
        # Prompts of a group are the same: each text is read once.
        known = list(dict.fromkeys(texts))
        read = self.tokenizer(known, add_special_tokens=False)['input_ids']
        ids_of = dict(zip(known, read, strict=True))
        ids = [ids_of[text] for text in texts]
        inputs: dict[str, Any] = {
            'input_ids': ids, 'attention_mask': [[1] * len(row) for row in ids]}
        seen = [image for image in images if image is not None]
        if seen:
            image_token = self.tokenizer.convert_tokens_to_ids('<|image_pad|>')
            inputs |= {
                'mm_token_type_ids': [[int(one == image_token) for one in row] for row in ids],
                'pixel_values': torch.cat([self._patches_of(image) for image in seen]),
                'image_grid_thw': torch.cat([
                    image_grid(Size(*image.size), self.patches) for image in seen]),
            }
        return inputs

    def _patches_of(self, image: Image.Image) -> torch.Tensor:
        pixels = torch.from_numpy(np.array(image.convert('RGB'))).permute(2, 0, 1).float()
        return patchify(pixels[None], self.patches)


def _text_of(message: Message) -> str:
    content = message['content']
    if isinstance(content, str):
        return content
    return ''.join(part['text'] for part in content if part['type'] == 'text')


def _image_of(chat: Iterable[Message]) -> Image.Image | None:
    return _sole([part['image'] for message in chat if not isinstance(message['content'], str)
                  for part in message['content'] if part['type'] == 'image'])


def _sole(images: Sequence[Any] | None) -> Any:
    """:raises ValueError: there are several."""
    if not images:
        return None
    if len(images) > 1:
        raise ValueError(f'a prompt with {len(images)} images: models here see one')
    return images[0]


def _left_padded(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([[value] * (width - len(row)) + list(row) for row in rows])
