"""Nodes for ComfyUI: a graph makes the same picture as the command line, bit for bit.

`integrations/comfyui/` at the top of the repository is what ComfyUI's folder of custom nodes gets, and imports this.
The code is here so that it has one version with what it calls, and is checked with it.
"""

from __future__ import annotations

from sanakit.integrations.comfyui import clips, controlling, editing, loading, prompting, results, sampling
from sanakit.integrations.comfyui.host import prepare_folders
from sanakit.integrations.comfyui.nodes import Node

_NODES: dict[str, tuple[str, type[Node]]] = {
    "SanakitLoadModel": ("Load Model (sanakit)", loading.LoadModel),
    "SanakitAdapter": ("Add Adapter (sanakit)", loading.Adapter),
    "SanakitEncodePrompt": ("Encode Prompt (sanakit)", prompting.EncodePrompt),
    "SanakitImageToImage": ("Image to Image (sanakit)", editing.ImageToImage),
    "SanakitInpaint": ("Inpaint, Outpaint (sanakit)", editing.Inpaint),
    "SanakitLoadControlNet": ("Load ControlNet (sanakit)", controlling.LoadControlNet),
    "SanakitControl": ("Add Control (sanakit)", controlling.Control),
    "SanakitAnnotate": ("Annotate (sanakit)", controlling.Annotate),
    "SanakitSettings": ("More Settings (sanakit)", sampling.Settings),
    "SanakitSample": ("Sample (sanakit)", sampling.Sample),
    "SanakitLoadClip": ("Load Clip (sanakit)", clips.LoadClip),
    "SanakitSampleClip": ("Sample Clip (sanakit)", clips.SampleClip),
    "SanakitDecode": ("Decode (sanakit)", results.Decode),
    "SanakitSave": ("Save with Record (sanakit)", results.Save),
    "SanakitSaveClip": ("Save Clip with Record (sanakit)", clips.SaveClip),
}

NODE_CLASS_MAPPINGS = {name: node for name, (_, node) in _NODES.items()}
NODE_DISPLAY_NAME_MAPPINGS = {name: shown for name, (shown, _) in _NODES.items()}

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "prepare_folders"]
