"""The Particle Transformer (arXiv 2202.03772) in flat form: from the constituents of jets to one vector per jet.

Linear layers see real constituents only, the layers of pairs see each real pair once (i >= j), and attention is padded among
jets of like length, a few dozen at a time. Batch normalisation, of its inputs and inside the layers of pairs, is a fixed scaling
of the inputs here: a jet's vector depends on nothing but the jet. With batch normalisation folded in, it is weaver-core's
ParticleTransformer weight for weight; names are weaver-core's where there is one.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from breakeven.models.jet_inputs import FEATURES, PAIR_FEATURES, pairs_of
from breakeven.models.layers import SelfDrawn, draw_uniform
from breakeven.models.moments import Moments
from breakeven.models.ragged import children, parents_of

AT_ONCE = {"cpu": (32, 80_000), "cuda": (1_000_000, 4_000_000)}
"""Most jets that attention pads to the longest of them, and most places for pairs in these: few on a CPU, which then works in
its caches."""


class ParticleTransformer(SelfDrawn):
    """From constituents to the class token of each jet, the zero vector for a jet without any.

    width: of every layer but the widened ones.  blocks, class_blocks: attention among constituents, then of the class token
    to them.  heads: of attention, a divisor of the width.  pairs: widths of the hidden layers of pairs.  feed_forward: factor
    of the widened layers.  dropout: in the blocks, in training; the class blocks have none (as published).
    """

    feature_scale: Tensor
    feature_shift: Tensor
    pair_scale: Tensor
    pair_shift: Tensor

    def __init__(
        self,
        *,
        width: int = 128,
        blocks: int = 8,
        class_blocks: int = 2,
        heads: int = 8,
        pairs: Sequence[int] = (64, 64, 64),
        feed_forward: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.heads = heads
        for name, size in (("feature", len(FEATURES)), ("pair", len(PAIR_FEATURES))):
            self.register_buffer(f"{name}_scale", torch.ones(size))
            self.register_buffer(f"{name}_shift", torch.zeros(size))
        embedding = (len(FEATURES), width, feed_forward * width, width)
        self.embed = nn.Sequential(*_layers(embedding, normed=True))
        self.pair_embed = nn.Sequential(*_layers((len(PAIR_FEATURES), *pairs, heads), normed=False))
        self.blocks = nn.ModuleList(Block(width, heads, feed_forward, dropout) for _ in range(blocks))
        self.class_blocks = nn.ModuleList(ClassBlock(width, heads, feed_forward) for _ in range(class_blocks))
        self.norm = nn.LayerNorm(width)
        self.class_token = nn.Parameter(torch.zeros(width))

    def forward(
        self, features: Tensor, kinematics: Tensor, offsets: Tensor, room: tuple[int, int] | None = None
    ) -> Tensor:
        """The class token of each jet after the last block [n_jets, width].

        features: [n, 17] and kinematics: [n, 7] of constituents, see jet_inputs.  offsets: [n_jets + 1] int64 from 0.
        room: most constituents of a jet, and most pairs; given, all jets are padded to one length, at least one constituent is in
        no jet, and the host is not waited for.
        """
        if room is not None:
            filled = self._vectors(features, kinematics, Padded.filled(offsets, len(features), *room))[:-1]
            return torch.where((offsets.diff() > 0)[:, None], filled, 0.0)
        vectors = self.class_token.new_zeros(len(offsets) - 1, len(self.class_token))
        for jets, rows, inside in _parts(offsets):
            of_part = self._vectors(features.index_select(0, rows), kinematics.index_select(0, rows), Padded.of(inside))
            vectors = vectors.index_copy(0, jets, of_part)
        return vectors

    def fit_scaling(self, features: Moments, pairs: Moments) -> None:
        """Standardise features and pairs by these moments."""
        for name, moments in (("feature", features), ("pair", pairs)):
            scale, shift = getattr(self, f"{name}_scale"), getattr(self, f"{name}_shift")
            mean, std = moments.mean_and_std(len(scale))
            scale.copy_(1.0 / std)
            shift.copy_(-mean / std)

    def draw(self, generator: torch.Generator) -> None:
        """Weights as weaver-core 0.5.3 draws them, but for the layers of pairs.

        Linear layers are uniform in +- sqrt(6 / (inputs + outputs)), biases zero; the last layers of the k-th block's two
        halves are divided by sqrt(2 k); the class token is normal with 0.02. The layers of pairs, which have batch
        normalisation between them there, start in +- sqrt(6 / inputs), which keeps the size of what passes them.
        """
        damped = {f"blocks.{k}.{last}": 2.0 * (k + 1) for k in range(len(self.blocks)) for last in ("out_proj", "fc2")}
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Linear):
                outputs = layer.in_features if name.endswith(".in_proj") else layer.out_features
                fan = layer.in_features + (0 if name.startswith("pair_embed.") else outputs)
                draw_uniform(layer, math.sqrt(6.0 / fan / damped.get(name, 1.0)), 0.0, generator)
            elif isinstance(layer, nn.LayerNorm):
                layer.reset_parameters()
            elif isinstance(layer, _Layers):
                layer.c_attn.fill_(1.0)
                layer.w_resid.fill_(1.0)
        self.class_token.copy_(0.02 * torch.randn(len(self.class_token), generator=generator, dtype=torch.float64))

    def _vectors(self, features: Tensor, kinematics: Tensor, padded: "Padded") -> Tensor:
        """Of jets of like length [n_jets, width]; arguments as in `forward`."""
        x = self.embed(features.to(self.class_token.dtype) * self.feature_scale + self.feature_shift)
        bias = self._bias(kinematics, padded)
        for block in self.blocks:
            x = block(x, bias, padded)
        token = self.class_token.expand(len(padded.padding), -1)
        for block in self.class_blocks:
            token = block(token, x, padded)
        normed: Tensor = self.norm(token)
        return normed

    def _bias(self, kinematics: Tensor, padded: "Padded") -> Tensor:
        """What pairs add to the scores of attention [heads * n_jets, longest, longest], - inf on padding."""
        first, second = padded.pairs
        pairs = pairs_of(kinematics, (first, second))
        pairs = self.pair_embed(pairs.to(self.class_token.dtype) * self.pair_scale + self.pair_shift)
        rows = padded.place * padded.padding.shape[1]
        below = rows.index_select(0, first) + padded.rank.index_select(0, second)
        above = rows.index_select(0, second) + padded.rank.index_select(0, first)
        columns = pairs.new_zeros(padded.padding.shape).masked_fill_(padded.padding, -math.inf)
        squares: Tensor = _Squares.apply(pairs, below, above, columns)  # type: ignore[no-untyped-call]
        return squares


class _Squares(torch.autograd.Function):
    """Symmetric matrices from their lower triangles. Its backward pass only gathers, where that of the copies fills anew."""

    @staticmethod
    def forward(ctx: Any, pairs: Tensor, below: Tensor, above: Tensor, columns: Tensor) -> Tensor:
        """[heads * n_jets, longest, longest] from pairs [n_pairs, heads].

        below, above: [n_pairs] int64, the places of a pair among the n_jets * longest^2 of a head, the same for one on the
        diagonal.  columns: [n_jets, longest], what stands where no pair is.
        """
        (n, longest), heads = columns.shape, pairs.shape[1]
        squares = columns[:, None].expand(heads, n, longest, longest).clone(memory_format=torch.contiguous_format)
        for square, of_head in zip(squares.view(heads, -1), pairs.t().contiguous(), strict=True):
            square.index_copy_(0, below, of_head).index_copy_(0, above, of_head)
        ctx.save_for_backward(below, above)
        ctx.heads = heads
        return squares.view(-1, longest, longest)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """Of the pairs, from that of the matrices."""
        below, above = ctx.saved_tensors
        by_head = gradients[0].reshape(ctx.heads, -1)
        both = torch.stack([one.index_select(0, below) + one.index_select(0, above) for one in by_head], dim=1)
        return torch.where((below == above)[:, None], 0.5 * both, both), None, None, None


@dataclass(frozen=True)
class Padded:
    """Where constituents lie when each jet takes as much room as the longest.

    rank: [n] int64, of each constituent in its jet.  place: [n] int64, of each among n_jets * longest.
    padding: [n_jets, longest] bool.  most_pairs: where there is room for so many; then the last jet, of one place, stands for all
    that fills up, and the last constituent is one that does.
    """

    rank: Tensor
    place: Tensor
    padding: Tensor
    most_pairs: int | None = None

    @classmethod
    def of(cls, offsets: Tensor) -> "Padded":
        """For jets with these offsets, at least one."""
        counts = offsets.diff()
        slots = torch.arange(int(counts.max()), device=offsets.device)
        padding = slots >= counts[:, None]
        jets = parents_of(offsets)
        rank = torch.arange(len(jets), device=offsets.device) - offsets.index_select(0, jets)
        return cls(rank, jets * len(slots) + rank, padding)

    @classmethod
    def filled(cls, offsets: Tensor, n: int, longest: int, most_pairs: int) -> "Padded":
        """For jets with these offsets and one more, in which all of n constituents are that are in none of them.

        Jets without constituents have one place that is not padding, so that no sum over a jet is of nothing.
        """
        n_jets = len(offsets) - 1
        jets = parents_of(offsets, n)
        rank = torch.arange(n, device=offsets.device) - offsets.index_select(0, jets)
        rank = torch.where(jets < n_jets, rank, 0)
        counts = functional.pad(offsets.diff(), (0, 1)).clamp(min=1)
        padding = torch.arange(longest, device=offsets.device) >= counts[:, None]
        return cls(rank, jets * longest + rank, padding, most_pairs)

    @property
    def pairs(self) -> tuple[Tensor, Tensor]:
        """All pairs (i, j) of constituents of one jet with i >= j, i = j included: their rows [n_pairs] int64 each."""
        if self.most_pairs is not None:
            return self._filled_pairs(self.most_pairs)
        up_to = self.rank + 1
        n_pairs = int(up_to.sum())
        rows = torch.arange(len(up_to), device=up_to.device)
        first = torch.repeat_interleave(rows, up_to, output_size=n_pairs)
        before = up_to.cumsum(0) - rows - 1
        return first, torch.arange(n_pairs, device=up_to.device) - before.index_select(0, first)

    def _filled_pairs(self, n_pairs: int) -> tuple[Tensor, Tensor]:
        """The same, filled up with the last constituent and itself."""
        last = len(self.rank) - 1
        real = self.place < self.padding.numel() - self.padding.shape[1]
        number, ends = torch.arange(n_pairs, device=real.device), ((self.rank + 1) * real).cumsum(0)
        first = torch.searchsorted(ends, number, right=True).clamp(max=last)
        second = number - ends.index_select(0, first) + first + 1
        return first, torch.where(real.index_select(0, first), second, last)

    def pad(self, values: Tensor) -> Tensor:
        """values: [n, width] -> [n_jets, longest, width], zeros on padding."""
        n, longest = self.padding.shape
        return values.new_zeros(n * longest, values.shape[1]).index_copy_(0, self.place, values).view(n, longest, -1)

    def flat(self, padded: Tensor) -> Tensor:
        """padded: [n_jets, longest, width] -> [n, width]."""
        return padded.reshape(-1, padded.shape[2]).index_select(0, self.place)


class _Layers(nn.Module):
    """What a block of either kind is made of: attention and two linear layers, each normalised before and after.

    c_attn: a factor for each head [heads].  w_resid: one for each number of the second residual [width].
    """

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.pre_attn_norm, self.post_attn_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.in_proj, self.out_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.pre_fc_norm, self.post_fc_norm = nn.LayerNorm(width), nn.LayerNorm(feed_forward * width)
        self.fc1, self.fc2 = nn.Linear(width, feed_forward * width), nn.Linear(feed_forward * width, width)
        self.c_attn = nn.Parameter(torch.ones(heads))
        self.w_resid = nn.Parameter(torch.ones(width))

    def by_head(self, projected: Tensor, n_parts: int) -> list[Tensor]:
        """[n_jets, length, n_parts * width] -> for each part [heads * n_jets, length, width / heads]."""
        n, length, _ = projected.shape
        split = projected.view(n, length, n_parts, self.heads, -1).permute(2, 3, 0, 1, 4)
        return [part.reshape(self.heads * n, length, -1) for part in split.unbind(0)]

    def after_attention(self, attended: Tensor, residual: Tensor) -> Tensor:
        """What follows the weighted sums of values; attended, residual: [n, width] -> [n, width]."""
        x = self.out_proj(attended)
        x = (x.view(len(x), self.heads, -1) * self.c_attn[:, None]).view(len(x), -1)
        x = self.drop(self.post_attn_norm(x)) + residual
        wide = self.drop(functional.gelu(self.fc1(self.pre_fc_norm(x))))
        return self.drop(self.fc2(self.post_fc_norm(wide))) + self.w_resid * x

    def drop(self, values: Tensor) -> Tensor:
        """Dropout, in training."""
        return functional.dropout(values, self.dropout, self.training) if self.dropout else values


class Block(_Layers):
    """Constituents attend to each other."""

    def forward(self, x: Tensor, bias: Tensor, padded: Padded) -> Tensor:
        """x: [n, width] -> [n, width]; bias: [heads * n_jets, longest, longest], added to the scores."""
        query, key, value = self.by_head(padded.pad(self.in_proj(self.pre_attn_norm(x))), 3)
        scores = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=1.0 / math.sqrt(query.shape[2]))
        attended = torch.bmm(self.drop(scores.softmax(2)), value)
        n, longest = padded.padding.shape
        attended = attended.view(self.heads, n, longest, -1).permute(1, 2, 0, 3).reshape(n, longest, -1)
        return self.after_attention(padded.flat(attended), x)


class ClassBlock(_Layers):
    """The class token alone attends, to itself and to the constituents (arXiv 2103.17239)."""

    def forward(self, token: Tensor, x: Tensor, padded: Padded) -> Tensor:
        """token: [n_jets, width] -> [n_jets, width]; x: [n, width]."""
        width = token.shape[1]
        weight, bias = self.in_proj.weight, self.in_proj.bias
        own, others = (functional.linear(self.pre_attn_norm(one), weight[width:], bias[width:]) for one in (token, x))
        key, value = self.by_head(torch.cat([own[:, None], padded.pad(others)], dim=1), 2)
        # The query alone is not normalised, as in weaver-core.
        (query,) = self.by_head(functional.linear(token, weight[:width], bias[:width])[:, None], 1)
        scores = torch.bmm(query, key.transpose(1, 2)).view(self.heads, len(token), -1) / math.sqrt(query.shape[2])
        scores = scores.masked_fill(functional.pad(padded.padding, (1, 0), value=False), -math.inf).softmax(2)
        attended = torch.bmm(scores.view(len(key), 1, -1), value).view(self.heads, len(token), -1)
        return self.after_attention(attended.transpose(0, 1).reshape(len(token), width), token)


def _layers(widths: Sequence[int], normed: bool) -> Iterator[nn.Module]:
    for inputs, outputs in itertools.pairwise(widths):
        if normed:
            yield nn.LayerNorm(inputs)
        yield nn.Linear(inputs, outputs)
        yield nn.GELU()


def _parts(offsets: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Jets by length, some at a time, without those that are empty.

    Yields the jets [k] int64, the rows of their constituents, and the offsets [k + 1] of those.
    """
    counts = offsets.diff()
    order = counts.argsort(stable=True)
    lengths = counts[order].tolist()
    start = len(lengths) - sum(length > 0 for length in lengths)
    jets_at_once, pairs_at_once = AT_ONCE["cpu" if offsets.device.type == "cpu" else "cuda"]
    while start < len(lengths):
        stop = min(start + jets_at_once, len(lengths))
        while stop - start > 1 and (stop - start) * lengths[stop - 1] ** 2 > pairs_at_once:
            stop = (start + stop + 1) // 2
        yield order[start:stop], *children(offsets, order[start:stop])
        start = stop
