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
for (const kind of ["dragover", "dragleave", "drop"]) {
  element.addEventListener(kind, (event) => {
    event.preventDefault();
    element.querySelector(".drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) choose(event.dataTransfer.files[0]);
  });
}
