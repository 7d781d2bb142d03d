"""The attention layer that imputer and task model share."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Pre-norm multi-head self-attention over the middle axis, with a residual connection.

    Parameters
    ----------
    width : of a token
    heads : number of attention heads; it must divide `width`
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Attend along the middle axis of `x`.

        Parameters
        ----------
        x : Tensor (batch, length, width)
        bias : added to the attention scores; it broadcasts to (batch, head, length, length)

        Returns
        -------
        Tensor (batch, length, width)
        """
        split = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).movedim(-3, 0)
        q, k, v = split.transpose(-2, -3)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.expand(*q.shape[:-1], q.shape[-2]))
        return x + self.out(mixed.transpose(-2, -3).flatten(-2))
