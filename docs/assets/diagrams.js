// Draws the blocks marked "mermaid". Only pages that have one load the library, of exactly this
// content; where it cannot be reached the text of the diagram stays readable.
(function () {
  const blocks = document.querySelectorAll("pre > code.language-mermaid");
  if (!blocks.length) return;
  const library = document.createElement("script");
  library.src = "https://cdn.jsdelivr.net/npm/mermaid@11.17.2/dist/mermaid.min.js";
  library.integrity = "sha384-EOXBFmc3gx5mb+vn0vPvvGqACToJD24hhacX5Yx+8NUUQrHIle/Qi5Bg9o3zKwW2";
  library.crossOrigin = "anonymous";
  library.onload = function () {
    const isDark = document.documentElement.getAttribute("data-bs-theme") === "dark";
    mermaid.initialize({ startOnLoad: false, theme: isDark ? "dark" : "neutral" });
    for (const block of blocks) {
      const drawing = document.createElement("pre");
      drawing.className = "mermaid";
      drawing.textContent = block.textContent;
      block.parentElement.replaceWith(drawing);
    }
    mermaid.run();
  };
  document.head.appendChild(library);
})();
