// @ts-check
// Runs once in every page (server.py: launch).
// oxlint-disable-next-line no-unused-expressions -- Gradio calls it.
() => {
  // Gradio 6.31 puts the gallery's upload button inside another button, which screen readers cannot
  // enter. The outer one does nothing, so turn it into a group.
  const fixUploadButton = () => {
    const inside = "#input-images button.icon-button:has(button)";
    for (const outer of document.querySelectorAll(inside)) {
      outer.setAttribute("role", "group");
      outer.setAttribute("tabindex", "-1");
    }
  };
  fixUploadButton();
  const column = document.getElementById("input-column");
  if (column) new MutationObserver(fixUploadButton).observe(column, { childList: true, subtree: true });
}
