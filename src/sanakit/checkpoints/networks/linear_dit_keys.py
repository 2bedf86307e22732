"""Names of the linear transformer's tensors in diffusers and in upstream's ``.pth`` files.

Source: the table of NVlabs/Sana names against diffusers' ``SanaTransformer2DModel``; values are the same in all
layouts, only fused projections are split and 1x1 convolutions lose their two axes of length 1.
"""

from __future__ import annotations

from collections.abc import Collection

from sanakit.checkpoints.networks.key_maps import Drop, Fuse, KeyMap, Pointwise, Rename, Row

RECOMPUTED_POSITIONS = Drop("pos_embed", "the positional embedding is computed from the size of the picture")


def diffusers_linear_dit(*, guidance_embeds: bool) -> KeyMap:
    """``SanaTransformer2DModel``; with a guidance embedder (Sprint) its time embedder moves one level up."""
    time = "time_embed" if guidance_embeds else "time_embed.emb"
    guidance: tuple[Row, ...] = (
        Rename("guidance_embed.linear_{i}.{leaf}", "time_embed.guidance_embedder.linear_{i}.{leaf}"),
    )
    return KeyMap(
        layout="diffusers",
        rows=(
            Rename("patch_embed.{leaf}", "patch_embed.proj.{leaf}"),
            Rename("time_embed.linear_{i}.{leaf}", time + ".timestep_embedder.linear_{i}.{leaf}"),
            *(guidance if guidance_embeds else ()),
            Rename("modulation.{leaf}", "time_embed.linear.{leaf}"),
            Rename("caption_projection.linear_{i}.{leaf}", "caption_projection.linear_{i}.{leaf}"),
            Rename("caption_norm.weight", "caption_norm.weight"),
            Rename("blocks.{n}.scale_shift_table", "transformer_blocks.{n}.scale_shift_table"),
            Fuse("blocks.{n}.attention.qkv.{leaf}", diffusers_rows("attn1", "to_q", "to_k", "to_v")),
            Rename("blocks.{n}.attention.norm_q.{leaf}", "transformer_blocks.{n}.attn1.norm_q.{leaf}"),
            Rename("blocks.{n}.attention.norm_k.{leaf}", "transformer_blocks.{n}.attn1.norm_k.{leaf}"),
            Rename("blocks.{n}.attention.out.{leaf}", "transformer_blocks.{n}.attn1.to_out.0.{leaf}"),
            Rename("blocks.{n}.cross_attention.q.{leaf}", "transformer_blocks.{n}.attn2.to_q.{leaf}"),
            Fuse("blocks.{n}.cross_attention.kv.{leaf}", diffusers_rows("attn2", "to_k", "to_v")),
            Rename("blocks.{n}.cross_attention.norm_q.{leaf}", "transformer_blocks.{n}.attn2.norm_q.{leaf}"),
            Rename("blocks.{n}.cross_attention.norm_k.{leaf}", "transformer_blocks.{n}.attn2.norm_k.{leaf}"),
            Rename("blocks.{n}.cross_attention.out.{leaf}", "transformer_blocks.{n}.attn2.to_out.0.{leaf}"),
            Pointwise("blocks.{n}.mix_ffn.expand.{leaf}", "transformer_blocks.{n}.ff.conv_inverted.{leaf}"),
            Rename("blocks.{n}.mix_ffn.depthwise.{leaf}", "transformer_blocks.{n}.ff.conv_depth.{leaf}"),
            Pointwise("blocks.{n}.mix_ffn.project.{leaf}", "transformer_blocks.{n}.ff.conv_point.{leaf}"),
            Rename("final_scale_shift_table", "scale_shift_table"),
            Rename("final.{leaf}", "proj_out.{leaf}"),
            Drop("patch_embed.pos_embed", RECOMPUTED_POSITIONS.reason),
        ),
    )


UPSTREAM_LINEAR_DIT = KeyMap(
    layout="upstream",
    rows=(
        Rename("patch_embed.{leaf}", "x_embedder.proj.{leaf}"),
        Rename("time_embed.linear_1.{leaf}", "t_embedder.mlp.0.{leaf}"),
        Rename("time_embed.linear_2.{leaf}", "t_embedder.mlp.2.{leaf}"),
        Rename("guidance_embed.linear_1.{leaf}", "cfg_embedder.mlp.0.{leaf}"),
        Rename("guidance_embed.linear_2.{leaf}", "cfg_embedder.mlp.2.{leaf}"),
        Rename("modulation.{leaf}", "t_block.1.{leaf}"),
        Rename("caption_projection.linear_1.{leaf}", "y_embedder.y_proj.fc1.{leaf}"),
        Rename("caption_projection.linear_2.{leaf}", "y_embedder.y_proj.fc2.{leaf}"),
        Rename("caption_norm.weight", "attention_y_norm.weight"),
        Rename("blocks.{n}.scale_shift_table", "blocks.{n}.scale_shift_table"),
        Rename("blocks.{n}.attention.qkv.{leaf}", "blocks.{n}.attn.qkv.{leaf}"),
        Rename("blocks.{n}.attention.norm_q.{leaf}", "blocks.{n}.attn.q_norm.{leaf}"),
        Rename("blocks.{n}.attention.norm_k.{leaf}", "blocks.{n}.attn.k_norm.{leaf}"),
        Rename("blocks.{n}.attention.out.{leaf}", "blocks.{n}.attn.proj.{leaf}"),
        Rename("blocks.{n}.cross_attention.q.{leaf}", "blocks.{n}.cross_attn.q_linear.{leaf}"),
        Rename("blocks.{n}.cross_attention.kv.{leaf}", "blocks.{n}.cross_attn.kv_linear.{leaf}"),
        Rename("blocks.{n}.cross_attention.norm_q.{leaf}", "blocks.{n}.cross_attn.q_norm.{leaf}"),
        Rename("blocks.{n}.cross_attention.norm_k.{leaf}", "blocks.{n}.cross_attn.k_norm.{leaf}"),
        Rename("blocks.{n}.cross_attention.out.{leaf}", "blocks.{n}.cross_attn.proj.{leaf}"),
        Pointwise("blocks.{n}.mix_ffn.expand.{leaf}", "blocks.{n}.mlp.inverted_conv.conv.{leaf}"),
        Rename("blocks.{n}.mix_ffn.depthwise.{leaf}", "blocks.{n}.mlp.depth_conv.conv.{leaf}"),
        Pointwise("blocks.{n}.mix_ffn.project.{leaf}", "blocks.{n}.mlp.point_conv.conv.{leaf}"),
        Rename("final_scale_shift_table", "final_layer.scale_shift_table"),
        Rename("final.{leaf}", "final_layer.linear.{leaf}"),
        RECOMPUTED_POSITIONS,
        Drop("y_embedder.y_embedding", "the null caption is the text encoder's answer to an empty prompt"),
        Drop("logvar_linear.{leaf}", "the loss weight of Sprint's training is not used for pictures"),
    ),
)


def diffusers_rows(attention: str, *projections: str) -> tuple[str, ...]:
    return tuple(f"transformer_blocks.{{n}}.{attention}.{projection}.{{leaf}}" for projection in projections)


def find_linear_dit_layout(names: Collection[str]) -> KeyMap | None:
    """The layout that a file's names are in, told by its patch embedding; None when it is no such transformer."""
    if any(name.startswith("x_embedder.proj.") for name in names):
        return UPSTREAM_LINEAR_DIT
    if any(name.startswith("transformer_blocks.") for name in names) and "caption_norm.weight" in names:
        return diffusers_linear_dit(guidance_embeds=any(".guidance_embedder." in name for name in names))
    return None
