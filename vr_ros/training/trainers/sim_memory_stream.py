"""Following objects through whole clips in the model's own memory, and learning on the way.

Short windows with the gradient through all their memories show an object next to its mask as it
was given. At run time the memory is of masks that the model made itself, and hiding comes little by
little. So clips are followed to their end; the model learns from each frame as it comes, mostly
where something is hidden, nearly hidden or just back. The gradient goes back to the memory of the
frame before and no further, which costs as much per frame whatever the length.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from vr_ros.training.trainers.sim_memory_data import (
    ClipBank,
    ClipBatch,
    ClipMaker,
    hiding,
)
from vr_ros.training.trainers.sim_memory_follow import ClipFollower, Seen
from vr_ros.training.trainers.sim_segmenter_model import segmentation_loss

# Nearly hidden: less shows than this share of the most; just back: hidden within so many frames.
NEAR_FRACTION, BACK_FRAMES = 0.5, 3
LOST_IOU = 0.5
# A hidden object's mask is to be empty too: what drifts onto others does so before it is absent.
EMPTY_WEIGHT = 0.2


def telling(areas: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Find the frames that say most of presence: objects hidden, nearly so, or just back.

    :param areas: (T, N) visible pixels; :param known: (T, N) bool.
    :return: (T, N) bool.
    """
    hidden = (areas == 0) & known
    told = areas < NEAR_FRACTION * areas.max(0).values
    for back in range(1, min(BACK_FRAMES, len(areas) - 1) + 1):
        told[back:] |= hidden[:-back]
    return told


class Stream:
    """A batch of clips on its way, one frame per step.

    :param batch: on any device; its frames are encoded as they come.
    """

    def __init__(self, follower: ClipFollower, batch: ClipBatch) -> None:
        self.follower, self.batch, self.frame = follower, batch, 0
        self.device = follower.model.device
        self._owner = batch.owner.to(self.device)
        self.telling = telling(batch.masks.flatten(2).sum(2), batch.known)
        with torch.no_grad():
            _, memory, pointers = follower.begin(self._maps(), batch.seeds.to(self.device))
        self._memories, self._pointers = [memory], [pointers]
        self._last: tuple[list[torch.Tensor], Seen] | None = None

    @property
    def ended(self) -> bool:
        """Whether its last frame has been seen."""
        return self.frame + 1 >= len(self.batch.pixels)

    def draw(self, rng: np.random.Generator, share: float) -> torch.Tensor:
        """Choose what to learn from on the next frame.

        :return: (N) bool: objects whose frame tells, and a share of the others, twice that of
            objects that are lost.
        """
        share = share * (1 + self.lost.numpy())
        return self.telling[self.frame + 1] | torch.from_numpy(rng.random(len(share)) < share)

    @property
    def lost(self) -> torch.Tensor:
        """(N) bool: objects not found where they are on this frame, or found where they are not."""
        if self._last is None:
            return torch.zeros(len(self.batch.owner), dtype=torch.bool)
        found = self._last[1].masks.cpu() > 0
        masks = self.batch.masks[self.frame]
        truth = F.adaptive_avg_pool2d(masks[:, None], found.shape[1:])[:, 0] >= 0.5
        overlap, union = (found & truth).sum((1, 2)), (found | truth).sum((1, 2))
        there = masks.flatten(1).any(1)
        return torch.where(there, overlap < LOST_IOU * union, union > 0)

    def step(self, learned: torch.Tensor) -> Seen | None:
        """Find all objects on the next frame.

        :param learned: (N) bool: objects that are computed with gradients.
        :return: those objects alone; None when there are none.
        """
        self.frame += 1
        maps = self._maps()
        result, parts = None, []
        for rows, learning in ((learned, True), (~learned, False)):
            if not rows.any():
                continue
            rows = torch.nonzero(rows).flatten().to(self.device)
            with torch.set_grad_enabled(learning):
                seen, memory, pointers = self._find(maps, rows)
            result = seen if learning else result
            parts.append((rows, seen, memory, pointers))
        order = torch.argsort(torch.cat([rows for rows, *_ in parts]))
        if self._last is not None:
            kept = [memory for _, _, memory, _ in parts]
            self._memories.append({
                name: torch.cat([one[name].detach() for one in kept], 1)[:, order]
                for name in kept[0]})
            self._pointers.append(torch.cat([one.detach() for *_, one in parts])[order])
        self._last = (maps, Seen(*(
            torch.cat([getattr(seen, name).detach() for _, seen, *_ in parts])[order]
            for name in Seen.__dataclass_fields__)))
        return result

    def _maps(self) -> list[torch.Tensor]:
        pixels = self.batch.pixels[self.frame].to(self.device)
        return [level[self._owner] for level in self.follower.encode(pixels)]

    def _find(
        self, maps: list[torch.Tensor], rows: torch.Tensor
    ) -> tuple[Seen, dict[str, torch.Tensor], torch.Tensor]:
        """:return: what is seen, with the memory and pointers of the frame before."""
        memories = [{k: v[:, rows] for k, v in one.items()} for one in self._memories]
        pointers = [one[rows] for one in self._pointers]
        if self._last is not None:
            before, seen = self._last
            own = Seen(*(getattr(seen, name)[rows] for name in Seen.__dataclass_fields__))
            memory, pointer = self.follower.remember([level[rows] for level in before], own)
            memories.append(memory)
            pointers.append(pointer)
        return (self.follower.find([level[rows] for level in maps], memories, pointers),
                memories[-1], pointers[-1])


@dataclass(frozen=True)
class StreamRecipe:
    """How to learn from whole clips.

    :param streams: batches of clips on their way at the same time, each at a frame of its own.
    :param clips: per batch; :param objects: per clip.
    :param short, long: frames per clip, stride 1 where the clip is no longer.
    :param hiding: share of batches from the clips in which something hides;
        :param tries: windows drawn there, to take the one that shows it best.
    :param easy: share learnt from of what tells little of presence.
    :param presence_weight: in the loss; :param hidden_weight: of hidden objects in the presence.
    """

    streams: int = 4
    clips: int = 2
    objects: int = 2
    short: int = 8
    long: int = 16
    hiding: float = 0.8
    tries: int = 8
    easy: float = 0.4
    presence_weight: float = 0.5
    hidden_weight: float = 0.6


class Streams:
    """Clips on their way: new ones are drawn as others end.

    :param hidings: clips in which something hides; :param others: any.
    """

    def __init__(
        self, follower: ClipFollower, hidings: ClipBank, others: ClipBank, recipe: StreamRecipe,
    ) -> None:
        self.follower, self.recipe = follower, recipe
        size = (recipe.clips, recipe.objects)
        self._hidings = ClipMaker(hidings, *size, hard=1.0, tries=recipe.tries, score=hiding)
        self._others = ClipMaker(others, *size)
        self._running: list[Stream] = []

    def step(self, rng: np.random.Generator) -> dict[str, float]:
        """Go one frame on with every stream; leave the gradients with the model.

        :return: the parts of the loss, and how right the model was.
        """
        self._running = [stream for stream in self._running if not stream.ended]
        while len(self._running) < self.recipe.streams:
            self._running.append(self._draw(rng))
        every: list[dict[str, float]] = []
        for stream in self._running:
            learned = stream.draw(rng, self.recipe.easy)
            seen = stream.step(learned)
            if seen is None:
                continue
            truth = stream.batch.masks[stream.frame][learned]
            loss, values = stream_loss(
                seen, truth.to(stream.device), stream.batch.known[stream.frame][learned],
                self.recipe.presence_weight, self.recipe.hidden_weight)
            (loss / len(self._running)).backward()
            every.append({**values, 'loss': float(loss.detach()), 'learned': float(len(truth))})
        keys = dict.fromkeys(key for values in every for key in values)
        return {key: float(np.mean([v[key] for v in every if key in v])) for key in keys}

    def _draw(self, rng: np.random.Generator) -> Stream:
        hides = rng.random() < self.recipe.hiding
        maker = self._hidings if hides else self._others
        most = min(len(areas) for areas in maker.bank.areas)
        frames = int(rng.integers(
            min(self.recipe.short, most), min(self.recipe.long, most) + 1))
        return Stream(self.follower, maker.draw(rng, frames))


def stream_loss(
    seen: Seen, masks: torch.Tensor, known: torch.Tensor, presence_weight: float,
    hidden_weight: float,
) -> tuple[torch.Tensor, dict[str, float]]:
    """Hold objects on one frame against the truth, slivers included.

    :param masks: (N, S, S) the truth; :param known: (N) bool, whether the presence counts.
    :return: the loss; its parts, and the share of presences right of visible and of hidden objects.
    """
    there, known = masks.flatten(1).any(1), known.to(masks.device)
    weights = torch.where(there, 1.0, hidden_weight) * known
    wrong = F.binary_cross_entropy_with_logits(
        seen.presence.float(), there.float(), reduction='none')
    presence = (weights * wrong).sum() / len(there)
    loss, values = presence_weight * presence, {'presence': float(presence.detach())}
    for name, rows, weight in (('', there, 1.0), ('empty ', ~there, EMPTY_WEIGHT)):
        if rows.any():
            part, parts = segmentation_loss(
                seen.logits[rows].float(), seen.scores[rows].float(), masks[rows])
            loss = loss + weight * rows.float().mean() * part
            values |= {name + k: v for k, v in parts.items() if name == '' or k == 'masks'}
    right = ((seen.presence > 0) == there).float()
    for name, rows in (('visible_right', there & known), ('hidden_right', ~there & known)):
        if rows.any():
            values[name] = float(right[rows].mean())
    return loss, values
