"""Log-probabilities of the rollouts of a group in one sequence: the prompt is computed once.

Behind the prompt stand all its rollouts, each of which sees the prompt and itself. The numbers are
those of one sequence per rollout; with 8 rollouts, a prompt longer than its answers, and no padding
up to the longest answer of the step, it is a third of the work and less.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vr_ros.training.trainers.grpo.shared_vision import equal_images

IGNORED = -100


@dataclass(frozen=True, eq=False)
class Pass:
    """Some groups, for one forward pass: U sequences of N tokens, padded at the end.

    A prompt's last token stands in front of each of its rollouts, to predict its first one, and the
    last token of a rollout predicts nothing: it is left out.

    :param ids: (U, N).
    :param positions: (3, U, N) of M-RoPE.
    :param visible: (U, 1, N, N) bool, who sees whom.
    :param labels: (U, N) the next token; IGNORED where there is none to score.
    :param images: ``pixel_values`` and ``image_grid_thw``, or nothing.
    :param rows: (R,) rollouts of the step that are in it.
    :param starts: (R,) where each begins among the U * N tokens.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    visible: torch.Tensor
    labels: torch.Tensor
    images: Mapping[str, torch.Tensor]
    rows: torch.Tensor
    starts: torch.Tensor

    def inputs(self) -> dict[str, Any]:
        """Give what TRL's forward pass with its own head takes."""
        return {'input_ids': self.ids, 'position_ids': self.positions,
                'attention_mask': self.visible, 'shift_labels': self.labels, **self.images}

    def unpack(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Bring values of tokens back into a row per rollout.

        :param values: (U, N).
        :param mask: (B, C) of all rollouts of the step, 1 where there is a token.
        :return: (R, C), 0 where there is none.
        """
        mine = mask[self.rows].bool()
        places = self.starts[:, None] + torch.arange(mask.shape[1], device=mask.device)
        picked = values.reshape(-1)[places.masked_fill(~mine, 0)]
        return picked.masked_fill(~mine, 0)


@dataclass(frozen=True, eq=False)
class _Group:
    """Rollouts of one prompt.

    :param prompt: its tokens, :param positions: (3, L) theirs.
    :param rows: of the rollouts; :param answers: their tokens.
    :param image: number of its image; None without one.
    """

    prompt: list[int]
    positions: torch.Tensor
    rows: list[int]
    answers: list[list[int]]
    image: int | None

    def __len__(self) -> int:
        return len(self.prompt) - 1 + sum(map(len, self.answers))


def passes(
    inner: torch.nn.Module, ids: torch.Tensor, mask: torch.Tensor, answer_tokens: int,
    images: Mapping[str, torch.Tensor], has_image: Sequence[bool], groups_per_pass: int,
    is_wanted: Sequence[bool] | None = None,
) -> list[Pass]:
    """Pack the rollouts of a step.

    :param inner: the model of the family, without its head: it knows the positions of images.
    :param ids: (B, P + C) prompts, padded on the left, and answers, padded on the right.
    :param mask: (B, P + C) 1 where a token is.
    :param answer_tokens: C.
    :param images: ``pixel_values`` and ``image_grid_thw`` of all rollouts, or nothing.
    :param groups_per_pass: at most so many; those of like length go together.
    :param is_wanted: of each rollout; None: all. The others are in no pass.
    """
    wanted = [row for row in range(len(ids)) if is_wanted is None or is_wanted[row]]
    found = sorted(_groups(inner, ids, mask, answer_tokens, images, has_image, wanted), key=len)
    return [_pass(found[start:start + groups_per_pass], images, ids.device)
            for start in range(0, len(found), groups_per_pass)]


def _groups(
    inner: torch.nn.Module, ids: torch.Tensor, mask: torch.Tensor, answer_tokens: int,
    images: Mapping[str, torch.Tensor], has_image: Sequence[bool], wanted: Sequence[int],
) -> list[_Group]:
    width = ids.shape[1] - answer_tokens
    all_ids, all_mask = ids.tolist(), mask.tolist()
    image_of = _images_by_row(images, has_image)
    members: dict[tuple[Any, ...], list[int]] = {}
    for row in wanted:
        prompt = tuple(
            token for token, seen in zip(all_ids[row][:width], all_mask[row], strict=False) if seen)
        members.setdefault((prompt, image_of[row]), []).append(row)
    positions = _prompt_positions(inner, ids, mask, width, images,
                                  [(rows[0], key[1]) for key, rows in members.items()])
    answers = [[token for token, seen in zip(row[width:], seen[width:], strict=True) if seen]
               for row, seen in zip(all_ids, all_mask, strict=True)]
    return [
        _Group(list(prompt), positions[number], rows, [answers[row] for row in rows], image)
        for number, ((prompt, image), rows) in enumerate(members.items())]


def _prompt_positions(
    inner: torch.nn.Module, ids: torch.Tensor, mask: torch.Tensor, width: int,
    images: Mapping[str, torch.Tensor], firsts: Sequence[tuple[int, int | None]],
) -> list[torch.Tensor]:
    """:return: of each prompt (3, L)."""
    rows = [row for row, _ in firsts]
    shown = [image for _, image in firsts if image is not None]
    prompts, seen = ids[rows, :width], mask[rows, :width]
    if not shown:
        plain = (seen.long().cumsum(-1) - 1).expand(3, -1, -1)
        return [plain[:, n][:, seen[n].bool()] for n in range(len(rows))]
    positions, _ = inner.get_rope_index(
        prompts, mm_token_type_ids=(prompts == inner.config.image_token_id).int(),
        image_grid_thw=images['image_grid_thw'][shown], attention_mask=seen)
    return [positions[:, n][:, seen[n].bool()] for n in range(len(rows))]


def _images_by_row(images: Mapping[str, torch.Tensor], has_image: Sequence[bool]
                   ) -> list[int | None]:
    """:return: of each rollout the number of its image; equal images have the same one."""
    if not images:
        return [None] * len(has_image)
    grids = images['image_grid_thw']
    firsts, places = equal_images(
        images['pixel_values'].split(grids.prod(-1).tolist()), grids.tolist())
    numbers = iter(places)
    return [firsts[next(numbers)] if shown else None for shown in has_image]


def _pass(groups: Sequence[_Group], images: Mapping[str, torch.Tensor], device: torch.device
          ) -> Pass:
    length = max(map(len, groups))
    shape = len(groups), length
    ids = torch.zeros(shape, dtype=torch.long)
    labels = torch.full(shape, IGNORED)
    # 0 the prompt, 1 and on its rollouts, -1 padding.
    parts = torch.full(shape, -1)
    positions = torch.zeros((3, *shape), dtype=torch.long)
    rows, starts = [], []
    for number, group in enumerate(groups):
        place = len(group.prompt) - 1
        ids[number, :place] = torch.tensor(group.prompt[:-1])
        parts[number, :place] = 0
        given = group.positions.cpu()
        positions[:, number, :place] = given[:, :-1]
        first = int(given.max())   # of the prompt's last token: text behind an image
        for part, (row, answer) in enumerate(zip(group.rows, group.answers, strict=True), 1):
            end = place + len(answer)
            rows.append(row)
            starts.append(number * length + place)
            if answer:
                ids[number, place:end] = torch.tensor([group.prompt[-1], *answer[:-1]])
                labels[number, place:end] = torch.tensor(answer)
                parts[number, place:end] = part
                positions[:, number, place:end] = first + torch.arange(len(answer))
            place = end
    order = torch.arange(length)
    visible = (order[:, None] >= order) & (
        (parts[:, None, :] == 0) | (parts[:, None, :] == parts[:, :, None]))
    return Pass(
        ids.to(device), positions.to(device), visible[:, None].to(device), labels.to(device),
        _images_of(groups, images), torch.tensor(rows, device=device),
        torch.tensor(starts, device=device))


def _images_of(groups: Sequence[_Group], images: Mapping[str, torch.Tensor]
               ) -> dict[str, torch.Tensor]:
    shown = [group.image for group in groups if group.image is not None]
    if not shown:
        return {}
    grids = images['image_grid_thw']
    pixels = images['pixel_values'].split(grids.prod(-1).tolist())
    return {'pixel_values': torch.cat([pixels[image] for image in shown]),
            'image_grid_thw': grids[shown]}
