"""Ask a reasoner more about an image that it has just answered about."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from vr_ros.models.image_prefix import ImagePrefix
from vr_ros.models.qwen_vl import QwenVLReasoner

# Texts that are read at once; bounds memory.
MAX_ROWS = 32


class SecondLook:
    """Further prompts that share the system message and the image of an answer's prompt.

    :param prefix: of an answer of this reasoner.
    """

    def __init__(self, reasoner: QwenVLReasoner, prefix: ImagePrefix) -> None:
        self._reasoner, self._prefix = reasoner, prefix
        self._ends = torch.tensor(
            reasoner.model.generation_config.eos_token_id, device=reasoner.device
        )

    @torch.inference_mode()
    def probability(
        self, prompts: Sequence[str], yes: Sequence[str], no: Sequence[str], max_tokens: int = 1
    ) -> torch.Tensor:
        """Give the probability of yes among yes and no, where a text first says one of them.

        :param prompts: whole chats, up to where the model goes on.
        :param yes, no: ways to say it; the first token of each counts.
        :param max_tokens: how far the model may write until it has said one of them.
        :return: (N,) float32 on the host; NaN where it never did.
        """
        found = [
            self._probability(prompts[start:start + MAX_ROWS], yes, no, max_tokens)
            for start in range(0, len(prompts), MAX_ROWS)
        ]
        return torch.cat(found).cpu() if found else torch.empty(0)

    def _probability(
        self, prompts: Sequence[str], yes: Sequence[str], no: Sequence[str], max_tokens: int
    ) -> torch.Tensor:
        continued = self._prefix.continued([self._ids(text) for text in prompts])
        device = self._reasoner.device
        for_yes, for_no = (
            torch.tensor([self._ids(word)[0] for word in words], device=device)
            for words in (yes, no)
        )
        result = torch.full((len(prompts),), float('nan'), device=device)
        for step in range(max_tokens):
            best = continued.logits.argmax(-1)
            chance = continued.logits.softmax(-1)
            says_yes, says_no = chance[:, for_yes].sum(-1), chance[:, for_no].sum(-1)
            says = torch.isin(best, torch.cat((for_yes, for_no))) | (step == max_tokens - 1 == 0)
            result = torch.where(result.isnan() & says, says_yes / (says_yes + says_no), result)
            if step == max_tokens - 1 or not result.isnan().any():
                break
            continued.write(best)
        return result

    @torch.inference_mode()
    def samples(
        self, number: int, temperature: float, seed: int = 0,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> tuple[str, ...]:
        """Answer the prompt again, with chance.

        :param number: of answers.
        :param temperature: 1 is the model's own distribution.
        :param seed: the same gives the same answers on the same machine.
        :param should_stop: asked after each token; True: there are none.
        """
        reasoner = self._reasoner
        dice = torch.Generator(reasoner.device).manual_seed(seed)
        continued = self._prefix.continued([self._prefix.ids] * number)
        tokens: list[torch.Tensor] = []
        ended = torch.zeros(number, dtype=torch.bool, device=reasoner.device)
        for step in range(reasoner.card.max_new_tokens):
            chance = (continued.logits / temperature).softmax(-1)
            chosen = torch.multinomial(chance, 1, generator=dice)[:, 0]
            tokens.append(torch.where(ended, self._ends[0], chosen))
            ended |= torch.isin(chosen, self._ends)
            if should_stop():
                return ()
            # Asking the device, and looking for stop strings, costs time: not at every token.
            if step % 8 == 7 and self._all_ended(tokens, ended):
                break
            continued.write(chosen)
        return tuple(self._text(row) for row in torch.stack(tokens, 1).tolist())

    def _all_ended(self, tokens: list[torch.Tensor], ended: torch.Tensor) -> bool:
        stop = self._reasoner.card.stop
        if stop:
            rows = torch.stack(tokens, 1).tolist()
            stopped = [any(end in self._text(row) for end in stop) for row in rows]
            ended |= torch.tensor(stopped, device=ended.device)
        return bool(ended.all())

    def _text(self, tokens: Sequence[int]) -> str:
        return self._reasoner.tokenizer.decode(tokens, skip_special_tokens=True)

    def _ids(self, text: str) -> list[int]:
        return self._reasoner.tokenizer(text, add_special_tokens=False)['input_ids']
