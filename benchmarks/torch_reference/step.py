# SPDX-License-Identifier: Apache-2.0
"""The released training step in PyTorch, without the waste of the authors' own.

One generator forward serves both players, the discriminator sees the real, the generated and the
mismatched clips as one batch, frames and pairs of frames are batches of pictures, and the fixed
perceptual network sees real frames without gradient and with its norms folded away.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch._functorch.config
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchmarks.torch_reference.correlation import AudioDerivativeEncoder, FlowEncoder
from benchmarks.torch_reference.discriminators import Discriminator
from benchmarks.torch_reference.generator import Generator
from benchmarks.torch_reference.layers import (
    at_least_float32,
    pictures_of,
    weights_channels_last,
)
from benchmarks.torch_reference.optical_flow import FlowNet, video_flow
from benchmarks.torch_reference.perceptual import PerceptualEncoder, frozen

WEIGHTS = {"pixel": 0.2, "adversarial": 1.0, "perceptual": 1.0, "correlation": 1.0}
"""Of the generator's terms; the correlation is the mean of a real and a generated clip's."""


@dataclasses.dataclass
class Networks:
    """All players; by default those of the released trainer at full widths."""

    generator: nn.Module = dataclasses.field(default_factory=Generator)
    discriminator: nn.Module = dataclasses.field(default_factory=Discriminator)
    sound_change: nn.Module = dataclasses.field(default_factory=AudioDerivativeEncoder)
    flow_change: nn.Module = dataclasses.field(default_factory=FlowEncoder)
    flow: nn.Module = dataclasses.field(default_factory=FlowNet)
    perceptual: nn.Module = dataclasses.field(default_factory=PerceptualEncoder)

    def all(self) -> list[nn.Module]:
        """The networks in a row."""
        return [getattr(self, field.name) for field in dataclasses.fields(self)]


class Step:
    """A training run's networks, optimisers and averaged generator, and one step of it."""

    def __init__(
        self,
        networks: Networks,
        device: str = "cpu",
        *,
        compiled: bool = False,
        bfloat16: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Puts everything on a device.

        Args:
            networks: are moved, and `perceptual` is frozen.
            device: "cpu" or "cuda".
            compiled: compile every network.
            bfloat16: compute under autocast; parameters and norm statistics stay float32.
            dtype: of the parameters.
        """
        self.device, self.bfloat16, self.dtype = torch.device(device), bfloat16, dtype
        frozen(networks.perceptual)
        for network in networks.all():
            weights_channels_last(network.to(self.device, dtype))
        self.networks = networks
        self.correlation = nn.ModuleList([networks.sound_change, networks.flow_change])
        self.averaged = AveragedModel(
            networks.generator, multi_avg_fn=get_ema_multi_avg_fn(0.999), use_buffers=True
        )
        if compiled:
            # Both players' losses go back through the discriminator's one graph.
            torch._functorch.config.donated_buffer = False
            for network in networks.all():
                network.compile()
        first = {"lr": 2e-4, "betas": (0.5, 0.999), "fused": True}
        second = {"lr": 1e-4, "betas": (0.9, 0.999), "fused": True}
        self.optimizers = {
            "generator": torch.optim.Adam(networks.generator.parameters(), **first),
            "discriminator": torch.optim.Adam(networks.discriminator.parameters(), **first),
            "correlation": torch.optim.Adam(
                self.correlation.parameters(), weight_decay=5e-4, **second
            ),
            "flow": torch.optim.Adam(networks.flow.parameters(), weight_decay=4e-4, **second),
        }

    def __call__(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Moves all players by one step; returns the losses before it."""
        terms = self.gradients(batch)
        for optimizer in self.optimizers.values():
            optimizer.step()
        self.averaged.update_parameters(self.networks.generator)
        return terms

    def gradients(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Sets the gradient of every player's own loss in its own parameters.

        Args:
            batch: "video" [B, T, H, W, 3] and "identity" [B, 1, H, W, 3] as uint8, "log_mel" and
                "wrong_log_mel" [B, columns, bands].

        Returns:
            The terms of the losses.
        """
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            terms, losses = self._losses(batch)
        three_streams = self.networks.discriminator.flow is not None
        self._pull(losses["discriminator"], ("discriminator",), keep=True)
        if three_streams:
            # Only the correlation may move the flow network, not what else looks at flow.
            self._pull(terms["correlation"], ("correlation", "flow"), keep=True)
            self._pull(losses["generator"], ("generator",))
        else:
            self._pull(losses["generator"], ("generator", "correlation", "flow"))
        return {name: value.detach() for name, value in terms.items()}

    def parameters(self, player: str) -> list[nn.Parameter]:
        """Of a player."""
        networks = {**vars(self.networks), "correlation": self.correlation}
        return list(networks[player].parameters())

    def _pull(self, loss: Tensor, players: tuple[str, ...], keep: bool = False) -> None:
        parameters = [p for player in players for p in self.parameters(player)]
        found = torch.autograd.grad(loss, parameters, retain_graph=keep)
        for parameter, gradient in zip(parameters, found, strict=True):
            # In the parameter's memory order, which the fused optimiser takes for granted.
            same = gradient.stride() == parameter.stride()
            parameter.grad = gradient if same else torch.empty_like(parameter).copy_(gradient)

    def _losses(self, batch: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        networks = self.networks
        video = unit(batch["video"], self.dtype)
        identity = unit(batch["identity"], self.dtype)[:, :, 0]
        right, wrong = batch["log_mel"].to(self.dtype), batch["wrong_log_mel"].to(self.dtype)
        fake, heard = networks.generator(identity, right)
        fake = at_least_float32(fake)
        terms = {"pixel": F.l1_loss(fake, video)}

        with torch.no_grad():
            features = networks.perceptual(pictures_of(video))
        made = networks.perceptual(pictures_of(fake))
        terms["perceptual"] = F.mse_loss(at_least_float32(made), at_least_float32(features))

        flows = video_flow(networks.flow, torch.cat([video, fake]))
        flow, fake_flow = flows.chunk(2)
        sound = networks.sound_change(heard).mean(dim=2)
        motion, fake_motion = networks.flow_change(flows).mean(dim=2).chunk(2)
        terms["correlation_real"] = (1 - cosine(sound, motion)).mean()
        terms["correlation_fake"] = (1 - cosine(sound, fake_motion)).mean()
        terms["correlation"] = 0.5 * (terms["correlation_real"] + terms["correlation_fake"])

        looks = [torch.cat([video, fake, video])]
        if networks.discriminator.flow is not None:
            looks.append(torch.cat([flow, fake_flow, flow]))
        logits = networks.discriminator(torch.cat([right, right, wrong]), *looks)
        real, generated, mismatched = logits.chunk(3)
        terms["adversarial"] = F.softplus(-generated).mean()
        terms["d_real"] = F.softplus(-real).mean()
        terms["d_fake"] = F.softplus(generated).mean()
        terms["d_mismatched"] = F.softplus(mismatched).mean()
        losses = {
            "discriminator": terms["d_real"] + 0.5 * (terms["d_fake"] + terms["d_mismatched"]),
            "generator": sum(WEIGHTS[name] * terms[name] for name in WEIGHTS),
        }
        return terms, losses


def cosine(x: Tensor, y: Tensor) -> Tensor:
    """Cosine of series [B, T], with the squared lengths kept above zero as in the loss of 2018."""
    lengths = (x.square().sum(1) + 1e-12) * (y.square().sum(1) + 1e-12)
    return (x * y).sum(1) / lengths.sqrt()


def unit(pictures: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 [B, T, H, W, 3] to floats in [-1, 1], [B, 3, T, H, W] in channels-last memory."""
    return (pictures.to(dtype) / 127.5 - 1.0).permute(0, 4, 1, 2, 3)


def on_device(batch: Mapping[str, Any], device: str = "cpu") -> dict[str, Tensor]:
    """Arrays as tensors on a device."""
    return {name: torch.from_numpy(np.array(x)).to(device) for name, x in batch.items()}


def make_step(
    batch: Mapping[str, Any], device: str = "cpu", *, networks: Networks | None = None, **how: bool
):
    """Returns a function without arguments that trains on one batch again and again.

    Args:
        batch: see `Step.gradients`, NumPy arrays.
        device: "cpu" or "cuda".
        networks: other than those of the released trainer.
        how: `compiled`, `bfloat16` of `Step`.
    """
    step, tensors = Step(networks or Networks(), device, **how), on_device(batch, device)

    def run() -> dict[str, Tensor]:
        terms = step(tensors)
        if step.device.type == "cuda":
            torch.cuda.synchronize()
        return terms

    return run
