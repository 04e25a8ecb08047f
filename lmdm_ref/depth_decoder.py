"""The depth decoder: the tokens of one frame, level by level, from the temporal decoder's row.

Level 0 sees the temporal row, level l also the tokens of the levels before it. Its cache lives for
one frame only. Both Magenta RealTime models end in one; their layers differ.
"""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lmdm_ref.arena import Span
from lmdm_ref.attention import Attend
from lmdm_ref.cache import KVCache
from lmdm_ref.lmm_presets import StackConfig
from lmdm_ref.plan import plan_row
from lmdm_ref.token_layers import RelativeBias, TokenPass
from lmdm_ref.token_sampler import Choose

Row = Float[Tensor, "rows one width"]
FrameTokens = Int[Tensor, "batch levels"]


class LevelHead(nn.Module):
    """Logits over one level's codebook: the published head's rows, held level by level.

    The published models compute all of the vocabulary's logits and then shut out every token that
    is not of the level; the rows that can be chosen are the same ones (reports/decisions/0009).
    ``rest`` are the rows that no level chooses from: they are weights, and never read.
    """

    def __init__(
        self, width: int, vocabulary: int, codebook_size: int, num_levels: int, has_bias: bool
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Linear(width, codebook_size, bias=has_bias) for _ in range(num_levels)
        )
        self.rest = nn.Parameter(
            torch.empty(vocabulary - num_levels * codebook_size, width + has_bias)
        )

    def forward(self, hidden: Row, level: int) -> Float[Tensor, "rows codebook"]:
        logits: Tensor = self.levels[level](hidden[:, 0])
        return logits


class DepthDecoder(nn.Module):
    """Layers, a norm and the head; ``bias`` is the layers' shared relative bias, where they have
    one, and ``logit_cap`` c makes logits c · tanh(logits ÷ c)."""

    def __init__(
        self,
        stack: StackConfig,
        layers: Iterable[nn.Module],
        norm: nn.Module,
        head: LevelHead,
        bias: RelativeBias | None,
        logit_cap: float | None,
    ) -> None:
        super().__init__()
        self.stack = stack
        self.layers = nn.ModuleList(layers)
        self.norm = norm
        self.head = head
        self.bias = bias
        self.logit_cap = logit_cap

    def allocate_cache(self, rows: int, num_levels: int, like: Tensor) -> KVCache:
        stack = self.stack
        return KVCache.allocate(
            num_levels, stack.depth, rows, stack.num_heads, stack.head_dim, like
        )

    def generate(
        self,
        temporal: Row,
        embed: Callable[[FrameTokens, int], Row],
        gumbel: Float[Tensor, "levels batch codebook"],
        choose: Choose,
        cache: KVCache,
        attend: Attend,
    ) -> FrameTokens:
        """The tokens of one frame, as many levels as there is noise for.

        ``embed(tokens, level)`` gives the rows of one level's tokens [batch, 1], repeated for each
        copy of a listener's row.
        """
        num_levels = gumbel.shape[0]
        bias = None if self.bias is None else self.bias(num_levels)
        places = torch.arange(num_levels, device=temporal.device)
        tokens: list[Tensor] = []
        hidden = temporal
        for level in range(num_levels):
            if level:
                hidden = embed(tokens[-1], level - 1)
            run = TokenPass(
                cache=cache,
                places=places[level : level + 1],
                plan=(plan_row(Span(0, 1), [Span(0, level + 1)]),),
                bias=None if bias is None else bias[:, level : level + 1, : level + 1],
            )
            for index, layer in enumerate(self.layers):
                hidden = layer(hidden, index, run, attend)
            tokens.append(choose(self.logits(hidden, level), gumbel[level])[:, None])
        return torch.cat(tokens, dim=1)

    def logits(self, hidden: Row, level: int) -> Float[Tensor, "rows codebook"]:
        """The head's logits of one level, in float32 at least where they are capped."""
        logits: Tensor = self.head(self.norm(hidden), level)
        if self.logit_cap is None:
            return logits
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return self.logit_cap * (wide / self.logit_cap).tanh()
