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
element.addEventListener("click", (event) => {
  const action = event.target.closest("[data-action]")?.dataset.action;
  if (action === "again") trigger("again");
  if (action === "delete" && confirm("Delete this video for good?")) trigger("delete");
});
