// Sets the mathematics of a page: Markdown leaves it as \(...\) and \[...\] in elements of this class.
document.addEventListener("DOMContentLoaded", () => {
  for (const element of document.querySelectorAll(".arithmatex")) {
    const text = element.textContent.trim();
    const displayMode = text.startsWith("\\[");
    try {
      katex.render(text.slice(2, -2), element, { displayMode, output: "htmlAndMathml" });
    } catch (error) {
      console.error(`${text}: ${error.message}`);
    }
  }
});
