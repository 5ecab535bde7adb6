// A place for one file: dropped, chosen, or taken away. The server answers with new content for the element.
const choose = async (file) => {
  const zone = element.querySelector(".drop");
  const message = zone.querySelector(".drop-message");
  zone.classList.add("uploading");
  message.textContent = "";
  try {
    const form = new FormData();
    form.append("file", file);
    const answer = await fetch(zone.dataset.upload, { method: "POST", body: form });
    const told = await answer.json().catch(() => ({}));
    if (told.id) trigger("chosen", { id: told.id, name: file.name });
    else message.textContent = told.refused ?? told.detail ?? "The file could not be sent; it may be too large.";
  } catch {
    message.textContent = "The file could not be sent; it may be too large.";
  } finally {
    zone.classList.remove("uploading");
  }
};
element.addEventListener("change", (event) => {
  if (event.target.type === "file" && event.target.files.length) choose(event.target.files[0]);
});
element.addEventListener("click", (event) => {
  if (event.target.closest(".drop-clear")) trigger("cleared");
});
// Beside the places a file goes where it belongs; the browser never opens it instead of the page.
const takes = (file) => file.type.startsWith("image/") === (element.querySelector("input").accept === "image/*");
for (const kind of ["dragover", "drop"]) {
  window.addEventListener(kind, (event) => {
    if (!element.isConnected || !event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    if (kind !== "drop" || event.target.closest?.(".drop")) return;
    const file = [...event.dataTransfer.files].find(takes);
    if (file) choose(file);
  });
}
for (const kind of ["dragover", "dragleave", "drop"]) {
  element.addEventListener(kind, (event) => {
    event.preventDefault();
    element.querySelector(".drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) choose(event.dataTransfer.files[0]);
  });
}
