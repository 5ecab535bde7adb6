// A result alone, beside its motion, or over it behind a slider. The motion follows the result's clock.
const parts = () => [".player", "video.result", "video.motion"].map((name) => element.querySelector(name));
const follow = () => {
  const [, result, motion] = parts();
  if (!result || !motion) return;
  if (Math.abs(motion.currentTime - result.currentTime) > 0.06) motion.currentTime = result.currentTime;
  if (result.paused !== motion.paused) result.paused ? motion.pause() : motion.play().catch(() => {});
};
for (const kind of ["play", "pause", "seeking", "seeked", "timeupdate", "loadeddata"]) {
  element.addEventListener(kind, (event) => event.target.matches?.("video.result") && follow(), true);
}
element.addEventListener("input", (event) => {
  const [player] = parts();
  if (event.target.type === "radio") player.dataset.mode = event.target.value;
  if (event.target.type === "range") player.style.setProperty("--wipe", `${event.target.value}%`);
});
// A file that is about to be deleted is read no more, here and in the gallery.
const forget = (source) => {
  for (const video of document.querySelectorAll("video")) {
    if (video.src.split("#")[0] !== source && !element.contains(video)) continue;
    video.removeAttribute("src");
    video.load();
  }
};
element.addEventListener("click", (event) => {
  const action = event.target.closest("[data-action]")?.dataset.action;
  if (action === "again") trigger("again");
  if (action !== "delete" || !confirm("Delete this video for good?")) return;
  forget(parts()[1].src);
  trigger("delete");
});
