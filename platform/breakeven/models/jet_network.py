"""Jets to outputs: a Particle Transformer as backbone of jets, and the networks of events on it (arXiv 2401.13536).

One network that learns jet by jet (representation "jet", the pretraining) and three of events, which take over its weights.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from breakeven.feature import Levels
from breakeven.models.backbone import Backbone
from breakeven.models.filled_jets import Room
from breakeven.models.jet_event import JetEvent
from breakeven.models.jet_inputs import HIGH_LEVEL, JetInputs, pairs_of
from breakeven.models.moments import Moments
from breakeven.models.particle_transformer import Padded, ParticleTransformer
from breakeven.models.ragged import children, parents_of, sums

REPRESENTATIONS = ("jet", "V", "S+HLF", "V+HLF")
"""What the head stands on: one jet, or an event of vectors, of scalars and high-level features, of vectors and those."""
LEADING_JETS = 5
"""Jets of an event that count, as published."""
SCALING_JETS = 1024
"""Most jets of a batch on which features and pairs are measured, evenly spread: a million pairs."""


class JetNetwork(Backbone):
    """A network from jets and their constituents to outputs.

    levels: features of jets and constituents; raises ValueError where jet_inputs finds no inputs in them.
    representation: "jet", the head sees the vector of the event's first jet; "V", "V+HLF", "S+HLF": it sees the event network
    on the vectors of the leading jets, or on their scalars (a linear layer and a sigmoid), with their high-level features.
    width, blocks, class_blocks, heads, pairs, feed_forward, dropout: see ParticleTransformer; its published size by default.
    constituents: most of a jet that count, its hardest (attention takes time with their square); 0: all.
    jets: the backbone.  scalar: with "S+HLF", the head of an Xbb pretraining.  event: the event network.
    """

    initialisation = "torch"

    def __init__(
        self,
        levels: Levels,
        n_outputs: int,
        *,
        representation: str = "jet",
        width: int = 128,
        blocks: int = 8,
        class_blocks: int = 2,
        heads: int = 8,
        pairs: Sequence[int] = (64, 64, 64),
        feed_forward: int = 4,
        dropout: float = 0.0,
        constituents: int = 0,
    ) -> None:
        super().__init__()
        if representation not in REPRESENTATIONS:
            raise ValueError(f"representation is {representation!r}; choose one of {', '.join(REPRESENTATIONS)}")
        sizes = {"n_outputs": n_outputs, "width": width, "blocks": blocks, "class_blocks": class_blocks, "heads": heads,
                 "feed_forward": feed_forward, **{f"pairs[{k}]": size for k, size in enumerate(pairs)}}  # fmt: skip
        for name, value in sizes.items():
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        if width % heads:
            raise ValueError(f"width is {width} and heads is {heads}; the width must be a multiple of the heads")
        if constituents < 0:
            raise ValueError(f"constituents is {constituents}; it must be at least 1, or 0 for all")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout is {dropout}; it must be at least 0 and below 1")
        self.levels, self.n_outputs, self.representation, self.dropout = levels, n_outputs, representation, dropout
        self.most_constituents = constituents or None
        self.new_layers: tuple[str, ...] = ("head.",) if representation == "jet" else ("head.", "event.")
        self._arguments = {
            "width": width, "blocks": blocks, "class_blocks": class_blocks, "heads": heads, "pairs": list(pairs),
            "feed_forward": feed_forward, "dropout": float(dropout), "constituents": constituents,
        }  # fmt: skip
        self._inputs = JetInputs(levels)
        self.jets = ParticleTransformer(
            width=width, blocks=blocks, class_blocks=class_blocks, heads=heads, pairs=pairs, feed_forward=feed_forward,
            dropout=dropout,
        )  # fmt: skip
        if representation == "S+HLF":
            self.scalar = nn.Linear(width, 1)
            self.probe = "scalar"
        if representation != "jet":
            self.event = JetEvent(1 if representation == "S+HLF" else width, representation.endswith("+HLF"), width)
        self.head = nn.Linear(width, n_outputs)

    @property
    def most_jets(self) -> int:
        """Jets of an event that count."""
        return 1 if self.representation == "jet" else LEADING_JETS

    def represent(
        self,
        jets: Tensor,
        offsets: Tensor,
        constituents: Tensor,
        constituent_offsets: Tensor,
        *,
        room: Room | None = None,
    ) -> Tensor:
        """What the head sees of each event [n_events, width].

        Args:
            jets: [n_jets, n_columns] raw, by falling pT in an event.
            offsets: [n_events + 1] int64 from 0 to n_jets.
            constituents: [n, n_columns] raw.
            constituent_offsets: [n_jets + 1] int64 from 0 to n.
            room: of a batch as JetEvents.fill makes it, of leading jets alone.

        Returns:
            With the representation "jet" the vector of each event's first jet, zeros where it has none.
        """
        if room is None:
            jets, offsets, constituents, constituent_offsets = self._leading(
                jets, offsets, constituents, constituent_offsets
            )
        return self.represent_vectors(self.vectors(jets, constituents, constituent_offsets, room=room), jets, offsets)

    def vectors(
        self, jets: Tensor, constituents: Tensor, constituent_offsets: Tensor, *, room: Room | None = None
    ) -> Tensor:
        """The class token of each jet [n_jets, width], zeros for one without constituents; arguments as in `represent`."""
        sizes = (room.longest, room.pairs) if room else None
        jet_of = parents_of(constituent_offsets, len(constituents) if room else None)
        inputs = self._inputs.constituents(jets, constituents, jet_of.clamp(max=len(jets) - 1))
        vectors: Tensor = self.jets(*inputs, constituent_offsets, sizes)
        return vectors

    def represent_vectors(self, vectors: Tensor, jets: Tensor, offsets: Tensor) -> Tensor:
        """What the head sees of each event, from its leading jets' `vectors` [n_jets, width] as a backbone gave them.

        jets, offsets: of those jets alone, at most five of an event.
        """
        if self.representation == "jet":
            return sums(vectors, offsets)
        event: Tensor = self.event(*self._known(vectors, jets), offsets)
        return event

    def pretrained(self, *batch: Tensor) -> Tensor:
        """The vectors of each event's leading jets [n_events, 5, width], zeros where there is none; arguments as in `represent`.

        With the representation "jet" what the head sees.
        """
        if self.representation == "jet":
            return self.represent(*batch)
        jets, offsets, *inside = self._leading(*batch)
        return _by_event(self.vectors(jets, *inside), offsets)

    def embed(self, said: Tensor, *batch: Tensor) -> Tensor:
        """What the event network sees of each jet [n_events, 5, n + 1], the last 1 where there is a jet. A scalar that no
        pretraining brought has yet to learn: the vector stands in its place.

        said: as `pretrained` gives it, of any of the networks of events on this backbone.  With the representation "jet" itself.
        """
        if self.representation == "jet":
            return said
        jets, offsets, *_ = self._leading(*batch)
        vectors = said[_places(offsets)]
        known = torch.cat((vectors, self._high_level(jets)) if self._new_scalar else self._known(vectors, jets), dim=1)
        return _by_event(torch.cat([known, known.new_ones(len(known), 1)], dim=1), offsets)

    def solve(self, embedding: Tensor) -> Tensor:
        """The outputs of the new layers on what `embed` gives [n_events, n_outputs]."""
        if self.representation == "jet":
            return super().solve(embedding)
        there = embedding[..., -1] > 0.0
        of_jets = embedding[there][:, :-1]
        known, high_level = of_jets[:, : -len(HIGH_LEVEL)], of_jets[:, -len(HIGH_LEVEL) :]
        if self._new_scalar:
            known = torch.sigmoid(self.scalar(known))
        offsets = torch.cat([there.new_zeros(1, dtype=torch.int64), there.sum(1).cumsum(0)])
        outputs: Tensor = self.head(self.event(known, high_level, offsets))
        return outputs

    def _known(self, vectors: Tensor, jets: Tensor) -> tuple[Tensor, Tensor]:
        """The scalar or vector of each jet [n_jets, 1 or width], and its high-level features [n_jets, n]."""
        known = torch.sigmoid(self.scalar(vectors)) if self.representation == "S+HLF" else vectors
        return known, self._high_level(jets)

    def _high_level(self, jets: Tensor) -> Tensor:
        return self._inputs.high_level(jets).to(self.head.weight.dtype)

    @property
    def _new_scalar(self) -> bool:
        return "scalar." in self.new_layers

    def layers(self, *batch: Tensor, **named: Tensor) -> dict[str, Tensor]:
        """ "jets", the sum of the leading jets' vectors, and but for the representation "jet" the "event" that the head sees."""
        jets, offsets, *inside = self._leading(*batch, **named)
        vectors = self.vectors(jets, *inside)
        layers = {"jets": sums(vectors, offsets)}
        if self.representation != "jet":
            layers["event"] = self.represent_vectors(vectors, jets, offsets)
        return layers

    def fit_scaling(self, batches: Iterable[tuple[Tensor, Tensor, Tensor, Tensor]]) -> None:
        """Set all statistics from batches of training events; see Backbone."""
        features, pairs, high_level = self._measured(batches)
        self.jets.fit_scaling(features, pairs)
        if self.representation != "jet":
            self.event.fit_scaling(high_level)

    def fit_new_scaling(self, batches: Iterable[tuple[Tensor, Tensor, Tensor, Tensor]]) -> None:
        """Set those of the event network alone, which no pretrained network brings."""
        if self.representation != "jet":
            self.event.fit_scaling(self._measured(batches)[2])

    def from_pretrained(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of a network with the representation "jet", by this network's names.

        With "S+HLF" a head with one output becomes the scalar; where it has several, the scalar joins `new_layers`.
        """
        translated = dict(weights)
        if self.representation != "S+HLF" or "scalar.weight" in translated:
            return translated
        head = {part: translated.pop(f"head.{part}") for part in ("weight", "bias") if f"head.{part}" in translated}
        if "weight" in head and len(head["weight"]) == 1:
            return translated | {f"scalar.{part}": tensor for part, tensor in head.items()}
        self.new_layers = ("head.", "event.", "scalar.")
        return translated

    def config(self) -> dict[str, Any]:
        """The arguments that build this network again."""
        return {"n_outputs": self.n_outputs, "representation": self.representation, **self._arguments}

    def _leading(
        self, jets: Tensor, offsets: Tensor, constituents: Tensor, constituent_offsets: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The batch without the jets and the constituents that do not count."""
        fewer_jets = _most(offsets) > self.most_jets
        if fewer_jets:
            kept, offsets = children(offsets, torch.arange(len(offsets) - 1, device=offsets.device), self.most_jets)
            jets = jets.index_select(0, kept)
        else:
            kept = torch.arange(len(jets), device=offsets.device)
        if fewer_jets or (self.most_constituents and _most(constituent_offsets) > self.most_constituents):
            rows, constituent_offsets = children(constituent_offsets, kept, self.most_constituents)
            constituents = constituents.index_select(0, rows)
        return jets, offsets, constituents, constituent_offsets

    @torch.no_grad()
    def _measured(self, batches: Iterable[tuple[Tensor, Tensor, Tensor, Tensor]]) -> tuple[Moments, Moments, Moments]:
        """Of constituents' features, of pairs and of high-level features."""
        features, pairs, high_level = Moments(), Moments(), Moments()
        for batch in batches:
            for name, values in zip(("jet", "constituent"), batch[::2], strict=True):
                if not bool(torch.isfinite(values).all()):
                    raise ValueError(
                        f"a {name} feature of these events is not finite; check the dataset they come from"
                    )
            jets, _, constituents, offsets = self._leading(*batch)
            high_level.add(self._inputs.high_level(jets))
            spread = torch.arange(0, len(jets), max(1, -(-len(jets) // SCALING_JETS)), device=offsets.device)
            rows, offsets = children(offsets, spread)
            known, kinematics = self._inputs.constituents(
                jets.index_select(0, spread), constituents.index_select(0, rows), parents_of(offsets)
            )
            features.add(known)
            if len(known):
                pairs.add(pairs_of(kinematics, Padded.of(offsets).pairs))
        if high_level.count == 0:
            raise ValueError("the scaling is measured on jets, and there are none; give the training events")
        return features, pairs, high_level


def _most(offsets: Tensor) -> int:
    """Things of the parent that has most."""
    return int(offsets.diff().max()) if len(offsets) > 1 else 0


def _places(offsets: Tensor) -> tuple[Tensor, Tensor]:
    """The event of each jet and its number there, [n_jets] int64 each; offsets: [n_events + 1] int64 from 0."""
    events = parents_of(offsets)
    return events, torch.arange(len(events), device=offsets.device) - offsets.index_select(0, events)


def _by_event(of_jets: Tensor, offsets: Tensor) -> Tensor:
    """Of at most five jets of each event, [n_jets, n] -> [n_events, 5, n], zeros where there is none."""
    by_event = of_jets.new_zeros(len(offsets) - 1, LEADING_JETS, of_jets.shape[1])
    by_event[_places(offsets)] = of_jets
    return by_event
