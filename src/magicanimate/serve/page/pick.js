// A strip of buttons: which one was pressed.
element.addEventListener("click", (event) => {
  const card = event.target.closest("button[data-key]");
  if (card) trigger("picked", { key: card.dataset.key });
});
