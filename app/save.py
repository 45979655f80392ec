"""Buttons that save a chart on the page as SVG or PNG. The browser drew it, so the browser writes the file."""

from __future__ import annotations

import streamlit as st

_HTML = '<div class="row"><button data-kind="svg">Save SVG</button><button data-kind="png">PNG</button></div>'
_CSS = """
.row { display: flex; gap: 0.25rem; justify-content: flex-end; }
button {
  font: 400 0.8rem var(--st-font), sans-serif; color: var(--st-link-color); background: none; border: 0;
  padding: 0.3rem 0.5rem; min-height: 1.75rem; cursor: pointer;
}
button:hover, button:focus-visible { text-decoration: underline; }
"""
_JS = """
export default function ({ data, parentElement }) {
  const save = (blob, kind) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${data.name}.${kind}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  const asSvg = () => {
    const drawn = document.querySelector(`.st-key-${data.chart} svg.marks`);
    return drawn && new Blob([new XMLSerializer().serializeToString(drawn)], { type: "image/svg+xml" });
  };
  const asPng = (svg) => {
    const image = new Image();
    image.onload = () => {
      const canvas = document.createElement("canvas");
      canvas.width = 2 * image.width;
      canvas.height = 2 * image.height;
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => save(blob, "png"));
    };
    image.src = URL.createObjectURL(svg);
  };
  for (const button of parentElement.querySelectorAll("button")) {
    button.ariaLabel = `Save the chart as ${button.dataset.kind.toUpperCase()}`;
    button.onclick = () => {
      const svg = asSvg();
      if (svg) button.dataset.kind === "svg" ? save(svg, "svg") : asPng(svg);
    };
  }
}
"""


def save_buttons(chart_key: str, name: str) -> None:
    """Offer the chart in the container of that key as `name`.svg and `name`.png. Both are ours, never a dump's."""
    _register()(key=f"save-{chart_key}", data={"chart": chart_key, "name": name}, height="content")


def _register() -> st.components.v2.types.ComponentRenderer:
    return st.components.v2.component("flowscope_save", html=_HTML, css=_CSS, js=_JS)
