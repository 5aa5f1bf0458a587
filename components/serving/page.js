// Runs once in every page (server.py: launch).
() => {
  // Gradio 6.31 puts the gallery's upload button inside another button, which readers of the screen
  // cannot get into. The outer one does nothing: it becomes a group.
  const mend = () => {
    for (const outer of document.querySelectorAll("#input-images button.icon-button:has(button)")) {
      outer.setAttribute("role", "group");
      outer.tabIndex = -1;
    }
  };
  mend();
  const column = document.getElementById("input-column");
  if (column) new MutationObserver(mend).observe(column, { childList: true, subtree: true });
}
